//! The `oauth2` crate against `regrant dev`: every call through what the metadata says.
//!
//! Prints one line a call, for `../run.py` to count. It is an example of the crate, so that it is built with the
//! dependencies that are there already.

use std::{collections::HashMap, error::Error, future::Future, process::Command, time::Duration};

use oauth2::{
    AccessToken, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl, EndpointSet,
    HttpRequest, HttpResponse, IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError,
    ResourceOwnerPassword, ResourceOwnerUsername, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    TokenIntrospectionResponse, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType},
    url::Url,
};
use serde::Deserialize;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Client = BasicClient<EndpointSet, EndpointSet, EndpointSet, EndpointSet, EndpointSet>;

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";
/// Stands for an endpoint that the server does not offer; nothing is sent there.
const NOT_OFFERED: &str = "http://127.0.0.1:9/not-offered";

/// What RFC 8414 publishes and this client uses.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    grant_types_supported: Vec<String>,
}

impl Metadata {
    async fn discover(issuer: &str) -> Outcome<Self> {
        let found: Self =
            reqwest::get(format!("{issuer}/.well-known/oauth-authorization-server")).await?.json().await?;
        check(found.issuer == issuer, "the issuer is where it was looked for")?;
        Ok(found)
    }

    fn grants(&self, grant_type: &str) -> bool {
        self.grant_types_supported.iter().any(|known| known == grant_type)
    }

    fn client(&self, id: &str) -> Outcome<Client> {
        let or_not = |endpoint: &Option<String>| endpoint.clone().unwrap_or_else(|| NOT_OFFERED.to_owned());
        // The crate revokes over https only (RFC 7009 section 2); `send` goes to the server all the same.
        let revocation_endpoint = or_not(&self.revocation_endpoint).replacen("http://", "https://", 1);
        Ok(BasicClient::new(ClientId::new(id.to_owned()))
            .set_auth_uri(AuthUrl::new(or_not(&self.authorization_endpoint))?)
            .set_device_authorization_url(DeviceAuthorizationUrl::new(or_not(&self.device_authorization_endpoint))?)
            .set_introspection_url(IntrospectionUrl::new(or_not(&self.introspection_endpoint))?)
            .set_revocation_url(RevocationUrl::new(revocation_endpoint)?)
            .set_token_uri(TokenUrl::new(self.token_endpoint.clone())?)
            .set_redirect_uri(RedirectUrl::new(REDIRECT_URI.to_owned())?))
    }
}

/// The transport that the crate is given.
async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let mut request = reqwest::Request::try_from(request)?;
    // A proxy would end TLS; `regrant dev` has none. Nothing changes for a URL that has another scheme.
    let _ = request.url_mut().set_scheme("http");
    let answer =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?.execute(request).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("it does not hold that {what}").into()) }
}

/// One line: status, library, version, call, detail, separated by tabs.
async fn report<T>(call: &str, offered: bool, run: impl Future<Output = Outcome<T>>) -> Option<T> {
    let (status, detail, result) = match offered {
        true => match run.await {
            Ok(result) => ("ok", String::new(), Some(result)),
            Err(error) => ("FAILED", chain(error.as_ref()), None),
        },
        false => ("missing", "not offered by this server".to_owned(), None),
    };
    println!("{status}\toauth2\t{}\t{call}\t{detail}", version());
    result
}

fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} ({error:?})");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" <- {error}"));
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The version that Cargo has locked: the crate does not tell its own.
fn version() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let package = lock.split("[[package]]").find(|package| package.contains("\nname = \"oauth2\"\n"));
    package.and_then(|package| package.split("version = \"").nth(1)?.split('"').next()).unwrap_or("?")
}

/// The person with the browser.
fn browser(arguments: &[&str]) -> Outcome<String> {
    let run = Command::new(std::env::var("PYTHON")?).arg(std::env::var("USER_AGENT")?).args(arguments).output()?;
    if !run.status.success() {
        return Err(format!("the user agent: {}", String::from_utf8_lossy(&run.stderr).trim_end()).into());
    }
    Ok(String::from_utf8(run.stdout)?.trim().to_owned())
}

fn scope(token: &str) -> Scope {
    Scope::new(token.to_owned())
}

/// The tokens that later calls work with.
struct Tokens {
    access: AccessToken,
    refresh: RefreshToken,
}

fn tokens(response: &impl TokenResponse) -> Outcome<Tokens> {
    let refresh = response.refresh_token().ok_or("there is no refresh token")?;
    Ok(Tokens { access: response.access_token().clone(), refresh: refresh.clone() })
}

async fn password(client: &Client) -> Outcome<Tokens> {
    let username = ResourceOwnerUsername::new("demo".to_owned());
    let password = ResourceOwnerPassword::new("demo-password".to_owned());
    let request = client.exchange_password(&username, &password).add_scope(scope("read")).add_scope(scope("write"));
    tokens(&request.request_async(&send).await?)
}

async fn refresh(client: &Client, token: Option<&RefreshToken>) -> Outcome<Tokens> {
    let token = token.ok_or("there is no token to refresh")?;
    let refreshed = tokens(&client.exchange_refresh_token(token).request_async(&send).await?)?;
    check(refreshed.refresh.secret() != token.secret(), "the refresh token was rotated")?;
    Ok(refreshed)
}

async fn client_credentials(client: &Client) -> Outcome {
    let response = client.exchange_client_credentials().add_scope(scope("read")).request_async(&send).await?;
    check(response.refresh_token().is_none(), "there is no refresh token")
}

async fn code(client: &Client, issuer: &str) -> Outcome {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) =
        client.authorize_url(CsrfToken::new_random).add_scope(scope("read")).set_pkce_challenge(challenge).url();
    let back = Url::parse(&browser(&["authorize", url.as_str()])?)?;
    let mut query: HashMap<_, _> = back.query_pairs().into_owned().collect();
    check(query.get("state") == Some(state.secret()), "the response brings the state back")?;
    check(query.get("iss").is_some_and(|iss| iss == issuer), "the response names its issuer (RFC 9207)")?;
    let code = AuthorizationCode::new(query.remove("code").ok_or("there is no code")?);
    let signed_in = tokens(&client.exchange_code(code).set_pkce_verifier(verifier).request_async(&send).await?)?;
    refresh(client, Some(&signed_in.refresh)).await?;
    Ok(())
}

async fn device(client: &Client) -> Outcome {
    let started: StandardDeviceAuthorizationResponse =
        client.exchange_device_code().add_scope(scope("read")).request_async(&send).await?;
    browser(&["device", started.verification_uri(), started.user_code().secret()])?;
    let polling = client.exchange_device_access_token(&started);
    polling.request_async(&send, tokio::time::sleep, Some(Duration::from_secs(60))).await?;
    Ok(())
}

async fn introspect(client: &Client, tokens: Option<&Tokens>) -> Outcome {
    let token = &tokens.ok_or("there is no token to introspect")?.access;
    let seen = client.introspect(token).request_async(&send).await?;
    check(seen.active(), "the access token is active")?;
    check(seen.client_id().is_some_and(|id| id.as_str() == "demo"), "it was issued to the client")
}

async fn revoke(client: &Client, tokens: Option<Tokens>) -> Outcome {
    let tokens = tokens.ok_or("there is no token to revoke")?;
    client.revoke_token(tokens.refresh.clone().into())?.request_async(&send).await?;
    match client.exchange_refresh_token(&tokens.refresh).request_async(&send).await {
        Err(RequestTokenError::ServerResponse(error)) => {
            check(*error.error() == BasicErrorResponseType::InvalidGrant, "the refresh token is dead")?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => check(false, "the refresh token is dead")?,
    }
    let seen = client.introspect(&tokens.access).request_async(&send).await?;
    check(!seen.active(), "the access token is not active any more")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let issuer = std::env::args().nth(1).ok_or("usage: oauth2_client BASE_URL")?;
    let Some(metadata) = report("discovery", true, Metadata::discover(&issuer)).await else { return Ok(()) };
    let demo = metadata.client("demo")?.set_client_secret(ClientSecret::new("demo-secret".to_owned()));
    let public = metadata.client("demo-public")?;

    let has_code = metadata.authorization_endpoint.is_some() && metadata.grants("authorization_code");
    let has_device = metadata.device_authorization_endpoint.is_some() && metadata.grants(DEVICE);
    let first = report("password", metadata.grants("password"), password(&demo)).await;
    let first = first.as_ref().map(|tokens| &tokens.refresh);
    let tokens = report("refresh_token", metadata.grants("refresh_token"), refresh(&demo, first)).await;
    report("client_credentials", metadata.grants("client_credentials"), client_credentials(&demo)).await;
    report("code + PKCE", has_code, code(&demo, &metadata.issuer)).await;
    report("code + PKCE, public", has_code, code(&public, &metadata.issuer)).await;
    report("device", has_device, device(&public)).await;
    report("introspect", metadata.introspection_endpoint.is_some(), introspect(&demo, tokens.as_ref())).await;
    report("revoke", metadata.revocation_endpoint.is_some(), revoke(&demo, tokens)).await;
    Ok(())
}
