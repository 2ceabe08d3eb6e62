// openid-client against `regrant dev`: every call through what discovery found.
import * as client from 'openid-client'
import { approveDevice, authorize } from './browser.js'
import { check, reporter } from './report.js'

const server = new URL(process.argv[2])
const report = reporter('openid-client')
const redirect_uri = 'http://127.0.0.1:9/callback'
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

const discover = (id, authentication) =>
  client.discovery(server, id, undefined, authentication, {
    algorithm: 'oauth2',
    // Plain http on loopback.
    execute: [client.allowInsecureRequests],
  })

let demo, open
await report('discovery', true, async () => {
  demo = await discover('demo', client.ClientSecretBasic('demo-secret'))
  open = await discover('demo-public', client.None())
  check(demo.serverMetadata().issuer === server.href.replace(/\/$/, ''), 'the issuer is where it was looked for')
})
const metadata = demo.serverMetadata()
const grants = metadata.grant_types_supported ?? []

let tokens
await report('password', grants.includes('password'), async () => {
  const owner = { username: 'demo', password: 'demo-password', scope: 'read write' }
  tokens = await client.genericGrantRequest(demo, 'password', owner)
  check(tokens.refresh_token && tokens.expiresIn() > 0, 'there is a refresh token and a lifetime')
})
await report('refresh_token', grants.includes('refresh_token'), async () => {
  const refreshed = await client.refreshTokenGrant(demo, tokens.refresh_token, { scope: 'read' })
  check(refreshed.refresh_token !== tokens.refresh_token, 'the refresh token was rotated')
  check(refreshed.scope === 'read', 'the scope was narrowed')
  tokens = refreshed
})
await report('client_credentials', grants.includes('client_credentials'), async () => {
  const own = await client.clientCredentialsGrant(demo, { scope: 'read' })
  check(!own.refresh_token, 'there is no refresh token')
})

async function signIn(config) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri,
    scope: 'read',
    state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  const back = await authorize(url)
  check(back.searchParams.get('iss') === metadata.issuer, 'the response names its issuer (RFC 9207)')
  const signedIn = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState })
  check((await client.refreshTokenGrant(config, signedIn.refresh_token)).refresh_token, 'it can be refreshed')
}
const hasCode = Boolean(metadata.authorization_endpoint) && grants.includes('authorization_code')
await report('code + PKCE', hasCode, () => signIn(demo))
await report('code + PKCE, public', hasCode, () => signIn(open))

const hasDevice = Boolean(metadata.device_authorization_endpoint) && grants.includes(DEVICE)
await report('device', hasDevice, async () => {
  const started = await client.initiateDeviceAuthorization(open, { scope: 'read' })
  const stop = new AbortController()
  const polling = client.pollDeviceAuthorizationGrant(open, started, undefined, { signal: stop.signal })
  // Otherwise it polls on until the code expires.
  const approved = approveDevice(started.verification_uri, started.user_code).catch((error) => stop.abort(error))
  const polled = await polling.catch((error) => Promise.reject(stop.signal.reason ?? error))
  await approved
  check(polled.access_token, 'the device has a token')
})

await report('introspect', Boolean(metadata.introspection_endpoint), async () => {
  const seen = await client.tokenIntrospection(demo, tokens.access_token)
  check(seen.active && seen.client_id === 'demo' && seen.scope === 'read', 'the access token is active')
  const refresh = await client.tokenIntrospection(demo, tokens.refresh_token, { token_type_hint: 'refresh_token' })
  check(refresh.active, 'the refresh token is active')
})
await report('revoke', Boolean(metadata.revocation_endpoint), async () => {
  await client.tokenRevocation(demo, tokens.refresh_token, { token_type_hint: 'refresh_token' })
  const gone = await client.refreshTokenGrant(demo, tokens.refresh_token).catch((error) => error.error)
  check(gone === 'invalid_grant', 'the refresh token is dead')
  const seen = await client.tokenIntrospection(demo, tokens.access_token)
  check(seen.active === false, 'the access token is not active any more')
})
