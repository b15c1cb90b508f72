#!lua flags=allow-oom
-- Extends the lease of the attempt that holds the job.
-- ARGV: id, fence, lease in ms. Returns 1, or 0 when the lease is lost.
local id, fence, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not is_held(id, fence) then return 0 end
extend_lease(id, clock_ms(), lease)
return 1
