//! The discovery documents, by the numbers of the assertions: metadata (RFC 8414) and the JWK set (RFC 7517).

use regrant::{
    client::GrantType,
    clock::Clock,
    config::{Config, ScopeDescription, SigningAlgorithm},
    secret::ServerSecret,
    store,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    on_both_stores,
    support::{Answer, On, Server, redis_url},
};

on_both_stores!(
    a96_the_jwk_set_has_public_keys_only,
    a97_a_token_of_a_destroyed_key_is_refused,
    a107_the_metadata_lists_what_works_and_nothing_else,
);

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn get(server: &Server, path: &str) -> Value {
    let answer = Answer::of(server.http.get(format!("{}{path}", server.url))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "public, max-age=3600");
    answer.json()
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

async fn a96_the_jwk_set_has_public_keys_only(on: On) {
    for (algorithm, members) in [
        (SigningAlgorithm::ES256, vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (SigningAlgorithm::EdDSA, vec!["alg", "crv", "kid", "kty", "use", "x"]),
        (SigningAlgorithm::RS256, vec!["alg", "e", "kid", "kty", "n", "use"]),
    ] {
        let server = Server::start_with(on, |config| config.signing_algorithm = algorithm).await;
        let jwks = get(&server, "/.well-known/jwks.json").await;
        assert_eq!(names(&jwks), ["keys"]);
        let keys = jwks["keys"].as_array().unwrap();
        assert!(!keys.is_empty());
        for key in keys {
            assert_eq!(names(key), members, "{key}");
            assert_eq!((&key["alg"], &key["use"]), (&json!(algorithm.as_str()), &json!("sig")));
        }
    }
}

/// Two deployments of one issuer and one secret: they differ in their signing keys only.
async fn a97_a_token_of_a_destroyed_key_is_refused(on: On) {
    let (secret, folder) = (ServerSecret::generate(), tempfile::tempdir().unwrap());
    let url = |name: &str| match on {
        On::Embedded => format!("sqlite:{}", folder.path().join(name).display()),
        On::Redis => redis_url(),
    };
    let start = async |url: &str| {
        let issuer = |config: &mut Config| config.issuer = "http://regrant.test".into();
        let server = Server::start_on(url, &secret, Clock::system(), tempfile::tempdir().unwrap(), issuer).await;
        server.client_with("robot", |client| client.grant_types = vec![GrantType::ClientCredentials]).await;
        server
    };
    let with_the_key = start(&url("one")).await;
    let token = with_the_key.token("robot", &[GRANT]).await.access_token();
    assert_eq!(with_the_key.introspect("robot", &token).await["active"], true);
    let without_it = start(&url("other")).await;
    assert_eq!(without_it.introspect("robot", &token).await, json!({ "active": false }));
    // Nor does it revoke anything, and a key of the same name would be needed to sign it.
    without_it.revoke("robot", &token).await;
    let heir = url("heir");
    let key = with_the_key.store().signing_keys().await.unwrap().remove(0);
    store::open(&heir, Clock::system()).await.unwrap().add_signing_key(&key).await.unwrap();
    assert_eq!(start(&heir).await.introspect("robot", &token).await["active"], true);
}

async fn a107_the_metadata_lists_what_works_and_nothing_else(on: On) {
    const PATH: &str = "/.well-known/oauth-authorization-server";
    let server = Server::start_with(on, |config| {
        for token in ["read", "profile"] {
            config.scopes.insert(token.into(), ScopeDescription { en: Some("What it means".into()), de: None });
        }
    })
    .await;
    let metadata = get(&server, PATH).await;
    assert_eq!(metadata["issuer"], server.url);
    assert_eq!(metadata["scopes_supported"], json!(["profile", "read"]));
    let known = [
        "authorization_endpoint",
        "authorization_response_iss_parameter_supported",
        "code_challenge_methods_supported",
        "device_authorization_endpoint",
        "grant_types_supported",
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "issuer",
        "jwks_uri",
        "response_modes_supported",
        "response_types_supported",
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
        "scopes_supported",
        "service_documentation",
        "token_endpoint",
        "token_endpoint_auth_methods_supported",
    ];
    assert_eq!(names(&metadata), known);
    for (name, method, status) in [
        ("authorization_endpoint", Method::GET, 400),
        ("token_endpoint", Method::POST, 401),
        ("device_authorization_endpoint", Method::POST, 401),
        ("introspection_endpoint", Method::POST, 401),
        ("revocation_endpoint", Method::POST, 401),
        ("jwks_uri", Method::GET, 200),
        ("service_documentation", Method::GET, 200),
    ] {
        let mut request = server.http.request(method.clone(), metadata[name].as_str().unwrap());
        if method == Method::POST {
            request = request.form(&[("x", "y")]);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    // Each grant is answered, and no other.
    server.client("app").await;
    for grant in metadata["grant_types_supported"].as_array().unwrap() {
        let answer = server.token("app", &[("grant_type", grant.as_str().unwrap())]).await;
        assert_ne!(answer.json()["error"], "unsupported_grant_type", "{grant}");
    }
    server.token("app", &[("grant_type", "implicit")]).await.assert_error(400, "unsupported_grant_type");
    // The settings choose the issuer, word for word, and need not describe any scope.
    let server = Server::start_with(on, |config| config.issuer = "https://login.example.com".into()).await;
    let metadata = get(&server, PATH).await;
    assert_eq!(metadata["issuer"], "https://login.example.com");
    assert_eq!(metadata["token_endpoint"], "https://login.example.com/oauth2/token");
    assert!(metadata.get("scopes_supported").is_none());
}
