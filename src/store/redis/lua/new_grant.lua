-- What the scripts that make grants begin with. Follows grant.lua.
local function earlier(a, b) if a < b then return a end return b end

-- Stores a new grant and indexes it; the owner's oldest that have no room beside it are revoked. Returns its expiry and its
-- absolute expiry.
local function create(key, index, now, offset, new)
  local abs = now + new.absolute
  local expires = earlier(now + new.idle, abs)
  redis.call('SET', key, struct.pack(USE, 'A', 1, new.key, 0, now, earlier(now + new.access, abs), 0, #new.from,
    new.from)
    .. struct.pack(HOLDER, new.family, new.delivery, #new.client, new.client, new.client_epoch)
    .. struct.pack(TERMS, new.owner_epoch, now, abs, new.idle, new.grace, #new.scope, new.scope, #new.audience, new.audience)
    .. struct.pack(CODE, #new.code, new.code, #new.request, new.request), 'PXAT', expires - offset)

  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  local beyond = redis.call('ZCARD', index) + 1 - new.most
  if beyond > 0 then
    for _, id in ipairs(redis.call('ZRANGE', index, 0, beyond - 1)) do
      redis.call('ZREM', index, id)
      local oldest = redis.call('GET', new.prefix .. id)
      local _, revoked = active(oldest or 'A')
      if oldest and not revoked then
        revoke(new.prefix .. id, oldest, 'overflow', now, offset, new.tombstone, new.from)
      end
    end
  end
  redis.call('ZADD', index, abs, new.id)
  -- The index lives as long as its last grant may.
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', index, tonumber(last[2]) - offset)
  return expires, abs
end
