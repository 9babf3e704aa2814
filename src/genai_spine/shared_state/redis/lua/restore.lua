-- Holds again what was set aside in an older epoch, whatever the limits.
-- ARGV: hold, its age (s); for each stake: key, window, accounted, amount, end of its window.
-- Returns: 'done', id, 1 where it was not held already.

if not epoch then return {'lost'} end
local place = name('hold', ARGV[1])
if redis.call('EXISTS', place) == 1 then return {'done', epoch, 0} end
local age = tonumber(ARGV[2])
local stakes = {}
for i = 3, #ARGV, 5 do
  local meter = load(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  local amount, ends = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  if meter.flight then
    if amount > 0 then fly(meter, ARGV[1], age) end
  elseif meter.ends == ends then
    meter.held = meter.held + amount
    save(meter)
  end
  local at = #stakes
  stakes[at + 1], stakes[at + 2] = amount, ends
  stakes[at + 3], stakes[at + 4], stakes[at + 5] = ARGV[i], ARGV[i + 1], ARGV[i + 2]
end
redis.call('SET', place, cmsgpack.pack(stakes), 'PX', math.ceil(age * 1000) + KEPT)
return {'done', epoch, 1}
