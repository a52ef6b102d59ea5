#!lua flags=allow-oom
-- Notes what a process says of itself, and forgets those that have fallen silent.
--
-- KEYS  1 until when each process is believed, 2 what each said
-- ARGV  1 clock skew in ms, 2 who, 3 for how long, in ms, 4 what; nothing if it goes
--
-- allow-oom: a few hundred bytes a process, without which a full Redis would seem to have no workers.

-- Written by somebody else, they would stand in the way for ever.
for at, kind in ipairs({'zset', 'hash'}) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[at]) end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
end
for _, silent in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], silent)
  redis.call('HDEL', KEYS[2], silent)
end
-- When nobody says anything any more, both go by themselves.
for at = 1, 2 do redis.call('PEXPIRE', KEYS[at], math.max(60000, 10 * ARGV[3])) end
