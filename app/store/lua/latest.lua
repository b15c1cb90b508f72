#!lua flags=no-writes
-- Names the newest job that has not been forgotten. Returns its id or false.
local start = 0
while true do
  local ids = redis.call('ZREVRANGE', INDEX, start, start + 99)
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', job_key(id)) == 1 then return id end
  end
  if #ids == 0 then return false end
  start = start + 100
end
