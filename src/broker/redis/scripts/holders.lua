#!lua flags=no-writes
-- Tells which workers hold leases.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  none
-- Returns the workers, each once; none if the queue was not opened since Redis started.
--
-- Only leases of the present generation count. After a restart the holders of older ones may be
-- on their way back to us; these leases are renewed, or expire.
-- Atomic, since a generation must not be opened between the two looks.

local leases, boot = KEYS[4], KEYS[6]
local SCANNED_MAX = 20000

-- A wrong type at a key of one queue must not hide the holders of the others.
local held = redis.pcall('HMGET', boot, 'run', 'generation')
local generation = tonumber(held[2] or '')
if not generation or held[1] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then
  return {}
end

-- id|generation-sequence|worker, and only the worker may hold further bars.
local pattern = '^%x+|' .. string.format('%.0f', generation) .. '%-%d+|(.*)$'
local workers, seen = {}, {}
for from = 0, SCANNED_MAX - 1, 1000 do
  local members = redis.pcall('ZRANGE', leases, from, from + 999)
  for _, member in ipairs(members) do
    local worker = string.match(member, pattern)
    if worker and not seen[worker] then
      seen[worker] = true
      workers[#workers + 1] = worker
    end
  end
  if #members < 1000 then
    break
  end
end
return workers
