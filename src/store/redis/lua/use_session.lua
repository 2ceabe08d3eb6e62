#!lua flags=allow-oom
-- Finds a browser session by what its cookie says, and notes the use.
--
-- KEYS 1 the session  2 its owner
-- ARGV 1 secret hash  2 clock offset (ms)  3 how old a noted use must be to be replaced (ms)
-- Returns NF (ended, or not this secret); or OK, the store's time, sign-in time, owner epoch, subject, username.
-- Atomic because a session whose owner logged out everywhere must not be prolonged.
-- allow-oom: a full store must not sign anybody out; nothing here grows.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
local s = redis.call('HMGET', KEYS[1], 'sh', 'ue', 't0', 'lu', 'abs', 'idl')
if not s[1] or s[1] ~= ARGV[1] then return {'NF', text(now)} end
local u = redis.call('HMGET', KEYS[2], 'st', 'ue', 'sub', 'name')
if u[1] ~= 'A' or u[2] ~= s[2] then return {'NF', text(now)} end
local abs, idle, used = tonumber(s[5]), tonumber(s[6]), tonumber(s[4])
local function expiry(t) if t + idle < abs then return t + idle end return abs end
if now >= expiry(used) then return {'NF', text(now)} end
if now - used >= tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'lu', text(now))
  redis.call('PEXPIREAT', KEYS[1], text(expiry(now) - tonumber(ARGV[2])))
end
return {'OK', text(now), s[3], u[2], u[3], u[4]}
