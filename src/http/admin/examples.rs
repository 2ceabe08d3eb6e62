//! Examples of the JSON bodies, for the OpenAPI document.
//!
//! Not here: forms, see `http/contract.rs`; errors, which are made from values.

use serde_json::{Value, json};

use crate::http::openapi;

/// Adds them.
pub fn describe(document: &mut Value) {
    let client = json!({
        "client_id": "shop", "name": "Shop", "type": "confidential",
        "grant_types": ["authorization_code", "refresh_token"], "scope": "profile read",
        "redirect_uris": ["https://shop.example.com/callback"], "audience": [], "cookie_mode": false, "origins": [],
        "rotation": "rotate", "disabled": false, "created_at": 1_795_000_000, "demo": false,
    });
    let with_secret = {
        let mut client = client.clone();
        client["client_secret"] = "cs_h5p2...".into();
        client
    };
    let new_client = json!({
        "client_id": "shop", "name": "Shop", "type": "confidential",
        "grant_types": ["authorization_code", "refresh_token"], "scope": "profile read",
        "redirect_uris": ["https://shop.example.com/callback"],
    });
    let user = json!({
        "username": "anna", "sub": "2YotnFZFEjr1zCsicMWpAA", "status": "active", "created_at": 1_795_000_000, "demo": false,
    });
    let grant = json!({
        "grant_id": "6Fq3n1yzQmGh0lYd1nRkWw", "username": "anna", "client_id": "shop", "scope": "profile read",
        "state": "active", "delivery": "body", "generation": 3, "created_at": 1_795_000_000,
        "last_refreshed_at": 1_795_001_200, "last_used_from_address": "203.0.113.7", "last_used_from_agent": "okhttp/4.12.0",
        "expires_at": 1_796_210_800, "ends_at": 1_802_776_000, "repeated_answers": 0,
    });
    let keys = json!({ "keys": [{
        "kid": "Dk1pYb0hJv2cT7uX3sZqL9mN5rW8eF6gA4iO0yU_tRw", "algorithm": "ES256", "state": "active",
        "created_at": 1_795_000_000, "signs_from": 1_795_000_000,
    }] });
    let password = "correct horse battery staple";
    for (operation, example) in [
        ("createClient", new_client),
        ("createUser", json!({ "username": "anna", "password": password })),
        ("setUserPassword", json!({ "password": password })),
        ("rotateKeys", json!({ "compromised": false })),
    ] {
        openapi::of(document, operation)["requestBody"]["content"]["application/json"]["example"] = example;
    }
    for (operation, status, example) in [
        ("listClients", "200", json!({ "clients": [client], "next_cursor": "c2hvcA" })),
        ("createClient", "201", with_secret.clone()),
        ("getClient", "200", client.clone()),
        ("disableClient", "200", client.clone()),
        ("enableClient", "200", client.clone()),
        ("rotateClientSecret", "200", with_secret),
        ("listUsers", "200", json!({ "users": [user], "next_cursor": "YW5uYQ" })),
        ("createUser", "201", user.clone()),
        ("getUser", "200", user.clone()),
        ("setUserPassword", "200", user.clone()),
        ("disableUser", "200", user.clone()),
        ("enableUser", "200", user.clone()),
        ("logOutUser", "200", user.clone()),
        ("listGrants", "200", json!({ "grants": [grant] })),
        ("getGrant", "200", grant.clone()),
        ("revokeGrant", "200", grant.clone()),
        ("listKeys", "200", keys.clone()),
        ("rotateKeys", "200", keys.clone()),
    ] {
        openapi::of(document, operation)["responses"][status]["content"]["application/json"]["example"] = example;
    }
}
