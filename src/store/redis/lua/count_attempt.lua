#!lua
-- Counts an attempt.
--
-- KEYS 1 the bucket, which names the stretch of time as well
-- ARGV 1 how long the stretch is (ms)
-- Returns the attempts so far, this one included.
-- Atomic because a counter without an end would shut somebody out for good.
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return n
