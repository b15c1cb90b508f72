#!lua flags=no-writes
-- Reads records of a job's runs. ARGV: id, then first run, number of runs, first, number, ...
-- Returns {kind, number of runs, number of shards, which of them are done, records, records, ...}:
-- "" for a kind that is not there, -1 runs when none has begun.
local id = ARGV[1]
local found = redis.call('HMGET', job_key(id), 'kind', 'total', 'shards', 'record_bytes')
local reply = {found[1] or '', found[2] or -1, found[3] or -1,
  redis.call('GET', done_key(id)) or ''}
local size = tonumber(found[4] or 0)
for i = 2, #ARGV, 2 do
  local first, count = ARGV[i] * size, ARGV[i + 1] * size
  reply[#reply + 1] = count == 0 and ''
    or redis.call('GETRANGE', records_key(id), text(first), text(first + count - 1))
end
return reply
