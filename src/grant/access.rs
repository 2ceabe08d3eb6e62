//! What a request asks access to, and what of it a client may have: `scope`
//! ([RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)) and `resource`
//! ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)).
//!
//! The authorization endpoints and the token endpoint share these rules.

use crate::{
    client::Client,
    error::{InvalidScope, InvalidTarget, TokenError},
    scope::Scope,
    token::Issuer,
};

/// What a request asks for.
#[derive(Clone, Debug, Default)]
pub struct RequestedAccess {
    /// The `scope` parameter.
    pub scope: Option<Scope>,
    /// The `resource` parameters and the `audience`; none asks for all.
    pub resources: Vec<String>,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedAccess {
    /// The scope.
    pub scope: Scope,
    /// The resources; empty means the server's own `audience`.
    pub audience: Vec<String>,
}

impl RequestedAccess {
    /// What the client may have of it: what was asked for, or all that the client is registered for.
    ///
    /// # Errors
    /// `invalid_scope`, `invalid_target`.
    pub fn grant(&self, client: &Client, issuer: &Issuer) -> Result<GrantedAccess, TokenError> {
        let scope = match &self.scope {
            None => client.scope.clone(),
            Some(scope) if scope.is_subset_of(&client.scope) => scope.clone(),
            Some(_) => return Err(TokenError::InvalidScope(InvalidScope::BeyondClient)),
        };
        Ok(GrantedAccess { scope, audience: self.audience(client, issuer)? })
    }

    /// The resources that were asked for, if the client may ask for them; all that it may ask for when the request
    /// names none. Empty for a client without resources of its own, which may name the server's.
    ///
    /// # Errors
    /// `invalid_target`.
    pub fn audience(&self, client: &Client, issuer: &Issuer) -> Result<Vec<String>, InvalidTarget> {
        let own = if client.audience.is_empty() { issuer.default_audience() } else { &client.audience };
        if !self.resources.iter().all(|resource| own.contains(resource)) {
            return Err(InvalidTarget::BeyondClient);
        }
        Ok(match client.audience.is_empty() {
            true => Vec::new(),
            false => crate::resource::narrow(own, &self.resources)?,
        })
    }
}
