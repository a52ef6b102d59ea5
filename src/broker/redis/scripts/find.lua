#!lua flags=no-writes
-- Tells where jobs are.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  ids (at most 1,000)
-- Returns for each "" not held, "ready" (also in quarantine), "delayed " and until when in ms, or
--       "running " and the worker.
--
-- Atomic, since a job moves between the sets while one looks.

local jobs, ready, delayed, leases, _, _, _, quarantine = unpack(KEYS)
-- A running job's worker is looked for among so many leases; beyond it is "running ".
local SCANNED_MAX = 20000

local answers, running = {}, {}
local searched = 0
local due
for i, id in ipairs(ARGV) do
  due = redis.call('ZSCORE', delayed, id)
  if redis.call('HEXISTS', jobs, id) == 0 then
    answers[i] = ''
  elseif redis.call('ZSCORE', ready, id) or redis.call('ZSCORE', quarantine, id) then
    answers[i] = 'ready'
  elseif due then
    answers[i] = 'delayed ' .. due
  else
    answers[i] = 'running '
    running[id] = i
    searched = searched + 1
  end
end
if searched == 0 then
  return answers
end
for from = 0, SCANNED_MAX - 1, 1000 do
  local members = redis.call('ZRANGE', leases, from, from + 999)
  for _, member in ipairs(members) do
    local i = running[string.sub(member, 1, 32)]
    if i then
      answers[i] = 'running ' .. (string.match(member, '^[^|]*|[^|]*|(.*)$') or '')
      running[string.sub(member, 1, 32)] = nil
    end
  end
  if #members < 1000 then
    -- In no place at all: left over from a set that somebody deleted. It is not held.
    for _, i in pairs(running) do
      answers[i] = ''
    end
    break
  end
end
return answers
