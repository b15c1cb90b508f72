#!lua flags=allow-oom
-- Appends history, moves the progress on and extends the lease, in one step; a checkpoint is written
-- here too, so that it never disagrees with the history.
-- An entry's stream id is its last step + 1: a block that a worker sends twice, because the first
-- answer was lost, is appended once, and readers find a step without decoding what is before it.
-- ARGV: id, fence, lease in ms, run, the last entry that this attempt was told is there or 0, last
--       step + 1 or "", block, progress, place (run and step as one rising number), "1" for a
--       progress event or "", then field, value, ... of a checkpoint.
-- Returns 1, or 0 when the lease is lost, as it is when rows were forgotten.
local id, fence, lease, run = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local entry, block, progress = ARGV[6], ARGV[7], ARGV[8]
local place, event = tonumber(ARGV[9]), ARGV[10]
if not is_held(id, fence) or has_forgotten(id, run, tonumber(ARGV[5])) then return 0 end

local job, now = job_key(id), clock_ms()
local found = redis.call('HMGET', job, 'furthest', 'runs')
if entry ~= '' then
  local key = history_key(id, run)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not last or tonumber(string.match(last[1], '^%d+')) < tonumber(entry) then
    redis.call('XADD', key, entry .. '-0', 'rows', block)
  end
  if run >= tonumber(found[2] or 0) then redis.call('HSET', job, 'runs', run + 1) end
end
redis.call('HSET', job, 'progress', progress)
-- Only a checkpoint lets the next attempt begin further on: how far rows reach without one is luck.
if #ARGV > 10 and place > tonumber(found[1] or 0) then
  redis.call('HSET', job, 'furthest', text(place), 'fruitless', 0)
end
if #ARGV > 10 then
  redis.call('HSET', checkpoint_key(id), 'progress', progress, unpack(ARGV, 11))
end
extend_lease(id, now, lease)
if event == '1' then emit(id, 'job.progress', now, progress) end
return 1
