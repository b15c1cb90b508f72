#!lua flags=allow-oom
-- Forgets what older attempts left, because this one cannot go on from it; a new version, no event.
-- Atomically: history, progress and checkpoint go; any step of this attempt is a new one, so the
-- start-overs are counted: two workers that cannot read each other's checkpoints must not take a
-- job from each other for ever.
-- ARGV: id, fence. Returns 1, or 0 when the lease is lost.
local id, fence = ARGV[1], ARGV[2]
if not is_held(id, fence) then return 0 end
forget_steps(id)
redis.call('HDEL', job_key(id), 'furthest')
-- Once an attempt, however often its answer is lost.
if redis.call('HGET', job_key(id), 'started_over') ~= fence then
  redis.call('HSET', job_key(id), 'started_over', fence)
  redis.call('HINCRBY', job_key(id), 'start_overs', 1)
end
touch(id)
return 1
