#!lua flags=allow-oom
-- Adds calls to those of the fleet.
--
-- KEYS  gate calls wake
-- ARGV  1 clock skew in ms, 2 epoch, 3 calls, 4 bad ones among them
-- Returns {time in ms, the gate as `switch.lua` and others write it (a list of fields and values),
--       calls that decide, bad ones among them}.
--
-- Atomic, since the sums must belong to the gate's epoch.
-- allow-oom: at maxmemory workers go on, and so must what protects platforms.

local gate, calls = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local second = math.floor(now / 1000)
local epoch, open = unpack(redis.call('HMGET', gate, 'epoch', 'open'))
redis.call('HLEN', calls)

if (epoch or '0') == ARGV[2] and tonumber(ARGV[3]) > 0 then
  redis.call('HINCRBY', calls, 'n' .. second, ARGV[3])
  redis.call('HINCRBY', calls, 'b' .. second, ARGV[4])
  -- Those of probes count until the breaker changes; an hour after the last nobody asks.
  redis.call('PEXPIRE', calls, open and 3600000 or 11000)
end
local all, bad = 0, 0
local counts = redis.call('HGETALL', calls)
for i = 1, #counts, 2 do
  local at = tonumber(string.sub(counts[i], 2))
  if not open and (not at or at <= second - 10) then
    redis.call('HDEL', calls, counts[i])
  elseif string.sub(counts[i], 1, 1) == 'n' then
    all = all + counts[i + 1]
  else
    bad = bad + counts[i + 1]
  end
end
return { now, redis.call('HGETALL', gate), all, bad }
