-- What the scripts that make grants begin with. Follows grant.lua.
local function earlier(a, b) if a < b then return a end return b end

-- Stores a new grant and indexes it. Returns its expiry, its absolute expiry, how many grants of its owner are beyond the
-- cap, and the oldest of them.
local function create(key, index, now, offset, new)
  local abs = now + new.absolute
  local expires = earlier(now + new.idle, abs)
  redis.call('SET', key, struct.pack(USE, 'A', 1, new.key, 0, now, earlier(now + new.access, abs), 0, #new.from,
    new.from)
    .. struct.pack(HOLDER, new.family, new.delivery, #new.client, new.client, new.client_epoch)
    .. struct.pack(TERMS, new.owner_epoch, now, abs, new.idle, new.grace, #new.scope, new.scope, #new.audience, new.audience)
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
