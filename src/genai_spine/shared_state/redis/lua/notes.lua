-- Tells what stands on a board, and takes down what has stood there for its time.
-- ARGV: board.
-- Returns: 'notes', id, {name, text, age (ms), version} ...

if not epoch then return {'lost'} end
local place = name('board', ARGV[1])
local found, notes = redis.call('HGETALL', place), {}
for i = 1, #found, 2 do
  local text, written, ends, version = unpack(cmsgpack.unpack(found[i + 1]))
  if now < ends then
    notes[#notes + 1] = {found[i], text, math.max(0, now - written), version}
  else
    redis.call('HDEL', place, found[i])
  end
end
return {'notes', epoch, notes}
