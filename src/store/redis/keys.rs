//! The names of keys. Everything of one owner carries the hash tag `{owner}`, so it shares a cluster slot
//! and one script may touch all of it.

use std::fmt::{Arguments, Write as _};

use crate::ids::{ClientId, DeviceId, GrantId, OwnerId, SessionId};

/// Room for the longest name of a grant: a text that grows while it is written is made three times.
const NAME_BYTES: usize = 64;

fn name(parts: Arguments<'_>) -> String {
    let mut name = String::with_capacity(NAME_BYTES);
    // Writing to memory can't fail.
    let _ = name.write_fmt(parts);
    name
}

/// Pattern of all owners, for listings.
pub(super) const OWNERS: &str = "as:u:*";
/// Pattern of all clients, for listings.
pub(super) const CLIENTS: &str = "as:c:*";
/// The hash of sealed signing keys, by slot.
pub(super) const SIGNING_KEYS: &str = "as:jk";

/// What the key of every grant of an owner begins with; the grant's id follows.
pub(super) fn grant_prefix(owner: OwnerId) -> String {
    name(format_args!("as:g:{{{owner}}}:"))
}

pub(super) fn grant(owner: OwnerId, id: GrantId) -> String {
    let mut name = grant_prefix(owner);
    // Writing to memory can't fail.
    let _ = write!(name, "{id}");
    name
}

pub(super) fn owner(id: OwnerId) -> String {
    name(format_args!("as:u:{{{id}}}"))
}

/// What is counted of guesses of a password.
pub(super) fn throttle(owner: OwnerId) -> String {
    format!("as:t:{{{owner}}}")
}

/// A code that may become the grant of that id.
pub(super) fn code(owner: OwnerId, id: GrantId) -> String {
    format!("as:ac:{{{owner}}}:{id}")
}

pub(super) fn grants_of(owner: OwnerId) -> String {
    format!("as:ug:{{{owner}}}")
}

/// What the key of every session of an owner begins with; the session's id follows.
pub(super) fn session_prefix(owner: OwnerId) -> String {
    format!("as:s:{{{owner}}}:")
}

pub(super) fn session(owner: OwnerId, id: SessionId) -> String {
    format!("{}{id}", session_prefix(owner))
}

pub(super) fn sessions_of(owner: OwnerId) -> String {
    format!("as:us:{{{owner}}}")
}

pub(super) fn consents_of(owner: OwnerId) -> String {
    format!("as:cs:{{{owner}}}")
}

/// An access token that is denied, by its `jti`.
pub(super) fn denial(jti: &str) -> String {
    format!("as:rj:{jti}")
}

pub(super) fn device(id: DeviceId) -> String {
    format!("as:d:{id}")
}

/// A counter of attempts: who tries, and in which stretch of time.
pub(super) fn attempts(bucket: DeviceId, stretch: i64) -> String {
    format!("as:dg:{bucket}:{stretch}")
}

pub(super) fn client(id: &ClientId) -> String {
    format!("as:c:{id}")
}
