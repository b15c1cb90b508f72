#!lua flags=no-writes
-- Returns the descriptions of the workers that live.
return live_workers()
