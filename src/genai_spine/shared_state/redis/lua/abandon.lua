-- Holds no more what was set aside by who is gone, and is not settled.
-- ARGV: the holds.
-- Returns: 'done', id, how many were held.

if not epoch then return {'lost'} end
local count = 0
for _, hold in ipairs(ARGV) do
  local place = name('hold', hold)
  local known = redis.call('GET', place)
  if known and known ~= 'settled' then
    local stakes = cmsgpack.unpack(known)
    for i = 1, #stakes, 5 do
      local meter = load(stakes[i + 2], stakes[i + 3], stakes[i + 4])
      if meter.flight then
        redis.call('ZREM', meter.place, hold)
      elseif meter.ends == stakes[i + 1] and not meter.fresh then
        meter.held = meter.held - stakes[i]
        save(meter)
      end
    end
    redis.call('DEL', place)
    count = count + 1
  end
end
return {'done', epoch, count}
