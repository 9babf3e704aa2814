-- Begins an epoch where there is none, or where the server was started anew since: what it has kept may be old.
-- ARGV: the server's run id, the id for a new epoch.
-- Returns: 'open', id, began (ms).

local run = redis.call('HGET', KEYS[1], 'run')
if not epoch or run ~= ARGV[1] then
  epoch, began = ARGV[2], now
  redis.call('HSET', KEYS[1], 'id', epoch, 'began', began, 'run', ARGV[1])
end
return {'open', epoch, began}
