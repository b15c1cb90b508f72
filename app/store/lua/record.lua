#!lua flags=allow-oom
-- Appends history, moves the progress on and extends the lease, in one step; a checkpoint is written
-- here too, so that it never disagrees with the history.
-- An entry's stream id is its last step + 1: a block that a worker sends twice, because the first
-- answer was lost, is appended once, and readers find a step without decoding what is before it.
-- ARGV: id, fence, lease in ms, run, the last entry that this attempt was told is there or 0, last
--       step + 1 or "", block, progress, place (run and step as one rising number), "1" for a
--       progress event or "", how many words of where and how the attempt runs follow, these (field,
--       value, ... of the job), then field, value, ... of a checkpoint.
-- Returns 1, or 0 when the lease is lost, as it is when rows were forgotten.
local id, fence, lease, run = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local entry, block, progress = ARGV[6], ARGV[7], ARGV[8]
local place, event = tonumber(ARGV[9]), ARGV[10]
if not is_held(id, fence) or has_forgotten(id, run, tonumber(ARGV[5])) then return 0 end

local job, now = job_key(id), clock_ms()
local kept = 12 + tonumber(ARGV[11])
local has_checkpoint = #ARGV >= kept
if entry ~= '' then append_rows(id, run, entry, block) end
redis.call('HSET', job, 'progress', progress)
-- Only a checkpoint lets the next attempt begin further on: how far rows reach without one is luck.
if has_checkpoint and place > tonumber(redis.call('HGET', job, 'furthest') or 0) then
  redis.call('HSET', job, 'furthest', text(place), 'fruitless', 0)
end
if has_checkpoint then
  redis.call('HSET', checkpoint_key(id), 'progress', progress, unpack(ARGV, kept))
end
if kept > 12 then redis.call('HSET', job, unpack(ARGV, 12, kept - 1)) end
extend_lease(id, now, lease)
if event == '1' then
  emit(id, 'job.progress', now, progress)
elseif kept > 12 then
  touch(id)
end
return 1
