//! Reads the body of a request: up to a limit, within a time, and only if it is what the endpoint takes.
//!
//! Not here: what it says, see `form.rs` and `json_body.rs`.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, LengthLimitError, Limited, combinators::BoxBody};
use poem::{
    Request, RequestBody,
    http::{HeaderMap, header},
};
use tokio::time::timeout;

use crate::{App, error::InvalidRequest};

/// The largest body that is read, bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// The time that a body may take, `limits.body_seconds`.
pub fn time(request: &Request) -> Duration {
    request.data::<Arc<App>>().map_or(Duration::ZERO, |app| app.body_timeout)
}

/// Reads the body as it is.
///
/// # Errors
/// `invalid_request`: too large, broken off, or not there in time.
pub async fn read(
    body: &mut RequestBody,
    time: Duration,
) -> Result<impl AsRef<[u8]> + Into<Vec<u8>> + use<>, InvalidRequest> {
    let body: BoxBody<_, io::Error> = body.take().map_err(|_| InvalidRequest::BodyUnreadable)?.into();
    let read = Limited::new(body, MAX_BODY_BYTES).collect();
    match timeout(time, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(InvalidRequest::BodyTooLarge),
        Ok(Err(_)) | Err(_) => Err(InvalidRequest::BodyUnreadable),
    }
}

/// Whether the body is said to be of a media type, whatever its parameters.
pub fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    said.and_then(|text| text.split(';').next()).is_some_and(|kind| kind.trim().eq_ignore_ascii_case(media_type))
}
