//! An API that takes the access tokens of one authorization server.
use std::{env, error, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use poem::web::headers::{Authorization, HeaderMapExt, authorization::Bearer};
use poem::{
    EndpointExt, Error, IntoResponse, Request, Result, Route, Server, get, handler, http::StatusCode, web::Data,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::RwLock, time};

#[derive(Deserialize)]
struct Metadata {
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    scope: String,
}

struct Tokens {
    keys: RwLock<JwkSet>,
    rules: Validation,
}

impl Tokens {
    async fn verify(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        if header.typ.as_deref() != Some("at+jwt") {
            return None;
        }
        let key = DecodingKey::from_jwk(self.keys.read().await.find(&header.kid?)?).ok()?;
        Some(decode(token, &key, &self.rules).ok()?.claims)
    }

    async fn needs(&self, request: &Request, scope: &str) -> Result<Claims> {
        let refuse = |status: StatusCode, challenge: &'static str| {
            Error::from_response(status.with_header("WWW-Authenticate", challenge).into_response())
        };
        let bearer = request.headers().typed_get::<Authorization<Bearer>>();
        let token = bearer.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Bearer"))?;
        let claims = self.verify(token.token()).await;
        let claims = claims.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""))?;
        match claims.scope.split(' ').any(|granted| granted == scope) {
            true => Ok(claims),
            false => Err(refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\"")),
        }
    }
}

#[handler]
async fn hello(request: &Request, tokens: Data<&Arc<Tokens>>) -> Result<String> {
    Ok(format!("hello {}", tokens.needs(request, "read").await?.sub))
}

async fn json<T: DeserializeOwned>(url: &str) -> reqwest::Result<T> {
    reqwest::get(url).await?.error_for_status()?.json().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let issuer = env::var("ISSUER")?;
    let metadata: Metadata = json(&format!("{issuer}/.well-known/oauth-authorization-server")).await?;

    // Pinned here: a token doesn't choose how it is verified.
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[&issuer]);
    rules.set_audience(&[env::var("AUDIENCE").unwrap_or(issuer)]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.leeway = 0;

    let tokens = Arc::new(Tokens { keys: RwLock::new(json(&metadata.jwks_uri).await?), rules });
    let api = Route::new().at("/hello", get(hello)).data(Arc::clone(&tokens));
    tokio::spawn(async move {
        loop {
            time::sleep(Duration::from_secs(300)).await;
            if let Ok(keys) = json(&metadata.jwks_uri).await {
                *tokens.keys.write().await = keys;
            }
        }
    });
    let listen = env::var("LISTEN").unwrap_or("127.0.0.1:3000".into());
    Ok(Server::new(poem::listener::TcpListener::bind(listen)).run(api).await?)
}
