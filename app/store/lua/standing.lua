#!lua flags=no-writes
-- Tells where a job waits. ARGV: id, queue. Returns the standing, see prelude.lua.
return standing(ARGV[1], ARGV[2])
