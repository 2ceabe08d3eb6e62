//! Reads what a request asks access to: `scope` ([RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)),
//! `resource` ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)) and `audience`.
//!
//! Not here: what of it the client may have, see `grant/access.rs`.

use super::form::Form;
use crate::{
    error::{InvalidScope, TokenError},
    grant::access::RequestedAccess,
    resource,
    scope::Scope,
};

/// Takes the parameters out of a form. There is a `resource` for each resource, and an `audience` for one that is known
/// by a name.
///
/// # Errors
/// `invalid_scope`, `invalid_target`.
pub fn read(form: &mut Form) -> Result<RequestedAccess, TokenError> {
    let scope = form
        .take("scope")
        .map(|text| Scope::parse(&text))
        .transpose()
        .map_err(|_| TokenError::InvalidScope(InvalidScope::Malformed))?;
    let mut resources = Vec::new();
    for text in form.take_resources() {
        resources.push(resource::parse(&text)?);
    }
    resources.extend(form.take("audience"));
    Ok(RequestedAccess { scope, resources })
}
