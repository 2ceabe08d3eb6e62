#!lua
-- Remembers a consent, added to what the owner allowed this client before.
--
-- KEYS 1 the owner's consents  2 the owner
-- ARGV 1 clock offset (ms)  2 owner epoch  3 client_id  4 client epoch  5 scope  6 most consents an owner may have
--      7 when it was given (ms), '' for now
-- Returns 1; 0 when the owner has changed or the most is reached.
-- Atomic because two pages may be answered at once, and a deleted owner must not leave consents to a later one.
-- A value is: client epoch, time in ms, scope tokens, separated by spaces.
local u = redis.call('HMGET', KEYS[2], 'st', 'ue')
if u[1] ~= 'A' or u[2] ~= ARGV[2] then return 0 end
local scope = ARGV[5]
local stored = redis.call('HGET', KEYS[1], ARGV[3])
if stored then
  local epoch, allowed = string.match(stored, '^(%d+) %d+ ?(.*)$')
  if epoch == ARGV[4] then
    local asked = ' ' .. scope .. ' '
    for token in string.gmatch(allowed, '%S+') do
      if not string.find(asked, ' ' .. token .. ' ', 1, true) then scope = scope .. ' ' .. token end
    end
  end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then
  return 0
end
local given = ARGV[7]
if given == '' then
  local T = redis.call('TIME')
  given = string.format('%.0f', T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[1]))
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4] .. ' ' .. given .. ' ' .. scope)
return 1
