#!lua flags=allow-oom
-- Forgets a finished job: every key of its own, its idempotency key, its tombstone, its places.
-- ARGV: id. Returns "ok" | "missing" | "unfinished".
local id = ARGV[1]
local found = redis.call('HMGET', job_key(id), 'status', 'seq', 'idempotency')
if not found[1] then return 'missing' end
if not is_terminal(found[1]) then return 'unfinished' end
for _, key in ipairs(keys_of(id)) do redis.call('DEL', key) end
if found[3] then redis.call('DEL', memory_key(found[3])) end
redis.call('DEL', gone_key(id))
redis.call('ZREM', INDEX, id)
redis.call('ZREM', EXPIRIES, id)
publish(id, found[2] + 1)
return 'ok'
