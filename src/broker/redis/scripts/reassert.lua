#!lua flags=allow-oom
-- Writes leases that were lost with Redis' memory, for the workers that still run their jobs.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 length in ms from now; then four for each lease (at most 1,000):
--       member, head start in seconds (4 digits), due time in ms (14 digits), envelope
-- Returns one character a lease: "1" held, "0" a later claim has the job.
--
-- Atomic, since a job must be in one place only: it leaves its place as its lease is
-- written, and nobody can claim it in between.
-- The member keeps its token, which is the fence in the ledger. A lease with a smaller one was
-- brought back by a rollback; its holder had lost the job to this one.
-- allow-oom: at maxmemory workers must keep what they run.

local jobs, ready, delayed, leases = unpack(KEYS)
local quarantine = KEYS[8]
-- Other leases of a job are looked for among so many.
local SCANNED_MAX = 20000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local deadline = now + ARGV[2]
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('HLEN', jobs)
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
redis.call('ZCARD', quarantine)
local all_scanned = redis.call('ZCARD', leases) <= SCANNED_MAX

local other = {}
for i = 3, #ARGV, 4 do
  other[string.sub(ARGV[i], 1, 32)] = ''
end
for from = 0, SCANNED_MAX - 1, 1000 do
  local members = redis.call('ZRANGE', leases, from, from + 999)
  for _, member in ipairs(members) do
    local id = string.sub(member, 1, 32)
    if other[id] then
      other[id] = member
    end
  end
  if #members < 1000 then
    break
  end
end

-- Numbers as text, without leading zeros: no arithmetic, which would lose digits.
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end

-- Whether a member's token is smaller than another's. What is no lease has none.
local function is_earlier(a, b)
  local generation_a, sequence_a = string.match(a, '^%x+|(%d+)%-(%d+)|')
  local generation_b, sequence_b = string.match(b, '^%x+|(%d+)%-(%d+)|')
  if not generation_a or not generation_b then
    return not generation_a
  end
  return less(generation_a, generation_b)
    or (generation_a == generation_b and less(sequence_a, sequence_b))
end

local function waits_or_is_unknown(id)
  return redis.call('HEXISTS', jobs, id) == 0
    or redis.call('ZSCORE', ready, id)
    or redis.call('ZSCORE', delayed, id)
    or redis.call('ZSCORE', quarantine, id)
end

local answers = {}
for i = 3, #ARGV, 4 do
  local member = ARGV[i]
  local id = string.sub(member, 1, 32)
  local found = other[id]
  local free = found ~= '' and is_earlier(found, member)
    or found == '' and (all_scanned or waits_or_is_unknown(id))
  if redis.call('ZSCORE', leases, member) then
    redis.call('ZADD', leases, 'XX', 'GT', deadline, member)
    answers[#answers + 1] = '1'
  elseif free then
    local value = redis.call('HGET', jobs, id) or ''
    local orphaned = string.match(string.sub(value, 11, 11), '%d') or '0'
    redis.call('HSET', jobs, id,
      '0000000000' .. orphaned .. ARGV[i + 1] .. ARGV[i + 2] .. ARGV[i + 3])
    redis.call('ZREM', ready, id)
    redis.call('ZREM', delayed, id)
    redis.call('ZREM', quarantine, id)
    redis.call('ZREM', leases, found)
    redis.call('ZADD', leases, deadline, member)
    other[id] = member
    answers[#answers + 1] = '1'
  else
    answers[#answers + 1] = '0'
  end
end
return table.concat(answers)
