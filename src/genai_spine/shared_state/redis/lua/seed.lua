-- Tells a meter what the ledger counts of it; the first wins.
-- ARGV: key, window, end of the window, used; then the ids in that figure.
-- Returns: 'done', id, 1 where it was needed.

if not epoch then return {'lost'} end
local meter = load(ARGV[1], ARGV[2], '1')
if meter.flight or meter.seeded ~= 0 or meter.ends ~= tonumber(ARGV[3]) then return {'done', epoch, 0} end
local tail = meter.key .. ':' .. string.format('%.0f', meter.ends)
local counted = name('counted', tail)
for i = 5, #ARGV do redis.call('SADD', counted, ARGV[i]) end
if #ARGV >= 5 then expire(counted, meter.ends) end
meter.used = tonumber(ARGV[4])
local told = redis.call('HGETALL', name('told', tail))
for i = 1, #told, 2 do
  if redis.call('SISMEMBER', counted, told[i]) == 0 then meter.used = meter.used + tonumber(told[i + 1]) end
end
redis.call('DEL', name('told', tail))
meter.seeded = #ARGV >= 5 and 2 or 1
save(meter)
return {'done', epoch, 1}
