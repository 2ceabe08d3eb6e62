//! `/.well-known/oauth-authorization-server` ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414)) and
//! `/.well-known/jwks.json`. Only what works is listed.

use std::sync::Arc;

use poem::{Response, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use super::{
    Tag,
    contract::{Answer, FOR_AN_HOUR, Operation, Success},
    pages::Pages,
};
use crate::{App, client::GrantType};

/// How long a verifier may keep the documents, seconds. A new signing key must be published this long
/// before it signs.
const MAX_AGE: &str = "public, max-age=3600";

/// Authorization server metadata (RFC 8414 section 2).
#[derive(Debug, Serialize, Object)]
struct Metadata {
    /// The issuer of all tokens.
    issuer: String,
    /// Where the resource owner's browser is sent.
    authorization_endpoint: String,
    /// Where tokens are issued.
    token_endpoint: String,
    /// Where tokens are revoked (RFC 7009).
    revocation_endpoint: String,
    /// Where confidential clients ask about tokens (RFC 7662).
    introspection_endpoint: String,
    /// Where devices start a login (RFC 8628 section 4).
    device_authorization_endpoint: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// What the authorization endpoint answers with.
    response_types_supported: Vec<String>,
    /// How the answer comes.
    response_modes_supported: Vec<String>,
    /// How PKCE challenges are made (RFC 7636).
    code_challenge_methods_supported: Vec<String>,
    /// Whether the answer names its issuer (RFC 9207).
    authorization_response_iss_parameter_supported: bool,
    /// The grants that this server answers.
    grant_types_supported: Vec<String>,
    /// How clients may authenticate.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// The same at the revocation endpoint.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// The same at the introspection endpoint, which is for confidential clients.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Scope tokens that clients may ask for: those that the settings describe. Left out when they describe none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[oai(skip_serializing_if_is_empty)]
    scopes_supported: Vec<String>,
    /// A page for developers.
    service_documentation: String,
}

/// A JWK set (RFC 7517 section 5).
#[derive(Debug, Serialize, Object)]
struct JwkSet {
    /// Public keys, to verify access tokens with.
    keys: Vec<JsonWebKey>,
}

/// A public key (RFC 7517 section 4).
#[derive(Debug, Serialize, Object)]
struct JsonWebKey {
    /// Key type.
    kty: String,
    /// Key identifier, as the token's header names it.
    kid: String,
    /// Always `sig`.
    #[oai(rename = "use")]
    usage: String,
    /// The algorithm the key signs with.
    alg: String,
    /// The curve of an EC or OKP key.
    crv: Option<String>,
    /// The x coordinate, or the public key of an OKP key.
    x: Option<String>,
    /// The y coordinate of an EC key.
    y: Option<String>,
    /// The modulus of an RSA key.
    n: Option<String>,
    /// The exponent of an RSA key.
    e: Option<String>,
}

/// What the document says about them.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        id: "getAuthorizationServerMetadata",
        see: ("RFC 8414: authorization server metadata", "https://www.rfc-editor.org/rfc/rfc8414#section-3"),
        requests: &[],
        fields: &[],
        success: Success {
            status: 200,
            description: "What this server can do.",
            headers: &[FOR_AN_HOUR],
            examples: Vec::new,
        },
        errors: |_| vec![],
        notes: &[],
    },
    Operation {
        id: "getJwks",
        see: ("RFC 7517: JSON Web Key", "https://www.rfc-editor.org/rfc/rfc7517#section-5"),
        requests: &[],
        fields: &[],
        success: Success { status: 200, description: "The public keys.", headers: &[FOR_AN_HOUR], examples: Vec::new },
        errors: |_| vec![],
        notes: &[],
    },
];

/// The endpoints.
pub struct MetadataEndpoint;

#[OpenApi]
impl MetadataEndpoint {
    /// Discover the server
    ///
    /// Endpoints, grants and client authentication methods, for clients that configure themselves.
    #[oai(
        path = "/.well-known/oauth-authorization-server",
        method = "get",
        operation_id = "getAuthorizationServerMetadata",
        tag = "Tag::Discovery"
    )]
    async fn metadata(&self, Data(app): Data<&Arc<App>>, Data(pages): Data<&Arc<Pages>>) -> Answer<Metadata> {
        let issuer = app.issuer.url();
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        cacheable(&Metadata {
            issuer: issuer.to_owned(),
            authorization_endpoint: format!("{issuer}/oauth2/authorize"),
            token_endpoint: format!("{issuer}/oauth2/token"),
            revocation_endpoint: format!("{issuer}/oauth2/revoke"),
            introspection_endpoint: format!("{issuer}/oauth2/introspect"),
            device_authorization_endpoint: format!("{issuer}/oauth2/device_authorization"),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            response_types_supported: texts(&["code"]),
            response_modes_supported: texts(&["query"]),
            code_challenge_methods_supported: texts(&["S256"]),
            authorization_response_iss_parameter_supported: true,
            grant_types_supported: GrantType::SERVED
                .iter()
                .filter(|grant_type| app.serves(**grant_type))
                .map(ToString::to_string)
                .collect(),
            token_endpoint_auth_methods_supported: texts(&["client_secret_basic", "client_secret_post", "none"]),
            revocation_endpoint_auth_methods_supported: texts(&["client_secret_basic", "client_secret_post", "none"]),
            introspection_endpoint_auth_methods_supported: texts(&["client_secret_basic", "client_secret_post"]),
            scopes_supported: pages.described_scopes().map(str::to_owned).collect(),
            service_documentation: format!("{issuer}/docs"),
        })
    }

    /// Get the public keys
    ///
    /// Verify access tokens with them; look a token's key up by `kid`.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "getJwks", tag = "Tag::Discovery")]
    async fn jwks(&self, Data(app): Data<&Arc<App>>) -> Answer<JwkSet> {
        app.issuer.signing().look_again(app.store.as_ref()).await;
        cacheable(&app.issuer.signing().jwks(app.store.now()))
    }
}

/// A cacheable JSON document.
fn cacheable<T>(value: &impl Serialize) -> Answer<T> {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let response = Response::builder().content_type("application/json").header("Cache-Control", MAX_AGE).body(json);
    response.into()
}
