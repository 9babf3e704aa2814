-- What each script begins with. Before it stands what sets `now`, the server's time in milliseconds.
--
--   spine:epoch                   hash: id, began (ms), run (of the server), notes (how many were written)
--   spine:<id>:meter:<key>        hash: ends (s), used, held, seeded (1 where it is, 2 where ids were counted with it)
--   spine:<id>:told:<key>:<ends>  hash: what was settled before the seed, by id of hold
--   spine:<id>:counted:<key>:<ends>  set: the ids that the seed contained
--   spine:<id>:flight:<key>       sorted set: what is in flight, by the end of its age (ms)
--   spine:<id>:hold:<hold>        amount, end of window, key, window and accounted for each stake, packed; or 'settled'
--   spine:<id>:board:<board>      hash: by name text, when it was written and is taken down (ms), version, packed
--
-- Names hold the epoch's id, so what an older one left behind is seen by nobody, and goes with its time.
--
-- KEYS[1] is 'spine:epoch'. A script returns {'lost'} where there is none, else its answer and the epoch's id.

local NEVER = 9007199254740991
local DAY = 86400
local LENGTHS = {minute = 60, hour = 3600, day = DAY}
local KEPT = 7 * DAY * 1000 -- past its use, in ms
local LONG = 90 * DAY * 1000 -- for what has no end: it is seeded anew after so long without use

local epoch, began
do
  local found = redis.call('HMGET', KEYS[1], 'id', 'began')
  epoch, began = found[1], tonumber(found[2])
end

local function name(kind, key)
  return 'spine:' .. epoch .. ':' .. kind .. ':' .. key
end

local function day_of_month(days)
  -- Counted in years that begin in March, so that the odd day of a leap year is the last.
  local z = days + 719468
  local day_of_era = z % 146097
  local year = math.floor((day_of_era - math.floor(day_of_era / 1460) + math.floor(day_of_era / 36524)
    - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day_of_year + 2) / 153)
  return day_of_year - math.floor((153 * month + 2) / 5) + 1
end

local function bounds(window)
  local seconds = math.floor(now / 1000)
  local length = LENGTHS[window]
  if length then
    local start = seconds - seconds % length
    return start, start + length
  end
  if window == 'month' then
    local today = math.floor(seconds / DAY)
    local start = today - day_of_month(today) + 1
    local soon = start + 31
    return start * DAY, (soon - day_of_month(soon) + 1) * DAY
  end
  return 0, NEVER
end

-- A meter as it is now. One in flight has nothing but what is held.
local function load(key, window, accounted)
  if window == 'flight' then
    local place = name('flight', key)
    redis.call('ZREMRANGEBYSCORE', place, '-inf', now)
    return {place = place, flight = true, used = 0, held = redis.call('ZCARD', place), ends = NEVER, seeded = 1}
  end
  local place = name('meter', key)
  local found = redis.call('HMGET', place, 'ends', 'used', 'held', 'seeded')
  local ends = tonumber(found[1])
  -- Where the clock was set back it stays in the later window.
  if ends and now < ends * 1000 then
    return {
      place = place, key = key, ends = ends,
      used = tonumber(found[2]), held = tonumber(found[3]), seeded = tonumber(found[4]),
    }
  end
  local starts
  starts, ends = bounds(window)
  local seeded = (accounted == '0' or starts * 1000 > began) and 1 or 0
  return {place = place, key = key, starts = starts, ends = ends, used = 0, held = 0, seeded = seeded, fresh = true}
end

local function expire(place, ends)
  if ends == NEVER then
    redis.call('PEXPIRE', place, LONG)
  else
    redis.call('PEXPIRE', place, ends * 1000 - now + KEPT)
  end
end

-- Writes a counter down as `load` gave it and the caller changed it.
local function save(meter)
  redis.call('HSET', meter.place, 'ends', meter.ends, 'used', meter.used, 'held', meter.held, 'seeded', meter.seeded)
  if meter.fresh or meter.ends == NEVER then
    expire(meter.place, meter.ends)
  end
end

local function fly(meter, hold, seconds)
  redis.call('ZADD', meter.place, now + seconds * 1000, hold)
  if redis.call('PTTL', meter.place) < seconds * 1000 then
    redis.call('PEXPIRE', meter.place, math.ceil(seconds * 1000))
  end
end

-- How a meter stands, to be told to the client.
local function reading(meter)
  return {meter.used, meter.held, meter.ends}
end
