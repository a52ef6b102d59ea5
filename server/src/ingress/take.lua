-- Takes tasks out of a stock queue into our hands, where a stock worker does not see them, and
-- answers what is known of them. What was taken long ago and never finished comes first.
--
-- KEYS: scheduled, active, data, taken
-- ARGV: how many at most; how long ago "long ago" is, in ms; the prefix of the tasks' metadata
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[1])

local function due_key(id) return ARGV[3] .. ':' .. id end

local ids = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[2], 'LIMIT', 0, most)
local again = #ids

if #ids < most then
    local scheduled = redis.call('ZRANGE', KEYS[1], 0, most - #ids - 1, 'WITHSCORES')
    for n = 1, #scheduled, 2 do
        redis.call('ZREM', KEYS[1], scheduled[n])
        -- Kept with the task, for whoever has to take it again.
        redis.call('HSET', due_key(scheduled[n]), 'postworks_due', scheduled[n + 1])
        ids[#ids + 1] = scheduled[n]
    end
end
if #ids < most then
    local active = redis.call('LPOP', KEYS[2], most - #ids)
    for _, id in ipairs(active or {}) do ids[#ids + 1] = id end
end

local answer = {}
for n, id in ipairs(ids) do
    redis.call('ZADD', KEYS[4], now, id)
    local data = redis.call('HGET', KEYS[3], id)
    local due = redis.call('HGET', due_key(id), 'postworks_due')
    answer[n] = {id, data, due, n <= again and 1 or 0}
end
return answer
