//! `POST /oauth2/device_authorization`: a device asks for its codes
//! ([RFC 8628 §3.1](https://www.rfc-editor.org/rfc/rfc8628#section-3.1)).
//!
//! Not here: the page that a person visits, see `device.rs`; polling, see `token.rs`.

use std::sync::Arc;

use poem::{Response, http::StatusCode, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::json;

use super::{
    Tag,
    contract::{Answer, ClientBasic, FormBody, NO_STORE, Operation, RequestExample, Success, token_errors},
    credentials,
    error_response::{ErrorRenderer, no_store},
    form::Form,
    request_context::RequestContext,
    requested_access,
};
use crate::{
    App,
    client::authentication,
    error::{InvalidClient, InvalidRequest, InvalidScope, InvalidTarget, TokenError},
    grant::device_code::{self, StartedDevice},
};

/// How many device authorizations an address may start in [`WINDOW_MS`]: far beyond a house full of devices, and few
/// enough to keep the store small.
const STARTS: u32 = 300;
const WINDOW_MS: i64 = 600_000;

/// The parameters of a device authorization request.
#[derive(Debug, Object)]
struct DeviceAuthorizationRequest {
    /// The client's identifier. Leave it out when the Authorization header carries it.
    client_id: Option<String>,
    /// The secret of a confidential client that does not use the Authorization header.
    #[oai(validator(max_length = 1024))]
    client_secret: Option<String>,
    /// Scope tokens separated by spaces. Left out: everything the client may have.
    scope: Option<String>,
    /// The resources that the access token will be for, absolute URIs (RFC 8707). Left out: every resource of the client.
    resource: Option<Vec<String>>,
    /// The same for a resource that has a name rather than a URI.
    audience: Option<String>,
}

/// The answer to a device authorization request (RFC 8628 section 3.2).
#[derive(Debug, Serialize, Object)]
struct DeviceAuthorization {
    /// Poll the token endpoint with it. Don't show it to anybody.
    device_code: String,
    /// Show it to the person, together with `verification_uri`.
    user_code: String,
    /// Where the person types the user code.
    verification_uri: String,
    /// The same with the code filled in, for a QR code. Show the user code as well: the page asks to compare it.
    verification_uri_complete: String,
    /// Seconds until both codes expire.
    expires_in: i64,
    /// Seconds to wait between two polls.
    interval: i64,
}

/// What the document says about it.
pub const OPERATIONS: &[Operation] = &[Operation {
    id: "startDeviceAuthorization",
    see: ("RFC 8628 section 3.1: device authorization", "https://www.rfc-editor.org/rfc/rfc8628#section-3.1"),
    requests: &[RequestExample {
        name: "device",
        summary: "A device that wants to read",
        form: &[("scope", "read"), ("client_id", "demo"), ("client_secret", "demo-secret")],
    }],
    fields: &[
        ("client_id", "demo"),
        ("client_secret", "demo-secret"),
        ("scope", "read"),
        ("resource", ""),
        ("audience", ""),
    ],
    success: Success {
        status: 200,
        description: "The codes.",
        headers: &[NO_STORE],
        examples: || {
            let codes = json!({
                "device_code": "dc_AQA...",
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://login.example.com/device",
                "verification_uri_complete": "https://login.example.com/device?user_code=WDJB-MJHT",
                "expires_in": 600,
                "interval": 5,
            });
            vec![("codes", codes)]
        },
    },
    errors: |renderer| {
        let errors = [
            InvalidRequest::RepeatedParameter.into(),
            TokenError::UnauthorizedClient,
            TokenError::InvalidScope(InvalidScope::BeyondClient),
            TokenError::InvalidTarget(InvalidTarget::BeyondClient),
            TokenError::InvalidClient(InvalidClient::WrongSecret),
        ];
        token_errors(renderer, &errors)
    },
    notes: &[(503, "Also when an address starts more than a house full of devices.")],
}];

/// The endpoint.
pub struct DeviceAuthorizationEndpoint;

#[OpenApi]
impl DeviceAuthorizationEndpoint {
    /// Start a login on a device
    ///
    /// For devices without a browser or a keyboard. Show the person `user_code` and `verification_uri`, then poll the token
    /// endpoint with `device_code` every `interval` seconds. Clients authenticate as at the token endpoint.
    #[oai(
        path = "/oauth2/device_authorization",
        method = "post",
        operation_id = "startDeviceAuthorization",
        tag = "Tag::OAuth"
    )]
    async fn start(
        &self,
        Data(app): Data<&Arc<App>>,
        context: RequestContext,
        _basic: ClientBasic,
        body: FormBody<DeviceAuthorizationRequest>,
    ) -> Answer<DeviceAuthorization> {
        let outcome = answer(&context, body.form, app).await;
        let request_id = &context.request_id;
        let address = context.address.map(tracing::field::display);
        let client = context.client.get().map(tracing::field::display);
        let response = match outcome {
            Ok(started) => {
                tracing::info!(%request_id, address, client, "device authorization started");
                render(&started, app.issuer.url())
            }
            Err(error) => {
                tracing::info!(%request_id, address, client, ?error, "device authorization refused");
                ErrorRenderer::new(app.issuer.url()).token_error(&error)
            }
        };
        response.into()
    }
}

async fn answer(
    context: &RequestContext,
    form: Result<Form, InvalidRequest>,
    app: &App,
) -> Result<StartedDevice, TokenError> {
    let mut form = form?;
    let credentials = credentials::read(&context.headers, &mut form)?;
    let client = authentication::authenticate(credentials, app.store.as_ref(), app.store.now()).await?;
    context.client.set(client.id.clone());
    let access = requested_access::read(&mut form)?;
    let address = context.address.map(|address| address.to_string()).unwrap_or_default();
    let bucket = app.issuer.device_codes().bucket(format!("start {address}").as_bytes());
    if app.store.count_attempt(bucket, WINDOW_MS).await? > STARTS {
        return Err(TokenError::TemporarilyUnavailable("too many device authorizations from one address".into()));
    }
    device_code::start(&access, &client, context.origin().clone(), app).await
}

fn render(started: &StartedDevice, issuer: &str) -> Response {
    let user_code = started.user_code.text();
    let body = DeviceAuthorization {
        device_code: started.device_code.expose().to_owned(),
        verification_uri: format!("{issuer}/device"),
        verification_uri_complete: format!("{issuer}/device?user_code={user_code}"),
        user_code,
        expires_in: started.expires_in,
        interval: started.interval,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::builder().status(StatusCode::OK).content_type("application/json").body(body);
    no_store(&mut response);
    response
}
