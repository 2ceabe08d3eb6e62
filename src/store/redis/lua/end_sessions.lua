#!lua flags=allow-oom
-- Ends one browser session of an owner, or all but one.
--
-- KEYS 1 the owner's index of sessions
-- ARGV 1 'one' | 'others'  2 the session to end, or the one to keep  3 what all session keys of the owner begin with
-- Returns how many ended.
-- Atomic because a session must not stay alive outside the index.
local ended = 0
local function finish(id)
  ended = ended + redis.call('DEL', ARGV[3] .. id)
  redis.call('ZREM', KEYS[1], id)
end
if ARGV[1] == 'one' then
  finish(ARGV[2])
else
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if id ~= ARGV[2] then finish(id) end
  end
end
-- A write in any case: whoever repeats this then waits until the replicas have the first one.
redis.call('ZADD', KEYS[1], 0, '')
redis.call('ZREM', KEYS[1], '')
return ended
