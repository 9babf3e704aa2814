-- Begins an epoch where there is none, or where the server was started anew since: what it has kept may be old.
-- ARGV: the id for a new epoch.
-- Returns: 'open', id.

-- Where a service hides it, a restart is noticed only if everything is forgotten.
local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''
if not epoch or redis.call('HGET', KEYS[1], 'run') ~= run then
  epoch, began = ARGV[1], now
  redis.call('HSET', KEYS[1], 'id', epoch, 'began', began, 'run', run)
end
return {'open', epoch}
