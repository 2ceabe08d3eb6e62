-- Presents a refresh token: the port of `decide` in store/decide.rs, row for row. Follows grant.lua.
--
-- KEYS 1 the grant  2 its owner
-- ARGV 1 who presents it, as HOLDER in grant.lua
--      2 the request: generation, deadline (ms), access token lifetime (ms), MAC key id of a new generation, 1 to rotate or 0 to
--        keep, tombstone (ms), clock offset (ms, 0 outside tests), where from as in USE, requested scope and audience ('' none)
-- Returns the code, the store's time, and what the code needs:
--   TL too late | NF unknown | WF wrong family | WC wrong client, owner client | WD wrong delivery | RV revoked, reason
--   XP expired | SC scope | AU audience | RP replayed, reason, current generation
-- or one string, see `live` in grant.lua, for OK rotated, RT repeated, FW repaired
-- Atomic because two requests with one token must not both find it unused.
-- allow-oom: a full store must not log out those who are signed in; nothing here grows but a revocation, which soon goes.
local given, deadline, lifetime, new_key, rotates, tombstone, offset, by, requested_scope, requested_audience =
  struct.unpack('>I4I6I6BBI6i6I2c0I2c0I2c0', ARGV[2])
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
if now > deadline then return {'TL', now} end
local stored = redis.call('GET', KEYS[1])
if not stored then return {'NF', now} end
local at, revoked = active(stored)
local _, current, key, in_place, since, access, repeats, from, holder = struct.unpack(USE, stored, at)
local terms, other_client_epoch = holder + #ARGV[1], false
if string.sub(stored, holder, terms - 1) ~= ARGV[1] then
  local family, delivery, client, epoch, behind = struct.unpack(HOLDER, stored, holder)
  local by_family, by_delivery, by_client = struct.unpack(HOLDER, ARGV[1])
  if family ~= by_family then return {'WF', now} end
  if client ~= by_client then return {'WC', now, client} end
  if delivery ~= by_delivery then return {'WD', now} end
  terms, other_client_epoch = behind, true
end
if revoked then return {'RV', now, revoked} end
if now < since then now = since end -- a grant's clock never runs backwards

local owner_epoch, _, abs, idle, grace, scope, audience = struct.unpack(TERMS, stored, terms)
local owner = redis.call('HMGET', KEYS[2], 'st', 'ue', 'sub')
local changed = nil
if owner[1] ~= 'A' or tonumber(owner[2]) ~= owner_epoch then
  changed = 'owner'
elseif other_client_epoch then
  changed = 'client_epoch'
end
if changed then
  revoke(KEYS[1], stored, changed, now, offset, tombstone, by)
  return {'RV', now, changed}
end
if now >= abs or now >= since + idle then return {'XP', now} end

local code, generation, start, used = nil, current, since, 0
if given == current then
  code, start = 'OK', now
  if rotates == 0 then used = 1 else generation, key = current + 1, new_key end
elseif given + 1 == current and in_place == 0 and now - since < grace then
  code, repeats = 'RT', repeats + 1
elseif given > current and given - current <= 2 then
  code, generation, key, start = 'FW', given + 1, new_key, now
else
  local reason = 'replay'
  if given > current then reason = 'future' end
  revoke(KEYS[1], stored, reason, now, offset, tombstone, by)
  return {'RP', now, reason, current}
end

if requested_scope ~= '' or requested_audience ~= '' then
  local function within(requested, granted)
    for token in string.gmatch(requested, '%S+') do
      if not string.find(' ' .. granted .. ' ', ' ' .. token .. ' ', 1, true) then return false end
    end
    return true
  end
  if not within(requested_scope, scope) then return {'SC', now} end
  if not within(requested_audience, audience) then return {'AU', now} end
end

if code ~= 'RT' then
  local latest = start + lifetime
  if latest > abs then latest = abs end
  if latest > access then access = latest end
  from = by
end
local expires = start + idle
if expires > abs then expires = abs end
redis.call('SET', KEYS[1], struct.pack(USE, 'A', generation, key, used, start, access, repeats, #from, from)
  .. string.sub(stored, holder), 'PXAT', expires - offset)
return live(code, now, generation, key, start, expires, abs, owner[3], scope, audience)
