//! Issues tokens for a valid grant: the store's one atomic write, then the texts
//! ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).
//!
//! Not here: whether the grant is valid, see `grant/`.

pub mod access_token;
pub mod authorization_code;
pub mod device_code;
pub mod envelope;
pub mod explanation;
pub mod introspection;
mod key_material;
pub mod keys;
pub mod refresh_token;
pub mod revocation;
mod store_write;
mod token_id;
pub mod verification;

use self::{
    access_token::Claims,
    authorization_code::{AuthorizationCode, AuthorizationCodeKeys},
    device_code::{DeviceCode, DeviceCodes},
    keys::SigningKeys,
    refresh_token::{FamilySecret, RefreshToken, RefreshTokenKeys},
    store_write::{create, keep_what_is_left, rotate},
    token_id::TokenIds,
};
use crate::{
    client::{Client, GrantType, RefreshPolicy, authentication::AuthenticatedClient},
    clock::{Timestamp, random_bytes},
    config::{Config, Lifetimes},
    error::{DeviceRefusal, InvalidGrant, TokenError},
    failpoint,
    grant::{
        ValidGrant,
        access::{GrantedAccess, RequestedAccess},
    },
    ids::{ClientId, GrantId, Subject},
    pkce::CodeChallenge,
    resource,
    resource_owner::SignIn,
    scope::Scope,
    secret::{SecretText, ServerSecret},
    store::{ApprovedDevice, Delivery, LiveGrant, Origin, PresentedCode, Store},
};

/// What a token response says.
#[derive(Debug)]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: SecretText,
    /// Seconds until it expires.
    pub expires_in: i64,
    /// Its scope.
    pub scope: Scope,
    /// The refresh token, and the seconds until it expires unused.
    pub refresh_token: Option<(SecretText, i64)>,
    /// The grant, for the log; a client that acts for itself has none.
    pub grant: Option<GrantId>,
    /// What happened, for the log and the metrics.
    pub outcome: &'static str,
}

/// Makes tokens: the keys, and the lifetimes that the configuration gives them.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    default_audience: Vec<String>,
    signing: SigningKeys,
    refresh: RefreshTokenKeys,
    token_ids: TokenIds,
    codes: AuthorizationCodeKeys,
    code_lifetime_ms: i64,
    devices: DeviceCodes,
    device_code_lifetime_ms: i64,
    access_token_lifetime_ms: i64,
    lifetimes: Lifetimes,
}

/// What a grant is issued in.
#[derive(Clone, Copy)]
struct Context<'a> {
    delivery: Delivery,
    from: &'a Origin,
    store: &'a dyn Store,
}

impl Issuer {
    /// Puts the keys and the lifetimes together. `url` is the issuer's, as tokens carry it.
    pub fn new(config: &Config, url: String, secret: &ServerSecret, signing: SigningKeys) -> Self {
        let lifetimes = &config.lifetimes;
        let audience = if config.audience.is_empty() { url.clone() } else { config.audience.clone() };
        Self {
            url,
            default_audience: vec![audience],
            signing,
            refresh: RefreshTokenKeys::new(secret),
            token_ids: TokenIds::new(secret),
            codes: AuthorizationCodeKeys::new(secret),
            code_lifetime_ms: milliseconds(lifetimes.code_seconds),
            devices: DeviceCodes::new(secret),
            device_code_lifetime_ms: milliseconds(lifetimes.device_code_seconds),
            access_token_lifetime_ms: milliseconds(lifetimes.access_token_seconds),
            lifetimes: lifetimes.clone(),
        }
    }

    /// The issuer's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The `aud` of access tokens of clients that have no resources of their own.
    pub fn default_audience(&self) -> &[String] {
        &self.default_audience
    }

    /// The lifetimes that the server is set to.
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The signing keys.
    pub const fn signing(&self) -> &SigningKeys {
        &self.signing
    }

    /// How long an authorization code may be redeemed, milliseconds.
    pub const fn code_lifetime_ms(&self) -> i64 {
        self.code_lifetime_ms
    }

    /// The keys of authorization codes.
    pub const fn codes(&self) -> &AuthorizationCodeKeys {
        &self.codes
    }

    /// The codes of device authorizations.
    pub const fn device_codes(&self) -> &DeviceCodes {
        &self.devices
    }

    /// How long they live, milliseconds.
    pub const fn device_code_lifetime_ms(&self) -> i64 {
        self.device_code_lifetime_ms
    }

    /// Reads a refresh token that this deployment issued.
    pub fn decode_refresh_token(&self, text: &SecretText) -> Option<RefreshToken> {
        self.refresh.decode(text.expose())
    }

    /// Writes to the store what the grant leads to, and makes the tokens. `delivery` is how the refresh token came, and
    /// how it will go; `from` where the request came from.
    ///
    /// # Errors
    /// `invalid_grant` and `invalid_scope` as the store decides, `temporarily_unavailable` when it can't.
    pub async fn issue(
        &self,
        grant: ValidGrant,
        delivery: Delivery,
        from: &Origin,
        store: &dyn Store,
    ) -> Result<IssuedTokens, TokenError> {
        let context = Context { delivery, from, store };
        // In boxes, or each refresh would carry the room for the others.
        match grant {
            ValidGrant::RefreshToken { client, token, access } => self.refresh(&client, token, access, context).await,
            ValidGrant::ClientCredentials { client, access } => self.answer_client(&client, access, store.now()),
            ValidGrant::Password { client, sign_in, access } => {
                Box::pin(self.sign_in(&client, &sign_in, access, context)).await
            }
            ValidGrant::DeviceCode { client, code, device, subject, resources } => {
                Box::pin(self.allow_device(&client, &code, device, subject, &resources, context)).await
            }
            ValidGrant::AuthorizationCode { client, code, redirect_uri_hash, challenge } => {
                Box::pin(self.redeem(&client, &code, redirect_uri_hash, challenge, context)).await
            }
        }
    }

    async fn refresh(
        &self,
        client: &AuthenticatedClient,
        token: RefreshToken,
        access: RequestedAccess,
        context: Context<'_>,
    ) -> Result<IssuedTokens, TokenError> {
        let mut presented = self.presented(&token, client, context);
        presented.requested_scope = access.scope;
        presented.requested_audience = access.resources;
        let (mut live, outcome) = rotate(&mut presented, context.store).await?;
        keep_what_is_left(&mut live, client)?;
        let next = RefreshToken { generation: live.generation, ..token };
        self.answer(&client.id, &next, &live, true, outcome)
    }

    async fn sign_in(
        &self,
        client: &AuthenticatedClient,
        sign_in: &SignIn,
        access: GrantedAccess,
        context: Context<'_>,
    ) -> Result<IssuedTokens, TokenError> {
        let owner = &sign_in.owner;
        let (id, family_secret) = (GrantId::random(), FamilySecret::random());
        let token = RefreshToken { owner: owner.id(), grant: id, generation: 1, family_secret };
        let mut new = self.new_grant(&token, owner.epoch(), client, access, context);
        new.settles = Some(sign_in.ticket.clone());
        let live = create(&mut new, owner.subject().clone(), InvalidGrant::Password, context.store).await?;
        self.answer(&client.id, &token, &live, client.may_use(GrantType::RefreshToken), "granted")
    }

    async fn allow_device(
        &self,
        client: &AuthenticatedClient,
        code: &DeviceCode,
        device: ApprovedDevice,
        subject: Subject,
        resources: &[String],
        context: Context<'_>,
    ) -> Result<IssuedTokens, TokenError> {
        let (id, family_secret) = self.devices.grant_of(code);
        let token = RefreshToken { owner: device.owner, grant: id, generation: 1, family_secret };
        let access = GrantedAccess { scope: device.scope, audience: device.audience };
        let mut new = self.new_grant(&token, device.owner_epoch, client, access, context);
        let changed = InvalidGrant::DeviceCode(DeviceRefusal::OwnerChanged);
        let mut live = create(&mut new, subject, changed, context.store).await?;
        // A repeated answer has the times of the first one, and less time left.
        live.now = live.now.max(context.store.now());
        live.audience = resource::narrow(&live.audience, resources)?;
        keep_what_is_left(&mut live, client)?;
        let outcome = if device.repeated { "repeated" } else { "granted" };
        self.answer(&client.id, &token, &live, client.may_use(GrantType::RefreshToken), outcome)
    }

    async fn redeem(
        &self,
        client: &AuthenticatedClient,
        code: &AuthorizationCode,
        redirect_uri_hash: [u8; 32],
        challenge: CodeChallenge,
        Context { delivery, from, store }: Context<'_>,
    ) -> Result<IssuedTokens, TokenError> {
        let family_secret = FamilySecret::random();
        let (idle_ms, absolute_ms, grace_ms) = self.lives(client);
        let mut presented = PresentedCode {
            owner: code.owner,
            grant: code.grant,
            code_hash: code.secret.hash(),
            client_id: client.id.clone(),
            client_epoch: client.epoch,
            redirect_uri_hash,
            challenge,
            request_id: random_bytes(),
            family_hash: family_secret.hash(),
            key_id: self.refresh.current_id(),
            delivery,
            idle_ms,
            absolute_ms,
            grace_ms,
            access_token_lifetime_ms: self.access_token_lifetime_ms,
            from: from.clone(),
            deadline: store.deadline(),
        };
        let live = authorization_code::redeem(&mut presented, store).await?;
        let token = RefreshToken { owner: code.owner, grant: code.grant, generation: 1, family_secret };
        self.answer(&client.id, &token, &live, client.may_use(GrantType::RefreshToken), "redeemed")
    }

    /// The lives of a new grant and of its refresh tokens. Without a refresh token the grant lives as long as its one
    /// access token.
    fn lives(&self, client: &Client) -> (i64, i64, i64) {
        let policy = RefreshPolicy::of(client, &self.lifetimes);
        let grace = milliseconds(policy.grace_seconds);
        if client.may_use(GrantType::RefreshToken) {
            (milliseconds(policy.idle_seconds), milliseconds(policy.absolute_seconds), grace)
        } else {
            (self.access_token_lifetime_ms, self.access_token_lifetime_ms, grace)
        }
    }

    /// The token of a client that acts for itself. Asking again gives another one: there is no grant to tell them apart
    /// by, and none to lose.
    fn answer_client(
        &self,
        client: &AuthenticatedClient,
        access: GrantedAccess,
        now: Timestamp,
    ) -> Result<IssuedTokens, TokenError> {
        let claims = Claims {
            iss: &self.url,
            sub: &Subject::of_client(&client.id),
            aud: if access.audience.is_empty() { &self.default_audience } else { &access.audience },
            exp: now.plus(self.access_token_lifetime_ms).seconds(),
            iat: now.seconds(),
            jti: self.token_ids.of_client(client.epoch),
            client_id: &client.id,
            scope: &access.scope,
            gid: None,
        };
        Ok(IssuedTokens {
            access_token: SecretText::new(self.signing.sign(&claims, now).map_err(TokenError::ServerError)?),
            expires_in: self.access_token_lifetime_ms / 1000,
            scope: access.scope,
            refresh_token: None,
            grant: None,
            outcome: "granted",
        })
    }

    fn answer(
        &self,
        client_id: &ClientId,
        token: &RefreshToken,
        live: &LiveGrant,
        refreshable: bool,
        outcome: &'static str,
    ) -> Result<IssuedTokens, TokenError> {
        let issued_at = live.current_since;
        let expires_at = access_token::expiry(issued_at, self.access_token_lifetime_ms, live.absolute_expiry);
        let claims = Claims {
            iss: &self.url,
            sub: &live.subject,
            aud: if live.audience.is_empty() { &self.default_audience } else { &live.audience },
            exp: expires_at.seconds(),
            iat: issued_at.seconds(),
            jti: self.token_ids.of_grant(token.owner, token.grant, live),
            client_id,
            scope: &live.scope,
            gid: Some(token.grant.to_string()),
        };
        let access_token = self.signing.sign(&claims, live.now).map_err(TokenError::ServerError)?;
        failpoint::pass("after signing");
        let refresh_token =
            refreshable.then(|| (self.refresh.encode(token, live.key_id), live.expires_at.seconds_left(live.now)));
        Ok(IssuedTokens {
            access_token: SecretText::new(access_token),
            expires_in: expires_at.seconds_left(live.now),
            scope: live.scope.clone(),
            refresh_token,
            grant: Some(token.grant),
            outcome,
        })
    }
}

fn milliseconds(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}
