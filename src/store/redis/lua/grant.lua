-- What the scripts that touch grants begin with: a grant's record and how it is read and written. It is one string, so that a
-- rotation reads and writes it with one command each. Numbers are big-endian, times are in ms, a text has its length
-- before it. src/store/redis/grant_record.rs reads it as well.
--
-- 'A', and what each use changes: generation, MAC key id, whether it was used in place, current since, latest expiry of an
-- access token, repeats, where it was used from (address and agent, with a length each)
local USE = '>c1I4BBI6I6I4I2c0'
-- what never changes: whom it was granted to (family hash, delivery, client_id, client epoch),
local HOLDER = '>c32BI1c0I7'
-- owner epoch, creation, absolute expiry, idle, grace, scope, audience,
local TERMS = '>I7I6I6I6I6I2c0I2c0'
-- and the code that it came of: hash of the code, id of the request that redeemed it
local CODE = '>I1c0I1c0'
-- All of that stands behind the revocation of a revoked grant: 'R', reason, time, where the request came from
local REVOCATION = '>c1I1c0I6I2c0'

-- Where the record stands in what is stored, and why it is revoked.
local function active(stored)
  if string.byte(stored) == 65 then return 1 end
  local _, reason, _, _, at = struct.unpack(REVOCATION, stored)
  return at, reason
end

-- Stores that an active grant is revoked, for as long as somebody may ask why.
local function revoke(key, record, reason, now, offset, tombstone, from)
  local _, _, _, _, _, access = struct.unpack(USE, record)
  local forget = now + tombstone
  if access > forget then forget = access end
  redis.call('SET', key, struct.pack(REVOCATION, 'R', #reason, reason, now, #from, from) .. record, 'PXAT', forget - offset)
end

-- What an answer with tokens is made of, as one string.
local function live(code, now, generation, key, since, expires, abs, subject, scope, audience)
  return struct.pack('>c2I6I4BI6I6I6I1c0I2c0I2c0', code, now, generation, key, since, expires, abs, #subject, subject,
    #scope, scope, #audience, audience)
end
