#!lua flags=allow-oom
-- Cancels: a queued job at once, a running one by asking; a finished one stays as it is. Of a split
-- job the shards that wait are dropped.
-- ARGV: id, retention, memory and grave in ms. Returns the job's fields, empty when there is none.
local id = ARGV[1]
local job = job_key(id)
local status = redis.call('HGET', job, 'status')
local now = clock_ms()
if status == 'queued' then
  dequeue(id, redis.call('HGET', job, 'queue'))
  redis.call('HSET', job, 'cancel_requested_at_ms', text(now))
  end_job(id, 'cancelled', now, times_from(2), '{}')
elseif status == 'running' then
  if redis.call('HSETNX', job, 'cancel_requested_at_ms', text(now)) == 1 then
    emit(id, 'job.cancel_requested', now, '{}')
    if redis.call('HEXISTS', job, 'total') == 1 then close(id, 'cancelled', now) end
  end
end
return redis.call('HGETALL', job)
