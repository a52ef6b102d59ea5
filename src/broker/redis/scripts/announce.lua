#!lua flags=allow-oom
-- Notes what a process says of itself. Who joins forgets those that have fallen silent, so that to
-- say it again is little work.
--
-- KEYS  1 until when each process is believed, in ms, and what it said
-- ARGV  1 clock skew in ms, 2 who, 3 for how long, in ms, 4 what; nothing if it goes
--
-- allow-oom: a few hundred bytes a process, without which a full Redis would seem to have no workers.

local roster, who = KEYS[1], ARGV[2]
if ARGV[4] == '' then
  if redis.call('TYPE', roster).ok == 'hash' then redis.call('HDEL', roster, who) end
  return
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local entry = string.format('%.0f %s', now + ARGV[3], ARGV[4])
local joined = redis.pcall('HSET', roster, who, entry)
if type(joined) == 'table' then
  if not joined.err:find('WRONGTYPE', 1, true) then return joined end
  -- Written by somebody else, it would stand in the way for ever.
  redis.call('DEL', roster)
  joined = redis.call('HSET', roster, who, entry)
end
if joined == 0 then return end

local said = redis.call('HGETALL', roster)
for at = 1, #said, 2 do
  local believed = tonumber(said[at + 1]:match('^%d+'))
  if not believed or believed <= now then redis.call('HDEL', roster, said[at]) end
end
