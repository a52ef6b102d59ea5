#!lua flags=allow-oom
-- Takes due jobs, best first, under a lease.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 worker, 3 most jobs (at most 1,000), 4 length of the lease in ms,
--       5 most delayed jobs to promote (at most 1,000),
--       6 "1" if the worker runs nothing: of a quarantine it gets one job, and nothing else,
--       7 jobs up to which the window is low
-- Returns {0, generation held or ""} if the queue was not opened since Redis started; else
--       {1, generation, sequence, due time of the next delayed job or "", 1 if due jobs are left,
--        entries dropped, 1 if jobs are left in quarantine, 1 if this one was there,
--        1 if there is a gap or 2 if the window is low as well, the time in ms,
--        the breaker's epoch, 1 if these are its first probes, id, value, id, value, ...}.
--        "Due" and "left" mean what the gate lets pass: a due time may be the gate's.
--
-- Atomic, since a job must never be out of all of ready, delayed and leases.
-- allow-oom: at maxmemory workers must go on, or nothing would ever free memory.

local jobs, ready, delayed, leases, wake, boot, gate, quarantine, window = unpack(KEYS)
local limit = tonumber(ARGV[3])

-- The run id is read each time (6 µs): one kept in the client would outlive a restart.
local held = redis.call('HMGET', boot, 'run', 'generation')
local generation = string.match(held[2] or '', '^%d%d%d%d%d%d%d%d%d%d$')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if held[1] ~= run or not generation then
  return { 0, generation or '' }
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local paused, forced, epoch, shut, open, closing, rate, probes, since, ramped = unpack(redis.call(
  'HMGET', gate, 'paused', 'forced', 'epoch', 'shut', 'open', 'closing', 'rate', 'probes', 'since', 'ramped'))
shut, open, closing = tonumber(shut or ''), tonumber(open or ''), tonumber(closing or '')
epoch = string.match(epoch or '', '^%d+$') or '0'
local opens = math.max(shut or 0, open or 0)
if paused or forced or opens > now then
  local at = (paused or forced) and '' or string.format('%.0f', opens)
  return { 1, generation, '0', at, 0, 0, 0, 0, 0, now, epoch, 0 }
end
-- What a half-open or closing breaker lets pass, and when it may be more.
local passes, again
if open then
  probes, since = tonumber(probes or ''), tonumber(since or '')
  if not probes or not since or now >= since + 10000 then
    probes, since = 3, now
  end
  passes, again = probes, since + 10000
elseif closing and now < closing + 2000 then
  local elapsed = math.max(now - closing, 0)
  local percents = math.min(elapsed, 1000) * 10 + math.max(elapsed - 1000, 0) * 50
  local allowed = math.floor((tonumber(rate or '') or 0) * percents / 100000) + 1
  passes, again = math.max(allowed - (tonumber(ramped or '') or 0), 0), now + 50
end
if passes and passes < limit then
  limit = passes
else
  again = nil
end
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('HLEN', jobs)
redis.call('ZCARD', leases)
redis.call('LLEN', wake)
local gap = tonumber(string.match(redis.call('HGET', window, 'gap') or '', '^(%-?%d+) '))
local waiting = redis.call('ZCARD', ready)
local alone = redis.call('ZCARD', quarantine) > 0 and ARGV[6] == '1' and passes ~= 0
local due = redis.call('ZRANGE', delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[5])

local function write(command, key, list)
  for from = 1, #list, 1000 do
    redis.call(command, key, unpack(list, from, math.min(from + 999, #list)))
  end
end

-- One number for the whole batch, and none for an empty claim.
local sequence = '0'
if alone or limit > 0 and (waiting > 0 or #due > 0) then
  sequence = string.format('%.0f', redis.call('HINCRBY', boot, 'sequence', 1))
end

if #due > 0 then
  local values = redis.call('HMGET', jobs, unpack(due))
  local promoted = {}
  for i, id in ipairs(due) do
    if values[i] then
      -- The place is due time less head start; garbage goes where it would go if pushed now.
      local head_start, due_ms = string.match(string.sub(values[i], 12, 29), '^(%d%d%d%d)(%d+)$')
      promoted[#promoted + 1] = due_ms and due_ms - head_start * 1000 or now
      promoted[#promoted + 1] = id
    end
  end
  write('ZADD', ready, promoted)
  write('ZREM', delayed, due)
end

local answer = { 1, generation, sequence, '', 0, 0, 0, alone and 1 or 0, 0, now, epoch, 0 }
local dropped = 0
if alone or limit > 0 then
  -- Not ZPOPMIN: it would write out a score for each. Others see nothing of the two steps.
  local place = alone and quarantine or ready
  local last = (alone and 1 or limit) - 1
  local ids = redis.call('ZRANGE', place, 0, last)
  if #ids > 0 then
    write('ZREM', place, ids)
    local values = redis.call('HMGET', jobs, unpack(ids))
    -- Written out once: a number is, each time it is an argument.
    local deadline = string.format('%.0f', now + ARGV[4])
    local suffix = '|' .. tonumber(generation) .. '-' .. sequence .. '|' .. ARGV[2]
    local leased, nonsense = {}, {}
    local doubtful = string.find(table.concat(ids), '[^0-9a-f]')
    local leases_at, answers_at = 0, #answer
    for i, id in ipairs(ids) do
      local value = values[i]
      if #id ~= 32 or doubtful and string.find(id, '[^0-9a-f]') then
        nonsense[#nonsense + 1] = id
      elseif value then
        leased[leases_at + 1], leased[leases_at + 2] = deadline, id .. suffix
        leases_at = leases_at + 2
        answer[answers_at + 1], answer[answers_at + 2] = id, value
        answers_at = answers_at + 2
      end
    end
    write('ZADD', leases, leased)
    write('HDEL', jobs, nonsense)
    dropped = #ids - #leased / 2
    if open then
      answer[12] = redis.call('HSET', gate, 'probes', passes - #ids, 'since', since) > 0 and 1 or 0
    elseif passes then
      redis.call('HINCRBY', gate, 'ramped', #ids)
    end
  end
end

local upcoming = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
local more = redis.call('ZCARD', ready) > 0 or (upcoming and tonumber(upcoming) <= now)
if more and again then
  more, upcoming = false, string.format('%.0f', again)
end
if more and redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
answer[4] = upcoming or ''
answer[5] = more and 1 or 0
answer[6] = dropped
answer[7] = redis.call('EXISTS', quarantine)
if gap then
  -- Nothing is known to be held if the gap begins before everything.
  local held = gap > -99999999999999 and redis.call('ZCARD', ready)
    + redis.call('ZCOUNT', delayed, '-inf', math.max(gap, now)) or 0
  answer[9] = held <= tonumber(ARGV[7]) and 2 or 1
end
return answer
