-- Sets amounts aside on all meters, or on none.
-- ARGV: hold, its age (s), grace (ms); for each claim: key, window, accounted, amount, limit or ''.
-- Returns: 'taken' | 'refused', id, now (ms), readings; 'unseeded', id, {index of claim, start, end} ...;
--   'wait', id, ms of grace left; 'settled', id: the hold was, before it was taken.

if not epoch then return {'lost'} end
local place = name('hold', ARGV[1])
local known = redis.call('GET', place)
if known == 'settled' then return {'settled', epoch} end
local age = tonumber(ARGV[2])
local wait = began + tonumber(ARGV[3]) - now
local meters, gaps, fits = {}, {}, true
for i = 4, #ARGV, 5 do
  local accounted = ARGV[i + 2]
  local meter = load(ARGV[i], ARGV[i + 1], accounted)
  meter.amount = tonumber(ARGV[i + 3])
  meters[#meters + 1] = meter
  if accounted == '1' and wait > 0 then return {'wait', epoch, wait} end
  if meter.seeded == 0 then
    gaps[#gaps + 1] = {#meters - 1, meter.starts or (bounds(ARGV[i + 1])), meter.ends}
  end
  local limit = tonumber(ARGV[i + 4])
  if limit and meter.used + meter.held + meter.amount > limit then fits = false end
end
if not known and #gaps > 0 then return {'unseeded', epoch, gaps} end
local readings = {}
if not known and fits then
  local stakes = {}
  for i, meter in ipairs(meters) do
    if meter.flight then
      if meter.amount > 0 then fly(meter, ARGV[1], age) end
      meter.held = meter.held + meter.amount
    else
      meter.held = meter.held + meter.amount
      save(meter)
    end
    local at = 5 * i - 4
    stakes[at], stakes[at + 1] = meter.amount, meter.ends
    stakes[at + 2], stakes[at + 3], stakes[at + 4] = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  end
  redis.call('SET', place, cmsgpack.pack(stakes), 'PX', math.ceil(age * 1000) + KEPT)
end
for i, meter in ipairs(meters) do readings[i] = reading(meter) end
return {(known or fits) and 'taken' or 'refused', epoch, now, readings}
