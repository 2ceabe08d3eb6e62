//! How long the refresh tokens of a client live: what the client is registered with, and the server's settings for the
//! rest.
//!
//! Not here: whether a use replaces the token, see `store/decide.rs`.

use super::{Client, ClientType, GrantType};
use crate::{config::Lifetimes, store::RotationPolicy};

/// The longest life of a grant, seconds: a year, as for the server's own setting.
const LONGEST_ABSOLUTE: u32 = 366 * 24 * 3600;
/// The longest grace, seconds.
const LONGEST_GRACE: u32 = 3600;

/// The lifetimes that a new grant of a client gets, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// Of a refresh token that nobody uses.
    pub idle_seconds: u32,
    /// Of the grant, however often it is refreshed.
    pub absolute_seconds: u32,
    /// How long the previous refresh token is accepted again.
    pub grace_seconds: u32,
}

impl RefreshPolicy {
    /// What holds for a client now. Where its registration does not fit the server's settings any more, the shorter life
    /// wins: nothing lives longer than either of them says.
    pub fn of(client: &Client, server: &Lifetimes) -> Self {
        let absolute = client.refresh_absolute_seconds.unwrap_or(server.refresh_absolute_seconds).min(LONGEST_ABSOLUTE);
        let grace = client.grace_seconds.unwrap_or(server.grace_seconds);
        Self {
            idle_seconds: client.refresh_idle_seconds.unwrap_or(server.refresh_idle_seconds).min(absolute),
            absolute_seconds: absolute,
            grace_seconds: grace.min(server.access_token_seconds).min(LONGEST_GRACE),
        }
    }

    /// Checks a registration against itself and the server's settings.
    ///
    /// # Errors
    /// For the operator: the field, and what does not fit.
    pub fn check(client: &Client, server: &Lifetimes) -> Result<(), (&'static str, String)> {
        let own = [client.refresh_idle_seconds, client.refresh_absolute_seconds, client.grace_seconds];
        let wrong = |field, problem: String| Err((field, problem));
        if !client.may_use(GrantType::RefreshToken) {
            return if own.iter().any(Option::is_some) {
                wrong("grant_types", "lifetimes of refresh tokens need the refresh_token grant".into())
            } else {
                Ok(())
            };
        }
        if client.rotation == RotationPolicy::Keep {
            // RFC 9700 §2.2.2: refresh tokens of public clients MUST be sender-constrained or rotated.
            if client.client_type == ClientType::Public {
                return wrong("rotation", "keep is for confidential clients (RFC 9700 section 2.2.2)".into());
            }
            if client.grace_seconds.is_some() {
                return wrong("grace_seconds", "means nothing when the rotation is keep: no token is replaced".into());
            }
        }
        let access = server.access_token_seconds;
        let policy = Self::of(client, server);
        if client.grace_seconds.is_some_and(|grace| grace > policy.grace_seconds) {
            let problem = format!("must be at most the life of an access token ({access}) and at most {LONGEST_GRACE}");
            return wrong("grace_seconds", problem);
        }
        if client.refresh_absolute_seconds.is_some_and(|absolute| absolute > LONGEST_ABSOLUTE) {
            return wrong("refresh_absolute_seconds", "must be at most a year".into());
        }
        if client.refresh_idle_seconds.is_some_and(|idle| idle > policy.absolute_seconds) {
            let problem = format!("must be at most the life of the grant ({})", policy.absolute_seconds);
            return wrong("refresh_idle_seconds", problem);
        }
        if u64::from(policy.idle_seconds) < 2 * u64::from(access) {
            let problem = format!(
                "an unused refresh token would live {} seconds, and must live at least twice as long as an access token \
                 ({access}), or clients that refresh on time are logged out",
                policy.idle_seconds
            );
            return wrong("refresh_idle_seconds", problem);
        }
        Ok(())
    }
}
