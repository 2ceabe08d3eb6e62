-- What the scripts that touch grants begin with: a grant's record and how it is read and written. It is one string, so that a
-- rotation reads and writes it with one command each. Numbers are big-endian, times are in ms, a text has its length
-- before it. src/store/redis/grant_record.rs reads it as well.
--
-- 'A', and what each use changes: generation, MAC key id, whether it was used in place, current since, latest expiry of an
-- access token, repeats, address and agent of the last use
local USE = '>c1I4BBI6I6I4I1c0I1c0'
-- what never changes: family hash, delivery, client_id, client epoch, owner epoch, creation, absolute expiry, idle, grace,
-- scope, audience
local TERMS = '>c32BI1c0I7I7I6I6I6I6I2c0I2c0'
-- the code that it came of: hash of the code, id of the request that redeemed it
local CODE = '>I1c0I1c0'
-- All of that stands behind the revocation of a revoked grant: 'R', reason, time, address and agent of the request
local REVOCATION = '>c1I1c0I6I1c0I1c0'

-- Where the record stands in what is stored, and why it is revoked.
local function active(stored)
  if string.byte(stored) == 65 then return 1 end
  local _, reason, _, _, _, at = struct.unpack(REVOCATION, stored)
  return at, reason
end

-- Stores that an active grant is revoked, for as long as somebody may ask why.
local function revoke(key, record, reason, now, offset, tombstone, address, agent)
  local _, _, _, _, _, access = struct.unpack(USE, record)
  local forget = now + tombstone
  if access > forget then forget = access end
  redis.call('SET', key, struct.pack(REVOCATION, 'R', #reason, reason, now, #address, address, #agent, agent) .. record,
    'PXAT', forget - offset)
end

-- What an answer with tokens is made of, as one string.
local function live(code, now, generation, key, since, expires, abs, subject, scope, audience)
  return struct.pack('>c2I6I4BI6I6I6I1c0I2c0I2c0', code, now, generation, key, since, expires, abs, #subject, subject,
    #scope, scope, #audience, audience)
end

local function earlier(a, b) if a < b then return a end return b end

-- Stores a new grant and indexes it. Returns its expiry, its absolute expiry, how many grants of its owner are beyond the
-- cap, and the oldest of them.
local function create(key, index, now, offset, new)
  local abs = now + new.absolute
  local expires = earlier(now + new.idle, abs)
  redis.call('SET', key, struct.pack(USE, 'A', 1, new.key, 0, now, earlier(now + new.access, abs), 0, #new.address,
    new.address, #new.agent, new.agent)
    .. struct.pack(TERMS, new.family, new.delivery, #new.client, new.client, new.client_epoch, new.owner_epoch, now, abs,
    new.idle, new.grace, #new.scope, new.scope, #new.audience, new.audience)
    .. struct.pack(CODE, #new.code, new.code, #new.request, new.request), 'PXAT', expires - offset)

  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  redis.call('ZADD', index, abs, new.id)
  -- The index lives as long as its last grant may.
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', index, tonumber(last[2]) - offset)
  local beyond = redis.call('ZCARD', index) - new.most
  if beyond <= 0 then return expires, abs, 0, {} end
  return expires, abs, beyond, redis.call('ZRANGE', index, 0, beyond + 8)
end
