#!lua flags=allow-oom
-- Puts the last jobs out of a queue that holds more than its window; they wait in the ledger.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 jobs that may wait, 3 most jobs to put out (at most 1,000)
-- Returns how many are still too many: 0 if none, or if the last ones must stay.
--
-- Atomic, since a mark must be lowered in the same step in which a job before it goes.
-- Leased jobs, those in quarantine, and those that only the broker has stay.
-- allow-oom: it frees memory.

local jobs, ready, delayed, _, _, _, _, _, window = unpack(KEYS)
local most = tonumber(ARGV[3])
local LATEST = 99999999999999

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
redis.call('HLEN', jobs)
local marks = redis.call('HMGET', window, 'gap', 'cutoff')
local excess = redis.call('ZCARD', ready) + redis.call('ZCARD', delayed) - ARGV[2]
if excess <= 0 then
  return 0
end

-- Behind its arguments an envelope says where it is recorded, unless that is the ledger; no braces
-- follow there but the last. `value.rs` tests this.
local function only_here(value)
  return string.find(value, '"d":"broker"[^{}]*}$')
end

-- The last in a set that may go, the very last first.
local function last(key, from, wanted)
  local found = {}
  local looked = 0
  while #found < wanted and looked < most do
    local count = math.min(100, wanted - #found, most - looked)
    local ids = redis.call('ZRANGE', key, '+inf', from, 'BYSCORE', 'REV', 'LIMIT', looked, count)
    if #ids == 0 then
      break
    end
    for i, value in ipairs(redis.call('HMGET', jobs, unpack(ids))) do
      if not (value and only_here(value)) then
        found[#found + 1] = ids[i]
      end
    end
    looked = looked + count
  end
  return found
end

-- Takes jobs out; answers the turn of the first of them, as a mark.
local function put_out(key, ids)
  local first = ids[#ids]
  local at = tonumber(redis.call('ZSCORE', key, first))
  redis.call('ZREM', key, unpack(ids))
  redis.call('HDEL', jobs, unpack(ids))
  if #first ~= 32 or string.find(first, '[^0-9a-f]') then
    first = string.rep('0', 32)
  end
  return string.format('%.0f', math.max(-LATEST, math.min(LATEST, at))) .. ' ' .. first
end

-- What is not due yet goes first.
local out = last(delayed, '(' .. now, math.min(excess, most))
local left = excess - #out
local mark
if #out > 0 then
  mark = put_out(delayed, out)
end
if left > 0 and #out < most then
  -- What fell due since the last claim has its place among the due ones.
  local due = redis.call('ZRANGE', delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  if #due > 0 then
    local promoted = {}
    for i, value in ipairs(redis.call('HMGET', jobs, unpack(due))) do
      if value then
        local head_start, due_ms = string.match(string.sub(value, 12, 29), '^(%d%d%d%d)(%d+)$')
        promoted[#promoted + 1] = due_ms and due_ms - head_start * 1000 or now
        promoted[#promoted + 1] = due[i]
      end
    end
    for from = 1, #promoted, 1000 do
      redis.call('ZADD', ready, unpack(promoted, from, math.min(from + 999, #promoted)))
    end
    redis.call('ZREM', delayed, unpack(due))
  end
  out = last(ready, '-inf', math.min(left, most - #out))
  left = left - #out
  if #out > 0 then
    mark = put_out(ready, out)
  end
end
if not mark then
  return 0
end

local function turn(text)
  local at, id = string.match(text or '', '^(%-?%d+) (%x+)$')
  return tonumber(at), id
end
local at, id = turn(mark)
for i, field in ipairs({ 'gap', 'cutoff' }) do
  local held_at, held_id = turn(marks[i])
  if not held_at or at < held_at or (at == held_at and id < held_id) then
    redis.call('HSET', window, field, mark)
  end
end
return left
