#!lua flags=allow-oom
-- Says that a worker lives, for a while. ARGV: name, description, time to live in ms.
local name, description, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = clock_ms()
redis.call('SET', NS .. 'worker:' .. name, description, 'PX', text(ttl))
redis.call('ZADD', NS .. 'workers', text(now + ttl), name)
redis.call('ZREMRANGEBYSCORE', NS .. 'workers', '-inf', text(now))
redis.call('PEXPIRE', NS .. 'workers', text(ttl), 'GT')
if redis.call('PTTL', NS .. 'workers') < 0 then redis.call('PEXPIRE', NS .. 'workers', text(ttl)) end
return 1
