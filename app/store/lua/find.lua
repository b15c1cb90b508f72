#!lua flags=no-writes
-- Looks through the index, newest first, for jobs that pass a filter.
-- ARGV: highest order or "+inf", lowest order or "-inf", most jobs to look at, most to return,
--       then four lists (statuses, kinds, optimizers, queues), each its length and its values,
--       then tag name, tag value, ...
-- Returns {order of the last one looked at or "", fields, fields, ...}; "" means the end.
local highest, lowest = ARGV[1], ARGV[2]
local look, most = tonumber(ARGV[3]), tonumber(ARGV[4])

local at, wanted = 5, {}
for list = 1, 4 do
  local values = {}
  local count = tonumber(ARGV[at])
  for i = at + 1, at + count do values[ARGV[i]] = true end
  wanted[list] = count > 0 and values or false
  at = at + count + 1
end

local function has_optimizer(names)
  for name in string.gmatch(names, '[^,]+') do
    if wanted[3][name] then return true end
  end
  return false
end
local function has_tags(tags)
  if at > #ARGV then return true end
  local given = cjson.decode(tags)
  for i = at, #ARGV, 2 do
    if given[ARGV[i]] ~= ARGV[i + 1] then return false end
  end
  return true
end
local function passes(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'kind', 'optimizers', 'queue', 'tags')
  if not found[1] then return false end
  return (not wanted[1] or wanted[1][found[1]]) and (not wanted[2] or wanted[2][found[2]])
    and (not wanted[3] or has_optimizer(found[3])) and (not wanted[4] or wanted[4][found[4]])
    and has_tags(found[5])
end

local reply = {''}
local seen = redis.call('ZREVRANGEBYSCORE', INDEX, highest, lowest, 'WITHSCORES', 'LIMIT', 0, look)
for i = 1, #seen, 2 do
  if passes(seen[i]) then
    reply[#reply + 1] = redis.call('HGETALL', job_key(seen[i]))
    if #reply > most then
      reply[1] = seen[i + 1]
      return reply
    end
  end
end
if #seen == look * 2 then reply[1] = seen[#seen] end
return reply
