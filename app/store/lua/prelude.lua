-- Shared by every script: key names, the clock, events, and the ways in which a job changes place.
-- KEYS[1] is the namespace, "{fit}:"; its hash tag keeps every key of a service in one slot.
-- app/store/keys.py is the Python side of the same layout.

local NS = KEYS[1]
local INDEX, LEASES, EXPIRIES = NS .. 'index', NS .. 'leases', NS .. 'expiries'
-- Every queued job by the time at which it began to wait.
local WAITING = NS .. 'waiting'
-- Every split job that is not all computed yet by the time at which its time limit is over.
local DEADLINES = NS .. 'deadlines'
local QUEUES = {'cpu', 'cuda'}
-- A day of progress at 4 a second would be 345,600 events; the oldest are trimmed.
local MAX_EVENTS = 1000
-- Jobs of a queue whose durations stand for those that wait.
local MAX_DURATIONS = 20
-- Shards of one job that are open at a time, where there are few workers.
local FEWEST_OPEN = 4
-- A split job's progress is told at most so often.
local TELL_MS = 250

local function job_key(id) return NS .. 'job:' .. id end
local function events_key(id) return NS .. 'job:' .. id .. ':events' end
local function points_key(id) return NS .. 'job:' .. id .. ':points' end
local function history_key(id, run) return NS .. 'job:' .. id .. ':history:' .. run end
local function checkpoint_key(id) return NS .. 'job:' .. id .. ':checkpoint' end
local function records_key(id) return NS .. 'job:' .. id .. ':records' end
local function done_key(id) return NS .. 'job:' .. id .. ':done' end
local function shards_key(id) return NS .. 'job:' .. id .. ':shards' end
local function order_key(id, name) return NS .. 'job:' .. id .. ':order:' .. name end
-- A shard is a job that stands in no index: its id is "JOB/NUMBER", and no job's id has a slash.
local function shard_id(id, number) return id .. '/' .. number end
local function parent_of(id) return string.match(id, '^(.+)/%d+$') end
local function number_of(id) return string.match(id, '/(%d+)$') end
local function gone_key(id) return NS .. 'gone:' .. id end
local function memory_key(digest) return NS .. 'idempotency:' .. digest end
local function claim_key(worker) return NS .. 'claim:' .. worker end
local function ready_key(queue) return NS .. 'ready:' .. queue end
local function turn_key(queue) return NS .. 'turn:' .. queue end
local function clients_key(queue) return NS .. 'clients:' .. queue end
local function durations_key(queue) return NS .. 'durations:' .. queue end
-- Celery's own list.
local function wake_ups_key(queue) return NS .. 'celery:' .. queue end

-- Whole numbers above 1e14 must not pass through Lua's own "%.14g".
local function text(number) return string.format('%.0f', number) end

local function clock_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function clock_ms() return math.floor(clock_us() / 1000) end

local function history_keys(id)
  local keys = {}
  for run = 0, tonumber(redis.call('HGET', job_key(id), 'runs') or 0) - 1 do
    keys[#keys + 1] = history_key(id, run)
  end
  return keys
end

-- Every key that belongs to one job alone.
local function keys_of(id)
  local keys = history_keys(id)
  keys[#keys + 1] = job_key(id)
  keys[#keys + 1] = events_key(id)
  keys[#keys + 1] = points_key(id)
  keys[#keys + 1] = checkpoint_key(id)
  keys[#keys + 1] = records_key(id)
  keys[#keys + 1] = done_key(id)
  for _, number in ipairs(redis.call('SMEMBERS', shards_key(id))) do
    keys[#keys + 1] = job_key(shard_id(id, number))
  end
  keys[#keys + 1] = shards_key(id)
  for name in string.gmatch(redis.call('HGET', job_key(id), 'orders') or '', '[^,]+') do
    keys[#keys + 1] = order_key(id, name)
  end
  return keys
end

local function forget_steps(id)
  for _, key in ipairs(history_keys(id)) do redis.call('DEL', key) end
  redis.call('DEL', checkpoint_key(id))
  redis.call('HDEL', job_key(id), 'runs', 'progress')
end

-- Drops the blocks of a run that end after a step. The others are written anew, because a stream
-- takes no id below one that it has deleted; seldom, and never after a drain.
local function cut_history(key, step)
  local top = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not top or tonumber(string.match(top[1], '^%d+')) <= step + 1 then return end
  local kept = redis.call('XRANGE', key, '-', (step + 1) .. '-0')
  redis.call('DEL', key)
  for _, entry in ipairs(kept) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
end

local function publish(id, seq) redis.call('PUBLISH', NS .. 'bus', id .. ' ' .. seq) end

-- The record changed in a way that is no event: readers must see another version.
local function touch(id) publish(id, redis.call('HINCRBY', job_key(id), 'seq', 1)) end

local function note(id, kind, now, data)
  local seq = redis.call('HINCRBY', job_key(id), 'seq', 1)
  redis.call('XADD', events_key(id), 'MAXLEN', MAX_EVENTS, seq .. '-0',
    'type', kind, 'at', text(now), 'data', data)
  return seq
end

local function emit(id, kind, now, data) publish(id, note(id, kind, now, data)) end

-- True while the attempt that got this fence at its claim still owns the job.
local function is_held(id, fence)
  local found = redis.call('HMGET', job_key(id), 'status', 'fence')
  return found[1] == 'running' and found[2] == fence
end

-- The ready set is ordered by turns, so that clients alternate: a client's next job gets the turn
-- after its last one that waits, or after the one that was claimed last when it has none. One client
-- alone is served in order of arrival; among many, nobody waits behind another's whole backlog.
-- (Start-time fair queueing: P. Goyal, H. M. Vin, H. Cheng, SIGCOMM 1996, each job as long as any.)
-- A job keeps its turn for life: one that comes back from a lost worker is the next.
local function take_turn(id, queue, client)
  local last = redis.call('HGET', clients_key(queue), client .. ':turn')
  -- Turns begin at the clock: it ordered what a version before turns has left in the queue.
  redis.call('SET', turn_key(queue), text(clock_us()), 'NX')
  local turn = math.max(redis.call('GET', turn_key(queue)), last or 0) + 1
  redis.call('HSET', clients_key(queue), client .. ':turn', text(turn))
  redis.call('HSET', job_key(id), 'turn', text(turn))
  return text(turn)
end

-- What a client is counted by: jobs that wait make up its share of the queue; shards do not, their
-- job is under way.
local function count_of(id, client) return client .. (parent_of(id) and ':shards' or ':waiting') end

local function enqueue(id, now)
  local found = redis.call('HMGET', job_key(id), 'queue', 'client', 'turn')
  local queue, client = found[1], found[2] or ''
  -- Its own for life; the first time it takes one.
  local turn = found[3] or take_turn(id, queue, client)
  redis.call('ZADD', ready_key(queue), turn, id)
  if not parent_of(id) then redis.call('ZADD', WAITING, text(now), id) end
  redis.call('HINCRBY', clients_key(queue), count_of(id, client), 1)
end

local function dequeue(id, queue)
  redis.call('ZREM', WAITING, id)
  if redis.call('ZREM', ready_key(queue), id) == 0 then return end
  local client, clients = redis.call('HGET', job_key(id), 'client') or '', clients_key(queue)
  if redis.call('HINCRBY', clients, count_of(id, client), -1) <= 0 then
    redis.call('HDEL', clients, count_of(id, client))
    local left = redis.call('HMGET', clients, client .. ':waiting', client .. ':shards')
    if not left[1] and not left[2] then redis.call('HDEL', clients, client .. ':turn') end
  end
end

-- The descriptions of the workers that live.
local function live_workers()
  local alive = {}
  for _, name in ipairs(redis.call('ZRANGE', NS .. 'workers', 0, -1)) do
    local description = redis.call('GET', NS .. 'worker:' .. name)
    if description then alive[#alive + 1] = description end
  end
  return alive
end

-- Where a job waits: {jobs before it or -1 when it does not wait, the durations of the last jobs, live
-- workers}.
local function standing(id, queue)
  local is_queued = redis.call('HGET', job_key(id), 'status') == 'queued'
  return {is_queued and redis.call('ZRANK', ready_key(queue), id) or -1,
    redis.call('LRANGE', durations_key(queue), 0, -1), live_workers()}
end

local function extend_lease(id, now, lease) redis.call('ZADD', LEASES, text(now + lease), id) end

local function is_terminal(status)
  return status == 'succeeded' or status == 'failed' or status == 'cancelled'
end

-- Gives everything that a job leaves behind one time of death; the tombstone outlives it, even when
-- that time is in the past.
local function keep_until(id, expires, now, grave)
  redis.call('HSET', job_key(id), 'expires_at_ms', text(expires))
  redis.call('ZADD', EXPIRIES, text(expires), id)
  redis.call('SET', gone_key(id), '1', 'PXAT', text(math.max(expires, now) + grave))
  for _, key in ipairs(keys_of(id)) do redis.call('PEXPIREAT', key, text(expires)) end
end

-- times: {retention, memory, grave} in ms: how long the job, its idempotency key and, after the
-- job, its tombstone are kept.
local function end_job(id, status, now, times, data)
  local job = job_key(id)
  redis.call('ZREM', LEASES, id)
  redis.call('HSET', job, 'status', status, 'finished_at_ms', text(now))
  emit(id, 'job.' .. status, now, data)
  local digest = redis.call('HGET', job, 'idempotency')
  if digest then redis.call('PEXPIREAT', memory_key(digest), text(now + times[2])) end
  keep_until(id, now + times[1], now, times[3])
end

-- Ends the hold of the attempt in hand where the status stays: the next fence is nobody's.
local function let_go(id)
  redis.call('ZREM', LEASES, id)
  local number = tonumber(string.match(redis.call('HGET', job_key(id), 'fence'), '^%d+'))
  redis.call('HSET', job_key(id), 'fence', number + 1)
end

-- Back to the place that the job had at first: its turn never changes.
local function requeue(id, now, reason)
  local job = job_key(id)
  redis.call('ZREM', LEASES, id)
  if parent_of(id) then
    -- Nobody has been told of it.
    redis.call('HSET', job, 'status', 'queued')
    redis.call('HDEL', job, 'part')
    return enqueue(id, now)
  end
  if redis.call('HEXISTS', job, 'assembling') == 1 then
    let_go(id)
    return enqueue(id, now)
  end
  redis.call('HSET', job, 'status', 'queued', 'queued_at_ms', text(now))
  redis.call('HDEL', job, 'started_at_ms', 'used', 'worker')
  enqueue(id, now)
  emit(id, 'job.requeued', now, '{"reason":"' .. reason .. '"}')
end

local function open_shard(id, number, now)
  local found = redis.call('HMGET', job_key(id), 'queue', 'client')
  local shard = shard_id(id, number)
  redis.call('HSET', job_key(shard), 'status', 'queued', 'attempt', 0, 'fence', 0, 'fruitless', 0,
    'queue', found[1], 'client', found[2])
  redis.call('SADD', shards_key(id), number)
  enqueue(shard, now)
end

-- Whatever has become of a shard, it is over.
local function drop_shard(shard)
  local id, queue = parent_of(shard), redis.call('HGET', job_key(shard), 'queue')
  if queue then dequeue(shard, queue) end
  redis.call('ZREM', LEASES, shard)
  redis.call('DEL', job_key(shard))
  redis.call('SREM', shards_key(id), number_of(shard))
end

-- Opens shards of a split job up to its window: twice as many as there are workers. Each takes a turn
-- of that moment, so that others wait behind a window and not behind all of it. After the last one
-- the job is ready to be assembled.
local function go_on(id, now)
  local found = redis.call('HMGET', job_key(id), 'shards', 'opened', 'closed', 'assembling')
  if found[4] then return end
  local live = redis.call('SCARD', shards_key(id))
  if not found[3] then
    local workers = redis.call('ZCOUNT', NS .. 'workers', text(now), '+inf')
    local window, opened = math.max(FEWEST_OPEN, 2 * workers), tonumber(found[2])
    while live < window and opened < tonumber(found[1]) do
      open_shard(id, opened, now)
      live, opened = live + 1, opened + 1
    end
    redis.call('HSET', job_key(id), 'opened', opened)
  end
  if live > 0 then return end
  redis.call('HSET', job_key(id), 'assembling', 1, 'fruitless', 0)
  redis.call('ZREM', DEADLINES, id)
  enqueue(id, now)
end

-- Ends a split job's computing: what waits is dropped, what runs is asked to stop, and then the job
-- is assembled to end as `status`, with `fault` as its error. The first one who closes it decides.
local function close(id, status, now, fault)
  local job = job_key(id)
  if redis.call('HEXISTS', job, 'assembling') == 1 then return end
  if redis.call('HSETNX', job, 'closed', status) == 1 then
    if fault then redis.call('HSET', job, 'fault', fault) end
    for _, number in ipairs(redis.call('SMEMBERS', shards_key(id))) do
      local shard = shard_id(id, number)
      if redis.call('HGET', job_key(shard), 'status') == 'running' then
        redis.call('HSET', job_key(shard), 'cancel_requested_at_ms', text(now))
      else
        drop_shard(shard)
      end
    end
  end
  go_on(id, now)
end

-- Tells how far a split job is: the runs of shards that have ended, and shares of those in hand.
local function tell_progress(id, now)
  local job = job_key(id)
  local found = redis.call('HMGET', job, 'total', 'made', 'steps', 'told_at_ms')
  -- A clock that was set back must not keep it silent.
  if math.abs(now - (found[4] or 0)) < TELL_MS then return end
  local total, made = tonumber(found[1]), tonumber(found[2])
  local done = made
  for _, number in ipairs(redis.call('SMEMBERS', shards_key(id))) do
    done = done + (redis.call('HGET', job_key(shard_id(id, number)), 'part') or 0)
  end
  local progress = string.format('{"run":%d,"step":0,"steps":%d,"fraction":%.6f}', made, found[3],
    math.min(1, done / total))
  redis.call('HSET', job, 'progress', progress, 'told_at_ms', text(now))
  emit(id, 'job.progress', now, progress)
end

-- Notes how long a worker had a job or a shard, by which the start of those that wait is estimated.
local function note_duration(id, now, retention)
  local found = redis.call('HMGET', job_key(id), 'queue', 'started_at_ms')
  local durations = durations_key(found[1])
  redis.call('LPUSH', durations, text(math.max(0, now - found[2])))
  redis.call('LTRIM', durations, 0, MAX_DURATIONS - 1)
  redis.call('PEXPIRE', durations, text(retention))
end

-- True when the history ends before an entry that the attempt was told is there: Redis has lost its
-- last second, by a failover or a power cut, and the rows after it would leave a hole. The job goes
-- back to its place, to go on from its checkpoint.
local function has_forgotten(id, run, entry)
  if entry == 0 then return false end
  local last = redis.call('XREVRANGE', history_key(id, run), '+', '-', 'COUNT', 1)[1]
  if last and tonumber(string.match(last[1], '^%d+')) >= entry then return false end
  requeue(id, clock_ms(), 'rows-forgotten')
  return true
end

-- Appends a block of a run whose last row is step `entry` - 1, once however often it is sent.
local function append_rows(id, run, entry, block)
  local key = history_key(id, run)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not last or tonumber(string.match(last[1], '^%d+')) < tonumber(entry) then
    redis.call('XADD', key, entry .. '-0', 'rows', block)
  end
  if run >= tonumber(redis.call('HGET', job_key(id), 'runs') or 0) then
    redis.call('HSET', job_key(id), 'runs', run + 1)
  end
end

local function times_from(first)
  return {tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])}
end
