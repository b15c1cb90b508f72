#!lua flags=no-writes
-- Returns the descriptions of the workers that live.
local alive = {}
for _, name in ipairs(redis.call('ZRANGE', NS .. 'workers', 0, -1)) do
  local description = redis.call('GET', NS .. 'worker:' .. name)
  if description then alive[#alive + 1] = description end
end
return alive
