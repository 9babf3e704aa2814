-- Counts what was really used in the place of what was held, once.
-- ARGV: hold, the epoch in which it was taken, '1' where nobody knows whether it was; for each stake: key, window,
--   accounted, amount held, end of its window, amount used.
-- Returns: 'done', id, 1 where it counts now.

if not epoch then return {'lost'} end
local hold = ARGV[1]
local place = name('hold', hold)
local known = redis.call('GET', place)
local native = ARGV[2] == epoch
if known == 'settled' or (not known and native and ARGV[3] == '0') then return {'done', epoch, 0} end
local stakes = known and cmsgpack.unpack(known)
for i = 4, #ARGV, 6 do
  local meter = load(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  local held, ends, used = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  if stakes then
    local at = (i - 4) / 6 * 5 + 1
    held, ends = stakes[at], stakes[at + 1]
  end
  if meter.flight then
    redis.call('ZREM', meter.place, hold)
  elseif meter.ends == ends then
    if stakes and not meter.fresh then meter.held = meter.held - held end
    local tail = meter.key .. ':' .. string.format('%.0f', ends)
    if meter.seeded == 0 then
      redis.call('HINCRBY', name('told', tail), hold, used)
      expire(name('told', tail), ends)
    elseif meter.seeded == 1 or redis.call('SISMEMBER', name('counted', tail), hold) == 0 then
      meter.used = meter.used + used
    end
    save(meter)
  end
end
if native and ARGV[3] == '0' then
  redis.call('DEL', place)
else
  redis.call('SET', place, 'settled', 'PX', KEPT)
end
return {'done', epoch, 1}
