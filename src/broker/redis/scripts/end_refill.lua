#!lua flags=allow-oom
-- Ends a refill: moves the gap up to where it filled, or to the cutoff if that is lower now.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 the refill's name, 2 the turn up to which it filled or "" for everything,
--       3 the gap as it was when the refill began, of no use here
-- Returns 1, or 0 if another refill has begun since, or the queue was opened anew.
--
-- Atomic, since jobs put out meanwhile lowered the cutoff, and the gap must not pass it.
-- allow-oom: at maxmemory the workers' queue must not run dry.

local window = KEYS[9]

local held = redis.call('HMGET', window, 'round', 'cutoff')
if held[1] ~= ARGV[1] then
  return 0
end
local function turn(text)
  local at, id = string.match(text or '', '^(%-?%d+) (%x+)$')
  return tonumber(at), id
end
local gap = ARGV[2]
local at, id = turn(gap)
local cutoff_at, cutoff_id = turn(held[2])
if cutoff_at and (not at or cutoff_at < at or (cutoff_at == at and cutoff_id < id)) then
  gap = held[2]
end
if gap == '' then
  redis.call('DEL', window)
else
  redis.call('HDEL', window, 'round', 'until')
  redis.call('HSET', window, 'gap', gap)
end
return 1
