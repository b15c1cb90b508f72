#!lua flags=allow-oom
-- Hands the oldest ready job of a queue to a worker.
-- Atomically: out of the ready set, status running, attempt and fence + 1, lease, event; what an
-- older attempt left (history, progress) is dropped, because this one starts at step 0. An attempt
-- that resumes from a checkpoint would keep both and be handed the checkpoint here.
-- ARGV: queue, worker, device, lease in ms, event data without its opening brace.
-- Returns {fence, fields, points or ""}, or false when nothing is ready.
local queue, worker, device = ARGV[1], ARGV[2], ARGV[3]
local lease, data = tonumber(ARGV[4]), ARGV[5]

while true do
  local id = redis.call('ZRANGE', ready_key(queue), 0, 0)[1]
  if not id then return false end
  redis.call('ZREM', ready_key(queue), id)
  local job = job_key(id)
  if redis.call('HGET', job, 'status') == 'queued' then
    local now = clock_ms()
    for _, key in ipairs(history_keys(id)) do redis.call('DEL', key) end
    redis.call('HDEL', job, 'runs', 'progress', 'engine')
    local attempt = redis.call('HINCRBY', job, 'attempt', 1)
    local fence = redis.call('HINCRBY', job, 'fence', 1)
    redis.call('HINCRBY', job, 'fruitless', 1)
    redis.call('HSET', job, 'status', 'running', 'started_at_ms', text(now),
      'used', device, 'worker', worker)
    extend_lease(id, now, lease)
    emit(id, 'job.started', now, '{"attempt":' .. attempt .. ',' .. data)
    return {fence, redis.call('HGETALL', job), redis.call('GET', points_key(id)) or ''}
  end
end
