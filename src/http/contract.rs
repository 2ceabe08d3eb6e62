//! What an endpoint says about itself in the OpenAPI document. It says so in its own file, as an [`Operation`] beside
//! its code; `openapi.rs` merges all of them into what poem-openapi derives.
//!
//! Errors are declared as values and rendered by `error_response.rs`, so that status, headers, code and text in the
//! document are those on the wire.
//!
//! Not here: the merging, see `openapi.rs`.

use std::marker::PhantomData;

use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSecurityScheme, Registry},
    types::Type,
};
use serde_json::Value;

use super::{
    body,
    error_response::{ErrorRenderer, OAuthError},
    form::Form,
};
use crate::error::{InvalidRequest, TokenError};

/// One operation, beyond what poem-openapi derives from its function.
pub struct Operation {
    /// Its `operation_id`.
    pub id: &'static str,
    /// Where the specification is: a name, and a URL.
    pub see: (&'static str, &'static str),
    /// Example forms.
    pub requests: &'static [RequestExample],
    /// What Swagger UI fills into the fields of the form; it would write the word `string` otherwise.
    pub fields: &'static [(&'static str, &'static str)],
    /// The answer when all goes well.
    pub success: Success,
    /// Each way to be refused: the closed list of error codes, with at least one example of each.
    pub errors: fn(&ErrorRenderer) -> Vec<ErrorExample>,
    /// What a client should know about an error status beyond its codes.
    pub notes: &'static [(u16, &'static str)],
}

/// A form, as an example.
pub struct RequestExample {
    /// Its key in the document.
    pub name: &'static str,
    /// What it is, and the section of the RFC.
    pub summary: &'static str,
    /// The parameters.
    pub form: &'static [(&'static str, &'static str)],
}

/// The answer when all goes well.
pub struct Success {
    /// The status.
    pub status: u16,
    /// What it means.
    pub description: &'static str,
    /// Its headers; `X-Request-Id` is on every response anyway.
    pub headers: &'static [HeaderExample],
    /// Bodies: a name and the value. None for a response without a body.
    pub examples: fn() -> Vec<(&'static str, Value)>,
}

/// A response header, with an example.
pub struct HeaderExample {
    /// As it is written.
    pub name: &'static str,
    /// What it tells.
    pub description: &'static str,
    /// A value.
    pub example: &'static str,
    /// Whether it is always there.
    pub required: bool,
}

/// `Cache-Control: no-store`, as on every answer with a token.
pub const NO_STORE: HeaderExample = HeaderExample {
    name: "Cache-Control",
    description: "No cache may keep this answer.",
    example: "no-store",
    required: true,
};

/// `Cache-Control` of documents that a cache may keep.
pub const FOR_AN_HOUR: HeaderExample = HeaderExample {
    name: "Cache-Control",
    description: "How long a copy may be used, seconds.",
    example: "public, max-age=3600",
    required: true,
};

/// An error as it is on the wire.
pub struct ErrorExample {
    /// The rendered response, for its status and headers.
    pub response: Response,
    /// The body of that response.
    pub body: OAuthError,
}

/// Errors of an endpoint that answers with [`ErrorRenderer::token_error`].
pub fn token_errors(renderer: &ErrorRenderer, errors: &[TokenError]) -> Vec<ErrorExample> {
    let example =
        |error| ErrorExample { response: renderer.token_error(error), body: renderer.token_error_body(error) };
    errors.iter().chain(&failures()).map(example).collect()
}

/// Errors of an endpoint that answers with [`ErrorRenderer::browser_error`].
pub fn browser_errors(renderer: &ErrorRenderer, errors: &[TokenError]) -> Vec<ErrorExample> {
    let example =
        |error| ErrorExample { response: renderer.browser_error(error), body: renderer.token_error_body(error) };
    errors.iter().chain(&failures()).map(example).collect()
}

/// What every endpoint with a form and a store can meet.
fn failures() -> [TokenError; 3] {
    [
        InvalidRequest::BodyTooLarge.into(),
        TokenError::ServerError(String::new()),
        TokenError::TemporarilyUnavailable(String::new()),
    ]
}

/// A form that is documented as `F`: read, but not yet understood.
pub struct FormBody<F> {
    /// The parameters, or why they can't be read.
    pub form: Result<Form, InvalidRequest>,
    kind: PhantomData<fn() -> F>,
}

impl<'a, F: Type> ApiExtractor<'a> for FormBody<F> {
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
        // Errors travel as values: the handler renders them, so that no framework text reaches a client.
        let form = Form::read_with_credentials(request, body, body::time(request)).await;
        Ok(Self { form, kind: PhantomData })
    }
}

/// A finished response. When all went well its body is a `T`; [`NoBody`] for none.
pub struct Answer<T> {
    response: Response,
    kind: PhantomData<fn() -> T>,
}

/// A success without a body.
pub struct NoBody;

/// What a success may carry.
pub trait SuccessBody {
    /// Its media types.
    fn content() -> Vec<MetaMediaType>;
    /// Adds its schemas to the document.
    fn register(registry: &mut Registry);
}

impl SuccessBody for NoBody {
    fn content() -> Vec<MetaMediaType> {
        vec![]
    }

    fn register(_: &mut Registry) {}
}

impl<T: Type> SuccessBody for T {
    fn content() -> Vec<MetaMediaType> {
        vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }]
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T> From<Response> for Answer<T> {
    fn from(response: Response) -> Self {
        Self { response, kind: PhantomData }
    }
}

impl<T> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<T: SuccessBody> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        // The operation's `Success` says the rest.
        let success = MetaResponse {
            description: "",
            status: Some(200),
            status_range: None,
            content: T::content(),
            headers: vec![],
        };
        MetaResponses { responses: vec![success] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// Documents HTTP Basic for client authentication; reading it is `credentials.rs`'s work.
pub struct ClientBasic;

impl<'a> ApiExtractor<'a> for ClientBasic {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "ClientBasic",
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "Client authentication: the form-encoded client_id and client_secret (RFC 6749 section 2.3.1).",
                ),
                name: None,
                key_in: None,
                scheme: Some("basic"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["ClientBasic"]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(_: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self)
    }
}
