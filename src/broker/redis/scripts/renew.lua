#!lua flags=allow-oom
-- Lengthens leases; never shortens one.
--
-- KEYS  jobs ready delayed leases wake boot gate window
-- ARGV  1 clock skew in ms, 2 length in ms from now; then members (at most 1,000)
-- Returns one character a lease: "1" held, "0" not held any more.
--
-- Atomic, since a lease that was taken back between look and write would come to life again.
-- allow-oom: at maxmemory every lease would expire otherwise.

local leases = KEYS[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local deadline = now + ARGV[2]

local answers, held = {}, {}
for i = 3, #ARGV do
  if redis.call('ZSCORE', leases, ARGV[i]) then
    answers[#answers + 1] = '1'
    held[#held + 1] = deadline
    held[#held + 1] = ARGV[i]
  else
    answers[#answers + 1] = '0'
  end
end
for from = 1, #held, 1000 do
  redis.call('ZADD', leases, 'XX', 'GT', unpack(held, from, math.min(from + 999, #held)))
end
return table.concat(answers)
