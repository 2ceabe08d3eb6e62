#!lua
-- Presents a device code: the port of `poll` in store/poll.rs, row for row.
--
-- KEYS 1 the device authorization
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 secret hash  4 client_id  5 grace of a claim (ms)  6 leeway (ms)
--      7 what a poll that came too early adds to the interval (ms)
-- Returns the code, the store's time, and what the code needs:
--   TL too late | XP expired or forgotten | FR foreign code | WC wrong client, the right one | US used, owner
--   DN denied | SD slow down | PD pending
--   OK claimed, RT claimed before: owner, owner epoch, client epoch, scope, audience
-- Atomic because two polls must not both be the first, and the interval must count each of them.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
local d = redis.call('HMGET', KEYS[1], 'sh', 'cid', 'st', 'exp', 'nx', 'int', 'ow', 'oe', 'ce', 'sc', 'au', 'cl')
if not d[1] then return {'XP', text(now)} end
if d[1] ~= ARGV[3] then return {'FR', text(now)} end
if d[2] ~= ARGV[4] then return {'WC', text(now), d[2]} end
if d[12] then
  if now - tonumber(d[12]) < tonumber(ARGV[5]) then return {'RT', text(now), d[7], d[8], d[9], d[10], d[11]} end
  return {'US', text(now), d[7]}
end
if now >= tonumber(d[4]) then return {'XP', text(now)} end
if d[3] == 'D' then return {'DN', text(now)} end
if d[3] == 'A' then
  redis.call('HSET', KEYS[1], 'cl', text(now))
  return {'OK', text(now), d[7], d[8], d[9], d[10], d[11]}
end
local code, interval = 'PD', tonumber(d[6])
if now + tonumber(ARGV[6]) < tonumber(d[5]) then code, interval = 'SD', interval + tonumber(ARGV[7]) end
redis.call('HSET', KEYS[1], 'int', text(interval), 'nx', text(now + interval))
return {code, text(now)}
