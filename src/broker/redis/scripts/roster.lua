#!lua flags=no-writes
-- Tells what the processes that live say of themselves.
--
-- KEYS  1 until when each process is believed, in ms, and what it said
-- ARGV  1 clock skew in ms, 2 how many at most
-- Returns what each said, in no order.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local living = {}
-- What somebody else wrote there is nobody's.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return living end
local said = redis.call('HGETALL', KEYS[1])
for at = 2, #said, 2 do
  local believed, what = said[at]:match('^(%d+) (.*)$')
  if believed and tonumber(believed) > now and #living < tonumber(ARGV[2]) then
    living[#living + 1] = what
  end
end
return living
