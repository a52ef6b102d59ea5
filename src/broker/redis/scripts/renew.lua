#!lua flags=allow-oom
-- Lengthens leases; shortens only those that end absurdly late, because the clock went back: such a
-- lease would outlast its holder for as long as the clock jumped.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 length in ms from now; then members (at most 1,000)
-- Returns {generation or "" if the queue was not opened since Redis started, verdicts}: one
--       character a lease, "1" held, "0" not held any more.
--
-- Atomic, since a lease that was taken back between look and write would come to life again, and
-- since the generation tells whether a lease that is missing was taken back or wiped.
-- A queue that is not open yet has its leases lengthened all the same: they survived a restart.
-- allow-oom: at maxmemory every lease would expire otherwise.

local leases, boot = KEYS[4], KEYS[6]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local deadline = now + ARGV[2]
-- Ten lengths from now. No lease of ours lasts longer, unless its length was changed.
local absurd = now + 10 * ARGV[2]
local opened = redis.call('HMGET', boot, 'run', 'generation')
local generation = string.match(opened[2] or '', '^%d%d%d%d%d%d%d%d%d%d$')
if opened[1] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then
  generation = nil
end

local answers, held = {}, {}
for i = 3, #ARGV do
  local ends = tonumber(redis.call('ZSCORE', leases, ARGV[i]))
  if ends then
    answers[#answers + 1] = '1'
    held[#held + 1] = ends > absurd and deadline or math.max(ends, deadline)
    held[#held + 1] = ARGV[i]
  else
    answers[#answers + 1] = '0'
  end
end
for from = 1, #held, 1000 do
  redis.call('ZADD', leases, 'XX', unpack(held, from, math.min(from + 999, #held)))
end
return { generation or '', table.concat(answers) }
