//! The rules of an authorization request ([RFC 6749 §4.1.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1)), on
//! oxide-auth's protocol core.
//!
//! oxide-auth's state machine, which does no I/O, says what is to be done in which order: bind the client and its
//! redirection URI, extend, negotiate the scope. We answer each step by our own rules. What it would put on the wire stays
//! here: its error texts and parameter names, its code for a missing `response_type`, its serialisation of the redirection
//! URI and the order of its scopes, its loopback rule and its PKCE. The tests below show each.
//!
//! Not here: the pages, see `http/authorize.rs`; what a code becomes, see `store/redeem.rs`.

mod error;
mod parameters;
mod redirect;

pub use self::{
    error::{AuthorizationError, Problem},
    parameters::Parameters,
    redirect::Redirect,
};

use std::{borrow::Cow, sync::Arc};

use oxide_auth::{
    code_grant::authorization::{Authorization, Input, Output, Request},
    primitives::{
        grant::Extensions,
        registrar::{BoundClient, ExactUrl, PreGrant, RegisteredUrl},
        scope::Scope as WireScope,
    },
};

use crate::{
    client::{Client, ClientType, GrantType},
    error::{InvalidScope, PageError},
    grant::access::{GrantedAccess, RequestedAccess},
    ids::ClientId,
    pkce::CodeChallenge,
    resource,
    scope::Scope,
    secret::sha256,
    store::Store,
    token::Issuer,
};

/// An authorization request that may be granted, if the resource owner consents.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes.
    pub redirect: Redirect,
    /// SHA-256 of the `redirect_uri` parameter, or of nothing.
    pub redirect_uri_hash: [u8; 32],
    /// What is asked for.
    pub access: GrantedAccess,
    /// The code challenge.
    pub challenge: CodeChallenge,
    /// What may and must be asked of the person.
    pub prompt: Prompt,
    /// The oldest sign-in that will do, seconds.
    pub max_age: Option<i64>,
    /// Who is meant to sign in.
    pub login_hint: Option<String>,
}

impl AuthorizationRequest {
    /// Whether no other app can pass for this client: it proves itself when it redeems the code, or has an address of the
    /// web that only its owner can answer at. On a device any app may listen on a loopback port or claim a private scheme
    /// (RFC 8252 §8.6).
    pub fn client_is_certain(&self) -> bool {
        self.client.client_type == ClientType::Confidential || self.redirect.uri().starts_with("https://")
    }
}

/// The `prompt` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Show nothing.
    pub none: bool,
    /// Sign in, even if somebody is signed in.
    pub login: bool,
    /// Ask for consent, even if it was given.
    pub consent: bool,
}

/// Why a request is not granted: two types, so that nothing redirects to a place that was not verified.
#[derive(Debug)]
pub enum Refusal {
    /// Tell the person, and nobody else.
    Page(PageError),
    /// Tell the client.
    Redirect(Redirect, AuthorizationError),
}

/// Words of `prompt` for which somebody must sign in anew.
fn asks_for_sign_in(word: &str) -> bool {
    matches!(word, "login" | "select_account")
}

/// Checks a request.
///
/// # Errors
/// [`Refusal`].
pub async fn validate(
    parameters: &Parameters,
    issuer: &Issuer,
    store: &dyn Store,
) -> Result<AuthorizationRequest, Refusal> {
    let client = match parameters.get("client_id").map(ClientId::parse) {
        Some(Ok(id)) => store.client(&id).await.map_err(|error| Refusal::Page(error.into()))?,
        Some(Err(_)) | None => None,
    };
    decide(parameters, client, issuer)
}

/// The rules, once the client has been looked up. Their order is the machine's.
fn decide(
    parameters: &Parameters,
    client: Option<Arc<Client>>,
    issuer: &Issuer,
) -> Result<AuthorizationRequest, Refusal> {
    let mut machine = Authorization::new(parameters);
    let mut input = Input::None;
    let mut verified: Option<(Arc<Client>, Redirect)> = None;
    let mut details: Option<Details> = None;
    let mut access: Option<GrantedAccess> = None;
    loop {
        input = match machine.advance(input) {
            Output::Bind { client_id, .. } => {
                let (client, redirect) = bind(parameters, client.clone()).map_err(Refusal::Page)?;
                let uri =
                    ExactUrl::new(redirect.uri().to_owned()).map_err(|_| Refusal::Page(PageError::RedirectUri))?;
                let redirect_uri = Cow::Owned(RegisteredUrl::Exact(uri));
                verified = Some((client, redirect));
                Input::Bound {
                    request: parameters,
                    bound_client: BoundClient { client_id: Cow::Owned(client_id), redirect_uri },
                }
            }
            Output::Extend => {
                let (client, redirect) = verified.as_ref().ok_or(Refusal::Page(PageError::Malformed))?;
                let read = Details::read(parameters, client);
                details = Some(read.map_err(|error| Refusal::Redirect(redirect.clone(), error))?);
                Input::Extended(Extensions::new())
            }
            Output::Negotiate { bound_client, .. } => {
                let (client, redirect) = verified.as_ref().ok_or(Refusal::Page(PageError::Malformed))?;
                let granted = negotiate(parameters, client, issuer);
                let granted = granted.map_err(|error| Refusal::Redirect(redirect.clone(), error))?;
                let pre_grant = PreGrant {
                    client_id: bound_client.client_id.clone().into_owned(),
                    redirect_uri: bound_client.redirect_uri.clone().into_owned(),
                    // Ours has passed the same grammar.
                    scope: granted.scope.as_str().parse::<WireScope>().map_err(|_| {
                        Refusal::Redirect(redirect.clone(), AuthorizationError::InvalidScope(InvalidScope::Malformed))
                    })?,
                };
                access = Some(granted);
                Input::Negotiated { pre_grant, state: parameters.get("state").map(str::to_owned) }
            }
            Output::Ok { .. } => {
                let complete = verified.zip(details).zip(access);
                let (((client, redirect), details), access) = complete.ok_or(Refusal::Page(PageError::Malformed))?;
                return Ok(details.request(parameters, client, redirect, access));
            }
            // The machine's own error says too little; the state that we were in says it all.
            Output::Err(_) => return Err(refusal(parameters, client.as_ref(), verified)),
        };
    }
}

/// What the machine refused.
fn refusal(
    parameters: &Parameters,
    client: Option<&Arc<Client>>,
    verified: Option<(Arc<Client>, Redirect)>,
) -> Refusal {
    let Some((_, redirect)) = verified else {
        // Before the client was bound: no client_id, or a redirect_uri that is no URI.
        let unknown = client.is_none();
        return Refusal::Page(if unknown { PageError::UnknownClient } else { PageError::RedirectUri });
    };
    let error = match parameters.get("response_type") {
        _ if !parameters.repeated.is_empty() => Problem::Repeated.into(),
        None => Problem::NoResponseType.into(),
        Some("code") => AuthorizationError::InvalidScope(InvalidScope::Malformed),
        Some(_) => AuthorizationError::UnsupportedResponseType,
    };
    Refusal::Redirect(redirect, error)
}

/// The client and its redirection URI come first: before that nobody may be redirected.
fn bind(parameters: &Parameters, client: Option<Arc<Client>>) -> Result<(Arc<Client>, Redirect), PageError> {
    let repeated = |name: &str| parameters.repeated.iter().any(|known| known == name);
    if repeated("client_id") || repeated("redirect_uri") {
        return Err(PageError::Malformed);
    }
    let client = client.filter(|client| !client.disabled).ok_or(PageError::UnknownClient)?;
    // A state that came twice is nobody's.
    let state = parameters.get("state").filter(|_| !repeated("state"));
    let redirect = Redirect::verify(&client, parameters.get("redirect_uri"), state).ok_or(PageError::RedirectUri)?;
    Ok((client, redirect))
}

fn negotiate(parameters: &Parameters, client: &Client, issuer: &Issuer) -> Result<GrantedAccess, AuthorizationError> {
    let scope = parameters.get("scope").map(Scope::parse).transpose();
    let scope = scope.map_err(|_| AuthorizationError::InvalidScope(InvalidScope::Malformed))?;
    let named = parameters.resources.iter().map(|text| resource::parse(text));
    let mut resources = named.collect::<Result<Vec<_>, _>>().map_err(AuthorizationError::InvalidTarget)?;
    resources.extend(parameters.get("audience").map(str::to_owned));
    Ok(RequestedAccess { scope, resources }.grant(client, issuer)?)
}

/// What oxide-auth knows nothing of.
struct Details {
    challenge: CodeChallenge,
    prompt: Prompt,
    max_age: Option<i64>,
}

impl Details {
    fn read(parameters: &Parameters, client: &Client) -> Result<Self, AuthorizationError> {
        if !parameters.repeated.is_empty() {
            return Err(Problem::Repeated.into());
        }
        // RFC 9101: a request object would say more than the parameters, and one by reference would have to be fetched.
        if parameters.get("request").is_some() {
            return Err(AuthorizationError::RequestNotSupported);
        }
        if parameters.get("request_uri").is_some() {
            return Err(AuthorizationError::RequestUriNotSupported);
        }
        if !client.may_use(GrantType::AuthorizationCode) {
            return Err(AuthorizationError::UnauthorizedClient);
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(Problem::ResponseMode.into());
        }
        // RFC 9700 §2.1.1: for every client, and only S256. No method means plain (RFC 7636 §4.3).
        let challenge = parameters.get("code_challenge").ok_or(Problem::NoChallenge)?;
        if parameters.get("code_challenge_method") != Some("S256") {
            return Err(Problem::ChallengeMethod.into());
        }
        let challenge = CodeChallenge::parse(challenge).ok_or(Problem::Challenge)?;
        let max_age = parameters.get("max_age").map(|text| text.parse::<u32>().map(i64::from)).transpose();
        Ok(Self {
            challenge,
            prompt: read_prompt(parameters.get("prompt").unwrap_or_default())?,
            max_age: max_age.map_err(|_| Problem::MaxAge)?,
        })
    }

    fn request(
        self,
        parameters: &Parameters,
        client: Arc<Client>,
        redirect: Redirect,
        access: GrantedAccess,
    ) -> AuthorizationRequest {
        AuthorizationRequest {
            client,
            redirect,
            redirect_uri_hash: sha256(parameters.get("redirect_uri").unwrap_or_default().as_bytes()),
            access,
            challenge: self.challenge,
            prompt: self.prompt,
            max_age: self.max_age,
            login_hint: parameters.get("login_hint").map(str::to_owned),
        }
    }
}

fn read_prompt(text: &str) -> Result<Prompt, Problem> {
    let mut prompt = Prompt::default();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "consent" => prompt.consent = true,
            word if asks_for_sign_in(word) => prompt.login = true,
            _ => return Err(Problem::Prompt),
        }
    }
    if prompt.none && (prompt.login || prompt.consent) { Err(Problem::Prompt) } else { Ok(prompt) }
}

impl Request for Parameters {
    fn valid(&self) -> bool {
        true
    }

    fn client_id(&self) -> Option<Cow<'_, str>> {
        self.get("client_id").map(Cow::Borrowed)
    }

    fn scope(&self) -> Option<Cow<'_, str>> {
        self.get("scope").map(Cow::Borrowed)
    }

    fn redirect_uri(&self) -> Option<Cow<'_, str>> {
        self.get("redirect_uri").map(Cow::Borrowed)
    }

    fn state(&self) -> Option<Cow<'_, str>> {
        self.get("state").map(Cow::Borrowed)
    }

    fn response_type(&self) -> Option<Cow<'_, str>> {
        self.get("response_type").map(Cow::Borrowed)
    }

    fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}
