//! `GET /device/qr`: the QR code of a `verification_uri_complete`
//! ([RFC 8628 §3.3.1](https://www.rfc-editor.org/rfc/rfc8628#section-3.3.1)), for devices that can show a picture.
//!
//! It is drawn from the parameter alone: whether there is such a code it neither knows nor tells.

use std::{fmt::Write as _, sync::Arc};

use fast_qr::{ECL, QRBuilder};
use poem::{
    IntoResponse, Response,
    http::{HeaderValue, header},
    web::Data,
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::Query,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};

use super::{
    Tag,
    browser::PageQuery,
    contract::{ErrorExample, NO_STORE, Operation, Success},
    error_response::{ErrorRenderer, no_store},
};
use crate::{
    App,
    error::{InvalidRequest, TokenError},
    token::device_code::UserCode,
};

const SVG: &str = "image/svg+xml";

/// The white margin that scanners need, in squares (ISO/IEC 18004 §9.1).
const QUIET: usize = 4;

/// What the document says about it.
pub const OPERATIONS: &[Operation] = &[Operation {
    id: "getDeviceQrCode",
    see: ("RFC 8628 section 3.3.1: non-textual verification", "https://www.rfc-editor.org/rfc/rfc8628#section-3.3.1"),
    requests: &[],
    fields: &[],
    success: Success { status: 200, description: "The picture.", headers: &[NO_STORE], examples: Vec::new },
    errors: |renderer| {
        let error = InvalidRequest::Missing("user_code").into();
        vec![ErrorExample { response: renderer.token_error(&error), body: renderer.token_error_body(&error) }]
    },
    notes: &[],
}];

/// The picture.
pub struct QrCodeEndpoint;

#[OpenApi]
impl QrCodeEndpoint {
    /// Draw the QR code of a login on a device
    ///
    /// An SVG picture of `verification_uri_complete` for the `user_code` in the query. Show the user code beside it: the
    /// person compares the two.
    #[oai(path = "/device/qr", method = "get", operation_id = "getDeviceQrCode", tag = "Tag::OAuth")]
    async fn draw(
        &self,
        Data(app): Data<&Arc<App>>,
        /// The code to draw.
        #[oai(name = "user_code")]
        _user_code: Query<Option<String>>,
        query: PageQuery,
    ) -> Picture {
        Picture(match picture(query, app.issuer.url()) {
            Ok(svg) => {
                let mut response = Response::builder().content_type(SVG).body(svg);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                no_store(&mut response);
                response
            }
            Err(error) => ErrorRenderer::new(app.issuer.url()).token_error(&error),
        })
    }
}

fn picture(query: PageQuery, issuer: &str) -> Result<String, TokenError> {
    let text = query.0?.take("user_code").ok_or(InvalidRequest::Missing("user_code"))?;
    let user_code = UserCode::parse(&text).ok_or(InvalidRequest::Malformed)?;
    draw(&format!("{issuer}/device?user_code={}", user_code.text()))
        .ok_or_else(|| TokenError::ServerError("the address is too long for a QR code".into()))
}

/// Black on white in every theme: some scanners read nothing else. One path, a run of dark squares a piece.
fn draw(text: &str) -> Option<String> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let size = code.size + 2 * QUIET;
    let mut path = String::new();
    for (y, row) in (0..code.size).map(|y| (y, &code[y][..code.size])) {
        let mut x = 0;
        while x < code.size {
            let run = row[x..].iter().take_while(|module| module.value()).count();
            if run > 0 {
                write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET).ok()?;
            }
            x += run.max(1);
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path d=\"{path}\"/></svg>"
    ))
}

/// A picture, or an error.
struct Picture(Response);

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        let picture = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType { content_type: SVG, schema: picture }],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_margin_and_the_corners_that_scanners_look_for() {
        let svg = draw("https://login.example.com/device?user_code=WDJB-MJHT").unwrap();
        // Version 4 is 33 squares wide; a corner begins with 7 dark ones.
        assert!(svg.contains("viewBox=\"0 0 41 41\""), "{svg}");
        assert!(svg.contains("d=\"M4 4h7v1h-7z"), "{svg}");
        assert!(svg.contains("M30 4h7v1h-7z"), "{svg}");
        assert!(draw(&"x".repeat(5_000)).is_none());
    }
}
