#!lua flags=no-writes
-- Tells how much is in a queue.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 how many of the best due jobs are looked at for the oldest
-- Returns {due (also in quarantine), delayed, leased, age of the oldest due job in ms,
--          1 if more may wait in the ledger only}.
--
-- Atomic, since a job that moves would be counted twice or not at all.

local jobs, ready, delayed, leases, wake, boot, gate, quarantine, window = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]

-- Delayed jobs that fell due wait for the next claim to promote them, but they are due.
local due = redis.call('ZCOUNT', delayed, '-inf', now)
local oldest = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or now)
local best = redis.call('ZRANGE', ready, 0, ARGV[2] - 1)
if #best > 0 then
  for _, value in ipairs(redis.call('HMGET', jobs, unpack(best))) do
    local since = value and string.match(string.sub(value, 16, 29), '^%d+$')
    oldest = math.min(oldest, tonumber(since or now))
  end
end
return {
  redis.call('ZCARD', ready) + redis.call('ZCARD', quarantine) + due,
  redis.call('ZCARD', delayed) - due,
  redis.call('ZCARD', leases),
  math.max(0, now - oldest),
  redis.call('EXISTS', window),
}
