//! What the OpenAPI document says about cookie mode: forms and answers.
//!
//! Not here: what the answers are made of, see `mod.rs`.

use std::marker::PhantomData;

use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object,
    payload::Json,
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    error::InvalidRequest,
    http::{error_response::OAuthError, form::Form, token},
};

/// The parameters of a login in cookie mode.
#[derive(Debug, Object)]
pub(super) struct SessionRequest {
    /// The client's identifier. It must be registered for cookie mode.
    client_id: String,
    /// `password`, which is what leaving it out means.
    grant_type: Option<String>,
    /// The resource owner's name.
    username: Option<String>,
    /// The resource owner's password, at most 256 characters.
    #[oai(validator(max_length = 256))]
    password: Option<String>,
    /// Scope tokens separated by spaces. Left out: everything the client may have.
    scope: Option<String>,
    /// The resource that the access token is for (RFC 8707). May be repeated. Left out: every resource of the client.
    resource: Option<String>,
}

/// The parameters of a refresh in cookie mode; the refresh token is in the cookie.
#[derive(Debug, Object)]
pub(super) struct SessionRefresh {
    /// The client's identifier.
    client_id: String,
    /// Scope tokens separated by spaces. Left out: everything that was granted.
    scope: Option<String>,
    /// The resource that the access token is for (RFC 8707). May be repeated. Left out: every resource of the grant.
    resource: Option<String>,
}

/// The answer of cookie mode: a token response whose refresh token is in a cookie instead.
#[derive(Debug, Serialize, Object)]
pub(super) struct SessionResponse {
    /// A JWT as RFC 9068 profiles it. Keep it in memory only.
    pub(super) access_token: String,
    /// Always `Bearer`.
    pub(super) token_type: String,
    /// Seconds until the access token expires.
    pub(super) expires_in: i64,
    /// What the access token is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    /// Seconds until the cookie expires unless it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_expires_in: Option<i64>,
}

/// The form of a request, documented as `F`; read, but not yet understood.
pub(super) struct SessionBody<F> {
    pub(super) form: Result<Form, InvalidRequest>,
    kind: PhantomData<fn() -> F>,
}

impl<'a, F: Type> ApiExtractor<'a> for SessionBody<F> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        F::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content =
            vec![MetaMediaType { content_type: "application/x-www-form-urlencoded", schema: F::schema_ref() }];
        Some(MetaRequest { description: None, required: true, content })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let form = if token::parameters_in_query(request) {
            Err(InvalidRequest::Query)
        } else {
            Form::read(request, body).await
        };
        Ok(Self { form, kind: PhantomData })
    }
}

/// What poem-openapi can't say: the cookie, and examples.
pub fn describe(document: &mut Value, issuer: &str) {
    for (path, method, status, cookie) in [
        ("/session", "post", "200", "rt_AeU...; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=1209600"),
        ("/session/refresh", "post", "200", "rt_AeU...; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=1209600"),
        ("/session", "delete", "204", "; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"),
    ] {
        let operation = &mut document["paths"][path][method];
        operation["externalDocs"] = json!({
            "description": "OAuth 2.0 for Browser-Based Applications",
            "url": "https://datatracker.ietf.org/doc/draft-ietf-oauth-browser-based-apps/",
        });
        operation["responses"][status]["headers"]["Set-Cookie"] = json!({
            "description": "The refresh token. No script can read it.",
            "required": method == "delete",
            "schema": { "type": "string" },
            "example": format!("__Host-rt-f62af5c7={cookie}"),
        });
        for (status, code, description) in EXAMPLES {
            let media = &mut operation["responses"][status]["content"]["application/json"];
            media["examples"][code] = json!({ "value": {
                "error": code,
                "error_description": description,
                "error_uri": format!("{issuer}/docs/errors/{code}"),
            }});
        }
        if method == "post" {
            operation["responses"]["200"]["content"]["application/json"]["example"] = json!({
                "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.e30.c2ln",
                "token_type": "Bearer",
                "expires_in": 600,
                "scope": "read write",
                "session_expires_in": 1_209_600,
            });
        }
    }
    for (form, fields) in [
        (
            "SessionRequest",
            [
                ("client_id", "demo-public"),
                ("grant_type", "password"),
                ("username", "demo"),
                ("password", "demo-password"),
                ("scope", ""),
                ("resource", ""),
            ]
            .as_slice(),
        ),
        ("SessionRefresh", &[("client_id", "demo-public"), ("scope", ""), ("resource", "")]),
    ] {
        for (name, example) in fields {
            document["components"]["schemas"][form]["properties"][name]["example"] = (*example).into();
        }
    }
}

/// An example of each error that only cookie mode has, or that matters most there: status, code, description.
const EXAMPLES: [(&str, &str, &str); 4] = [
    ("400", "invalid_request", "a required parameter is missing: client_id"),
    ("403", "access_denied", "in cookie mode the header X-Requested-By: oauth is required"),
    ("500", "server_error", "the server failed; the request id in X-Request-Id names it in the log"),
    ("503", "temporarily_unavailable", "the server cannot answer right now; send the same request again"),
];

fn error(status: u16, description: &'static str) -> MetaResponse {
    with_body(status, description, OAuthError::schema_ref())
}

fn with_body(status: u16, description: &'static str, schema: MetaSchemaRef) -> MetaResponse {
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: "application/json", schema }],
        headers: vec![],
    }
}

const FORBIDDEN: &str =
    "The request did not come from a page of this client: access_denied. See the rules of cookie mode.";
const UNAVAILABLE: &str = "The server can't answer right now: temporarily_unavailable. Send the same request again; the cookie is still good.";

/// A finished response, documented by hand because every error shares one renderer.
pub(super) struct SessionAnswer(pub(super) Response);

impl IntoResponse for SessionAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for SessionAnswer {
    fn meta() -> MetaResponses {
        let responses = vec![
            with_body(200, "An access token, and the refresh token in a cookie.", SessionResponse::schema_ref()),
            error(
                400,
                "The request was refused: invalid_request, invalid_client, invalid_grant, unauthorized_client, unsupported_grant_type, invalid_scope or invalid_target. The cookie stays as it is.",
            ),
            error(403, FORBIDDEN),
            error(413, "The body is larger than 16 KiB: invalid_request."),
            error(500, "The server failed: server_error."),
            error(503, UNAVAILABLE),
        ];
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        <Json<SessionResponse> as poem_openapi::ResponseContent>::register(registry);
        <Json<OAuthError> as poem_openapi::ResponseContent>::register(registry);
    }
}

/// The answer to a logout.
pub(super) struct SessionEnded(pub(super) Response);

impl IntoResponse for SessionEnded {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for SessionEnded {
    fn meta() -> MetaResponses {
        let ended = MetaResponse {
            description: "The grant is revoked and the cookie deleted, if there was one.",
            status: Some(204),
            status_range: None,
            content: vec![],
            headers: vec![],
        };
        let responses = vec![
            ended,
            error(400, "The request was refused: invalid_request or invalid_client."),
            error(403, FORBIDDEN),
            error(413, "The body is larger than 16 KiB: invalid_request."),
            error(500, "The server failed: server_error."),
            error(503, UNAVAILABLE),
        ];
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        <Json<OAuthError> as poem_openapi::ResponseContent>::register(registry);
    }
}
