// node-oidc-provider for the same refresh: a confidential client, rotation on every use, ES256 access tokens, Redis.
// Usage: node server.js PORT REDIS_URL CLIENT_SECRET TOKENS_FILE PROCESSES
// Writes 64 refresh tokens into the file, then listens. A grant is seeded rather than logged in: it has no password grant.
import cluster from 'node:cluster';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import Redis from 'ioredis';
import Provider from 'oidc-provider';

const [port, redisUrl, secret, tokensFile, processes] = process.argv.slice(2);
const redis = new Redis(redisUrl, { keyPrefix: 'oidc:', enableAutoPipelining: true });
const grantable = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode']);

class RedisAdapter {
  constructor(name) {
    this.name = name;
  }

  key(id) {
    return `${this.name}:${id}`;
  }

  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    const write = redis.multi().hset(key, 'payload', JSON.stringify(payload));
    if (expiresIn) write.expire(key, expiresIn);
    if (grantable.has(this.name) && payload.grantId) {
      write.sadd(`grant:${payload.grantId}`, key).expire(`grant:${payload.grantId}`, 90 * 86400);
    }
    await write.exec();
  }

  async find(id) {
    const { payload, consumed } = await redis.hgetall(this.key(id));
    return payload && { ...JSON.parse(payload), ...(consumed && { consumed: Number(consumed) }) };
  }

  async consume(id) {
    await redis.hset(this.key(id), 'consumed', Math.floor(Date.now() / 1000));
  }

  async destroy(id) {
    await redis.del(this.key(id));
  }

  async revokeByGrantId(grantId) {
    const keys = await redis.smembers(`grant:${grantId}`);
    await redis.del(`grant:${grantId}`, ...keys);
  }
}

if (cluster.isPrimary) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  process.env.SIGNING_KEY = JSON.stringify(privateKey.export({ format: 'jwk' }));
}

const resource = 'https://api.example';
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: RedisAdapter,
  clients: [{
    client_id: 'load',
    client_secret: secret,
    grant_types: ['refresh_token', 'authorization_code'],
    redirect_uris: ['https://app.example/callback'],
    token_endpoint_auth_method: 'client_secret_basic',
    id_token_signed_response_alg: 'ES256',
  }],
  jwks: { keys: [{ ...JSON.parse(process.env.SIGNING_KEY), alg: 'ES256', use: 'sig' }] },
  cookies: { keys: ['not used here'] },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'read write',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, Grant: 90 * 86400, RefreshToken: 14 * 86400 },
});

async function seed() {
  const client = await provider.Client.find('load');
  const tokens = [];
  for (let number = 0; number < 64; number += 1) {
    const accountId = `load-${number}`;
    const grant = new provider.Grant({ accountId, clientId: 'load' });
    grant.addResourceScope(resource, 'read write');
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
      accountId, client, grantId, gty: 'authorization_code', resource, scope: 'read write',
    });
    tokens.push(await token.save());
  }
  writeFileSync(tokensFile, `${tokens.join('\n')}\n`);
}

if (cluster.isPrimary) {
  await seed();
  for (let number = 0; number < Number(processes); number += 1) cluster.fork();
} else {
  provider.listen(Number(port), '127.0.0.1');
}
