-- Tells how meters stand.
-- ARGV: for each: key, window, accounted.
-- Returns: 'read', id, now (ms), readings.

if not epoch then return {'lost'} end
local readings = {}
for i = 1, #ARGV, 3 do readings[#readings + 1] = reading(load(ARGV[i], ARGV[i + 1], ARGV[i + 2])) end
return {'read', epoch, now, readings}
