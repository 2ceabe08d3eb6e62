//! The OpenAPI document: what poem-openapi derives from the endpoints, and what it can't say.
//!
//! Not here: the page that shows it, see `http/docs.rs`.

use std::collections::BTreeMap;

use poem_openapi::{OpenApi, OpenApiService};
use serde_json::{Value, json};

use super::session;

/// The document for one issuer.
pub fn document<A: OpenApi + 'static>(service: &OpenApiService<A, ()>, issuer: &str, oauth21: bool) -> Value {
    let mut document: Value = serde_json::from_str(&service.spec()).unwrap_or_default();
    document["servers"] = json!([{ "url": issuer }]);
    document["components"]["securitySchemes"]["OAuth2"] = oauth2_scheme(issuer, oauth21);
    let token = &mut document["paths"]["/oauth2/token"]["post"];
    token["requestBody"]["content"]["application/x-www-form-urlencoded"]["examples"] = request_examples(oauth21);
    token["externalDocs"] = json!({
        "description": "RFC 6749 section 3.2",
        "url": "https://www.rfc-editor.org/rfc/rfc6749#section-3.2",
    });
    for (status, code, description) in ERROR_EXAMPLES {
        let content = &mut token["responses"][status]["content"]["application/json"];
        content["examples"][code] = json!({ "value": {
            "error": code,
            "error_description": description,
            "error_uri": format!("{issuer}/docs/errors/{code}"),
        }});
    }
    token["responses"]["200"]["content"]["application/json"]["example"] = json!({
        "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.e30.c2ln",
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "read write",
        "refresh_token": "rt_AeU...",
        "refresh_token_expires_in": 1_209_600,
    });
    // Swagger UI fills in the word `string` where there is no example.
    for (name, example) in FIELD_EXAMPLES {
        document["components"]["schemas"]["TokenRequest"]["properties"][name]["example"] = example.into();
    }
    session::describe(&mut document, issuer);
    describe_headers(&mut document);
    if oauth21 {
        let values = document["components"]["schemas"]["GrantTypeParameter"]["enum"].as_array_mut();
        values.into_iter().for_each(|values| values.retain(|value| value != "password"));
    }
    document
}

/// What Swagger UI fills in: the demo records of `regrant dev`.
const FIELD_EXAMPLES: [(&str, &str); 8] = [
    ("client_id", "demo"),
    ("client_secret", "demo-secret"),
    ("username", "demo"),
    ("password", "demo-password"),
    ("refresh_token", ""),
    ("scope", "read write"),
    ("resource", ""),
    ("audience", ""),
];

/// An example of each error that a client meets: status, code, description.
const ERROR_EXAMPLES: [(&str, &str, &str); 9] = [
    ("400", "invalid_request", "a parameter is repeated"),
    ("400", "invalid_grant", "the refresh token is invalid, expired or revoked"),
    ("400", "unauthorized_client", "this client is not registered for this grant type"),
    ("400", "unsupported_grant_type", "this server does not support this grant type"),
    ("400", "invalid_scope", "the scope goes beyond what was granted"),
    ("400", "invalid_target", "the resource is not one that this client may ask for"),
    ("401", "invalid_client", "client authentication failed"),
    ("500", "server_error", "the server failed; the request id in X-Request-Id names it in the log"),
    ("503", "temporarily_unavailable", "the server cannot answer right now; send the same request again"),
];

fn oauth2_scheme(issuer: &str, oauth21: bool) -> Value {
    let token_url = format!("{issuer}/oauth2/token");
    let scopes = json!({ "profile": "Who the resource owner is", "read": "Read", "write": "Write" });
    let mut flows = json!({ "clientCredentials": { "tokenUrl": token_url, "scopes": scopes } });
    if !oauth21 {
        flows["password"] = json!({ "tokenUrl": token_url, "refreshUrl": token_url, "scopes": scopes });
    }
    json!({
        "type": "oauth2",
        "description": "The password flow is for existing first-party clients only: RFC 9700 section 2.4 forbids it in new designs.",
        "flows": flows,
    })
}

fn request_examples(oauth21: bool) -> Value {
    let mut examples = json!({
        "refresh_token": {
            "summary": "Refresh (RFC 6749 section 6)",
            "value": { "grant_type": "refresh_token", "refresh_token": "rt_AeU...", "client_id": "demo", "client_secret": "demo-secret" },
        },
        "client_credentials": {
            "summary": "A client that acts for itself (RFC 6749 section 4.4)",
            "value": { "grant_type": "client_credentials", "scope": "read", "client_id": "demo", "client_secret": "demo-secret" },
        },
    });
    if !oauth21 {
        examples["password"] = json!({
            "summary": "Password (RFC 6749 section 4.3)",
            "value": {
                "grant_type": "password", "username": "demo", "password": "demo-password", "scope": "read write",
                "client_id": "demo", "client_secret": "demo-secret",
            },
        });
    }
    examples
}

/// The headers that every answer of an OAuth endpoint carries.
fn describe_headers(document: &mut Value) {
    let header = |description: &str, example: &str| json!({ "description": description, "required": true, "schema": { "type": "string" }, "example": example });
    let request_id = header("Names this request in the server's log.", "PFRc0mJ8_VnXk1Yw");
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, operations) in paths {
        let Some(operations) = operations.as_object_mut() else { continue };
        for operation in operations.values_mut() {
            let Some(responses) = operation["responses"].as_object_mut() else { continue };
            for (status, response) in responses {
                response["headers"]["X-Request-Id"] = request_id.clone();
                if path.starts_with("/oauth2/") || path.starts_with("/session") {
                    response["headers"]["Cache-Control"] = header("Tokens and errors are never cached.", "no-store");
                }
                if status == "401" {
                    response["headers"]["WWW-Authenticate"] =
                        header("How to authenticate.", "Basic realm=\"regrant\", charset=\"UTF-8\"");
                }
                if status == "503" {
                    response["headers"]["Retry-After"] = header("Seconds to wait.", "1");
                }
            }
        }
    }
}

/// A documented path and its methods.
#[derive(Clone, Debug)]
pub struct Documented(Vec<String>);

impl Documented {
    /// All documented paths.
    pub fn paths(document: &Value) -> BTreeMap<String, Self> {
        let methods = |operations: &Value| {
            let names = operations.as_object().into_iter().flat_map(serde_json::Map::keys);
            Self(names.map(|name| name.to_uppercase()).collect())
        };
        let paths = document["paths"].as_object().into_iter().flatten();
        paths.map(|(path, operations)| (path.clone(), methods(operations))).collect()
    }

    /// The value of an `Allow` header (RFC 9110 §10.2.1).
    pub fn allow(&self) -> String {
        self.0.join(", ")
    }
}
