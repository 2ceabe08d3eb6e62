-- Stores and indexes a new grant, if its owner is still the one who was authenticated. Follows settle.lua and new_grant.lua.
--
-- KEYS 1 the grant  2 its owner  3 the owner's index of grants  4 what is counted for the account
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 grant id  4 owner epoch  5 family hash  6 key id
--      7 client_id  8 client epoch  9 scope  10 audience  11 idle (ms)  12 absolute (ms)  13 grace (ms)
--      14 access token lifetime (ms)  15 most grants an owner may have  16 '1' in cookie mode
--      17 where from, as in USE  18 tombstone (ms)  19 what all grant keys of the owner begin with
--      20.. for a grant that comes of an attempt to log in: as settle_login.lua takes them from 3 on
-- Returns TL (too late) | OW (owner changed) | OK, and the store's time.
-- Atomic because a password change between the check and the creation must not leave a live grant, nor a node that dies
-- more grants than an owner may have.
-- Idempotent: the caller chose the id, so the same command twice stores one grant.
local T = redis.call('TIME')
local offset = tonumber(ARGV[2])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
if now > tonumber(ARGV[1]) then return {'TL', now} end
local stored = redis.call('GET', KEYS[1])
if stored then
  local _, _, _, _, _, _, _, _, holder = struct.unpack(USE, stored, (active(stored)))
  local family, _, _, _, terms = struct.unpack(HOLDER, stored, holder)
  local _, created = struct.unpack(TERMS, stored, terms)
  if family == ARGV[5] then return {'OK', created} end
end
if ARGV[20] then
  settle(KEYS[4], now, offset, ARGV[20], ARGV[21] == '1', 'S', tonumber(ARGV[22]), tonumber(ARGV[23]),
    tonumber(ARGV[24]), tonumber(ARGV[25]))
end
local u = redis.call('HMGET', KEYS[2], 'st', 'ue')
if u[1] ~= 'A' or u[2] ~= ARGV[4] then return {'OW', now} end
create(KEYS[1], KEYS[3], now, offset, {
  id = ARGV[3], owner_epoch = ARGV[4], family = ARGV[5], key = ARGV[6], client = ARGV[7], client_epoch = ARGV[8],
  scope = ARGV[9], audience = ARGV[10], idle = tonumber(ARGV[11]), absolute = tonumber(ARGV[12]), grace = ARGV[13],
  access = tonumber(ARGV[14]), most = tonumber(ARGV[15]), delivery = ARGV[16], from = ARGV[17],
  code = '', request = '', tombstone = tonumber(ARGV[18]), prefix = ARGV[19],
})
return {'OK', now}
