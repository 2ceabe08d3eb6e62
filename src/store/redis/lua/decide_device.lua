#!lua
-- Stores what a person decided about a device authorization; the first decision stays.
--
-- KEYS 1 the device authorization
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 'A' approve | 'D' deny  4 owner  5 owner epoch
-- Returns TL (too late) | GN (gone) | AL (decided otherwise) | OK; then the store's time.
-- Atomic because of two people with one code only one may decide.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
local d = redis.call('HMGET', KEYS[1], 'st', 'exp', 'ow')
if not d[1] or now >= tonumber(d[2]) then return {'GN', text(now)} end
if d[1] ~= 'P' then
  if d[1] == ARGV[3] and (d[1] == 'D' or d[3] == ARGV[4]) then return {'OK', text(now)} end
  return {'AL', text(now)}
end
redis.call('HSET', KEYS[1], 'st', ARGV[3])
if ARGV[3] == 'A' then redis.call('HSET', KEYS[1], 'ow', ARGV[4], 'oe', ARGV[5]) end
return {'OK', text(now)}
