// oauth4webapi against `regrant dev`: every call through what discovery found.
import * as oauth from 'oauth4webapi'
import { approveDevice, authorize } from './browser.js'
import { check, reporter } from './report.js'

const issuer = new URL(process.argv[2])
const report = reporter('oauth4webapi')
const redirectUri = 'http://127.0.0.1:9/callback'
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'
// Plain http on loopback.
const http = { [oauth.allowInsecureRequests]: true }

const demo = { client_id: 'demo' }
const secret = oauth.ClientSecretPost('demo-secret')
const open = { client_id: 'demo-public' }
const none = oauth.None()

let as
await report('discovery', true, async () => {
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
  as = await oauth.processDiscoveryResponse(issuer, response)
})
const grants = as.grant_types_supported ?? []

let tokens
await report('password', grants.includes('password'), async () => {
  const owner = { username: 'demo', password: 'demo-password', scope: 'read write' }
  const response = await oauth.genericTokenEndpointRequest(as, demo, secret, 'password', owner, http)
  tokens = await oauth.processGenericTokenEndpointResponse(as, demo, response)
  check(tokens.refresh_token && tokens.expires_in > 0, 'there is a refresh token and a lifetime')
})

async function refresh(client, authentication, token) {
  const response = await oauth.refreshTokenGrantRequest(as, client, authentication, token, http)
  return oauth.processRefreshTokenResponse(as, client, response)
}
await report('refresh_token', grants.includes('refresh_token'), async () => {
  const refreshed = await refresh(demo, secret, tokens.refresh_token)
  check(refreshed.refresh_token !== tokens.refresh_token, 'the refresh token was rotated')
  tokens = refreshed
})
await report('access token (RFC 9068)', Boolean(as.jwks_uri), async () => {
  const request = new Request('http://127.0.0.1/', { headers: { Authorization: `Bearer ${tokens.access_token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, as.issuer, http)
  check(claims.client_id === 'demo', 'it was issued to the client')
})
await report('client_credentials', grants.includes('client_credentials'), async () => {
  const response = await oauth.clientCredentialsGrantRequest(as, demo, secret, { scope: 'read' }, http)
  const own = await oauth.processClientCredentialsResponse(as, demo, response)
  check(!own.refresh_token, 'there is no refresh token')
})

async function signIn(client, authentication) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: 'read',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  // Checks `iss` too, when the metadata promises it (RFC 9207).
  const parameters = oauth.validateAuthResponse(as, client, await authorize(url), state)
  check(as.authorization_response_iss_parameter_supported, 'the metadata promises iss in the response')
  const response = await oauth.authorizationCodeGrantRequest(
    as, client, authentication, parameters, redirectUri, verifier, http)
  const signedIn = await oauth.processAuthorizationCodeResponse(as, client, response)
  check((await refresh(client, authentication, signedIn.refresh_token)).refresh_token, 'it can be refreshed')
}
const hasCode = Boolean(as.authorization_endpoint) && grants.includes('authorization_code')
await report('code + PKCE', hasCode, () => signIn(demo, secret))
await report('code + PKCE, public', hasCode, () => signIn(open, none))

const hasDevice = Boolean(as.device_authorization_endpoint) && grants.includes(DEVICE)
await report('device', hasDevice, async () => {
  const answer = await oauth.deviceAuthorizationRequest(as, open, none, { scope: 'read' }, http)
  const started = await oauth.processDeviceAuthorizationResponse(as, open, answer)
  const poll = async () => {
    const response = await oauth.deviceCodeGrantRequest(as, open, none, started.device_code, http)
    return oauth.processDeviceCodeResponse(as, open, response).catch((error) => error)
  }
  check((await poll()).error === 'authorization_pending', 'the first poll is told to wait')
  check((await poll()).error === 'slow_down', 'a poll at once is told to slow down')
  await approveDevice(started.verification_uri_complete ?? started.verification_uri, started.user_code)
  // RFC 8628 §3.5: slow_down adds five seconds, and the client decides how to wait.
  await new Promise((resolve) => setTimeout(resolve, ((started.interval ?? 5) + 5) * 1000))
  check((await poll()).access_token, 'the device has a token')
})

async function introspect(token) {
  const response = await oauth.introspectionRequest(as, demo, secret, token, http)
  return oauth.processIntrospectionResponse(as, demo, response)
}
await report('introspect', Boolean(as.introspection_endpoint), async () => {
  const seen = await introspect(tokens.access_token)
  check(seen.active && seen.client_id === 'demo', 'the access token is active')
  check((await introspect('not-a-token')).active === false, 'nonsense is not active')
})
await report('revoke', Boolean(as.revocation_endpoint), async () => {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, demo, secret, tokens.refresh_token, http))
  const gone = await refresh(demo, secret, tokens.refresh_token).catch((error) => error.error)
  check(gone === 'invalid_grant', 'the refresh token is dead')
  check((await introspect(tokens.access_token)).active === false, 'the access token is not active any more')
})
