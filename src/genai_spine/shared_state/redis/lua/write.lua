-- Writes a note, if what stands there is what the writer knows.
-- ARGV: board, name, text, how long it stands (s), version that it is written over ('' where nothing stands).
-- Returns: 'written', id, version; 'other', id.

if not epoch then return {'lost'} end
local place, title = name('board', ARGV[1]), ARGV[2]
local found, known = redis.call('HGET', place, title), ''
if found then
  local _, _, ends, version = unpack(cmsgpack.unpack(found))
  if now < ends then known = version end
end
if known ~= ARGV[5] then return {'other', epoch} end
local version = epoch .. ':' .. redis.call('HINCRBY', KEYS[1], 'notes', 1)
local length = math.ceil(ARGV[4] * 1000)
redis.call('HSET', place, title, cmsgpack.pack({ARGV[3], now, now + length, version}))
if redis.call('PTTL', place) < length then redis.call('PEXPIRE', place, length) end
return {'written', epoch, version}
