#!lua
-- Stores and indexes a new browser session, if its owner is still the one who signed in.
--
-- KEYS 1 the session  2 its owner  3 the owner's index of sessions
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 session id  4 owner epoch  5 secret hash  6 idle (ms)  7 absolute (ms)
--      8 address  9 agent  10 most sessions an owner may have  11 what all session keys of the owner begin with
-- Returns TL (too late) | OW (owner changed) | OK; then the store's time.
-- Atomic because a password change between the check and the sign-in must not leave a live session.
-- Idempotent: the caller chose the id, so the same command twice stores one session.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
if redis.call('HGET', KEYS[1], 'sh') == ARGV[5] then return {'OK', text(now)} end
local u = redis.call('HMGET', KEYS[2], 'st', 'ue')
if u[1] ~= 'A' or u[2] ~= ARGV[4] then return {'OW', text(now)} end

local abs = now + tonumber(ARGV[7])
local expiry = now + tonumber(ARGV[6])
if expiry > abs then expiry = abs end
redis.call('HSET', KEYS[1], 'sh', ARGV[5], 'ue', ARGV[4], 't0', text(now), 'lu', text(now), 'abs', text(abs),
  'idl', ARGV[6], 'ip', ARGV[8], 'ua', ARGV[9])
redis.call('PEXPIREAT', KEYS[1], text(expiry - tonumber(ARGV[2])))

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now))
redis.call('ZADD', KEYS[3], text(abs), ARGV[3])
local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[3], text(tonumber(last[2]) - tonumber(ARGV[2])))
local beyond = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[10])
if beyond > 0 then
  for _, oldest in ipairs(redis.call('ZRANGE', KEYS[3], 0, beyond - 1)) do redis.call('DEL', ARGV[11] .. oldest) end
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, beyond - 1)
end
return {'OK', text(now)}
