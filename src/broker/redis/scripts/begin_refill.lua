#!lua flags=allow-oom
-- Begins a refill, if the queue has a gap, its window is low and no other refill is under way.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 the refill's name, 3 ms after which another may begin,
--       4 jobs up to which the window is low, 5 jobs that may wait
-- Returns {} or {the gap, room for so many jobs}.
--
-- Atomic, since of two that ask at the same time one must be told to begin.
-- allow-oom: at maxmemory the workers' queue must not run dry.

local jobs, ready, delayed, leases, wake, boot, gate, quarantine, window = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local held = redis.call('HMGET', window, 'gap', 'until')
local at = tonumber(string.match(held[1] or '', '^(%-?%d+) '))
if not at or (tonumber(held[2] or '') or 0) > now then
  return {}
end

-- Nothing is known to be held if the gap begins before everything.
local waiting = 0
if at > -99999999999999 then
  waiting = redis.call('ZCARD', ready)
    + redis.call('ZCOUNT', delayed, '-inf', math.max(at, now))
end
if waiting > tonumber(ARGV[4]) then
  return {}
end
redis.call('HSET', window, 'round', ARGV[2], 'until', string.format('%.0f', now + ARGV[3]))
return { held[1], ARGV[5] - waiting }
