//! A grant as Redis keeps it: one string, written and changed by the scripts only. Its form is described in `lua/grant.lua`.

use crate::{
    clock::Timestamp,
    ids::{ClientId, Subject},
    resource,
    scope::Scope,
    store::{
        Delivery, GrantRecord, GrantStatus, LiveGrant, Origin, Presented, RevocationReason, RotationPolicy, StoreError,
        TOMBSTONE_MS,
    },
};

use super::records::{cookie_mode, corrupt, join_audience, split_audience};

/// Room for the request of most rotations.
const REQUEST_BYTES: usize = 160;

/// Reads what Lua's `struct` packed: big-endian numbers, and texts behind their lengths.
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(|| corrupt("a record breaks off"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A number of so many bytes, at most 8.
    fn number<T: TryFrom<u64>>(&mut self, size: usize) -> Result<T, StoreError> {
        let number = self.bytes(size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        T::try_from(number).map_err(|_| corrupt("a number is too large"))
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.number(6).map(Timestamp)
    }

    /// A text whose length has so many bytes.
    fn text(&mut self, size: usize) -> Result<&'a str, StoreError> {
        let length = self.number(size)?;
        str::from_utf8(self.bytes(length)?).map_err(|_| corrupt("a record's text is not UTF-8"))
    }

    fn origin(&mut self) -> Result<Origin, StoreError> {
        // Its length, for the scripts.
        self.bytes(2)?;
        Ok(Origin { address: self.text(1)?.to_owned(), agent: self.text(1)?.to_owned() })
    }

    fn scope(&mut self) -> Result<Scope, StoreError> {
        Scope::parse(self.text(2)?).map_err(|_| corrupt("scope"))
    }
}

/// Where a request came from, as the scripts take it and store it.
pub(super) fn origin(from: &Origin) -> Vec<u8> {
    let mut packed = Vec::with_capacity(2 + from.address.len() + from.agent.len());
    pack_text(&mut packed, &from.address);
    pack_text(&mut packed, &from.agent);
    packed
}

/// A text of at most 255 bytes behind its length.
fn pack_text(packed: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    packed.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    packed.extend_from_slice(text);
}

/// The lowest `SIZE` bytes of a number.
fn pack_number<const SIZE: usize>(packed: &mut Vec<u8>, number: i64) {
    packed.extend_from_slice(&number.to_be_bytes()[8 - SIZE..]);
}

/// Who presents a refresh token, as the grant has its holder.
pub(super) fn holder(presented: &Presented) -> Vec<u8> {
    let mut packed = Vec::with_capacity(32 + 1 + 1 + presented.client_id.as_str().len() + 7);
    packed.extend_from_slice(&presented.family_hash);
    packed.push(cookie_mode(presented.delivery));
    pack_text(&mut packed, presented.client_id.as_str());
    pack_number::<7>(&mut packed, presented.client_epoch.cast_signed());
    packed
}

/// The request that `rotate.lua` takes, with its numbers.
pub(super) fn request(presented: &Presented, deadline: Timestamp, clock_offset_ms: i64) -> Vec<u8> {
    let audience = join_audience(&presented.requested_audience);
    let mut packed = Vec::with_capacity(REQUEST_BYTES);
    packed.extend_from_slice(&presented.generation.to_be_bytes());
    pack_number::<6>(&mut packed, deadline.0);
    pack_number::<6>(&mut packed, presented.access_token_lifetime_ms);
    packed.push(presented.new_key_id);
    packed.push(u8::from(presented.rotation == RotationPolicy::Rotate));
    pack_number::<6>(&mut packed, TOMBSTONE_MS);
    pack_number::<6>(&mut packed, clock_offset_ms);
    for text in [
        origin(&presented.from).as_slice(),
        presented.requested_scope.as_ref().map_or("", Scope::as_str).as_bytes(),
        audience.as_bytes(),
    ] {
        pack_number::<2>(&mut packed, i64::try_from(text.len()).unwrap_or(i64::MAX));
        packed.extend_from_slice(text);
    }
    packed
}

/// The record of a grant.
pub(super) fn grant(stored: &[u8]) -> Result<GrantRecord, StoreError> {
    let mut packed = Packed(stored);
    let status = match packed.bytes(1)? {
        b"A" => GrantStatus::Active,
        b"R" => {
            let reason = RevocationReason::parse(packed.text(1)?).ok_or_else(|| corrupt("unknown reason"))?;
            let status = GrantStatus::Revoked { reason, at: packed.time()?, from: packed.origin()? };
            packed.bytes(1)?;
            status
        }
        _ => return Err(corrupt("unknown grant status")),
    };
    // In the order in which they are stored.
    let (generation, key_id, used_in_place) = (packed.number(4)?, packed.number(1)?, packed.number::<u8>(1)? == 1);
    let (current_since, access_expires_at) = (packed.time()?, packed.time()?);
    let (repeats, last_used_from) = (packed.number(4)?, packed.origin()?);
    let family_hash = packed.bytes(32)?.try_into().map_err(|_| corrupt("family hash"))?;
    let delivery = if packed.number::<u8>(1)? == 1 { Delivery::Cookie } else { Delivery::Body };
    let client_id = ClientId::parse(packed.text(1)?).map_err(|_| corrupt("client_id"))?;
    let (client_epoch, owner_epoch) = (packed.number(7)?, packed.number(7)?);
    let (created_at, absolute_expiry) = (packed.time()?, packed.time()?);
    let (idle_ms, grace_ms) = (packed.number(6)?, packed.number(6)?);
    let (scope, audience) = (packed.scope()?, split_audience(packed.text(2)?));
    Ok(GrantRecord {
        status,
        family_hash,
        generation,
        key_id,
        current_since,
        created_at,
        absolute_expiry,
        idle_ms,
        grace_ms,
        client_id,
        owner_epoch,
        client_epoch,
        scope,
        audience,
        delivery,
        access_expires_at,
        used_in_place,
        repeats,
        last_used_from,
    })
}

/// What `live` of `lua/grant.lua` answers: its code, and the grant that the tokens come of, with the scope and the resources
/// of this request.
pub(super) fn live<'a>(
    answer: &'a [u8],
    requested_scope: Option<&Scope>,
    requested_audience: &[String],
) -> Result<(&'a [u8], LiveGrant), StoreError> {
    let mut packed = Packed(answer);
    let (code, now) = (packed.bytes(2)?, packed.time()?);
    let (generation, key_id) = (packed.number(4)?, packed.number(1)?);
    let (current_since, expires_at, absolute_expiry) = (packed.time()?, packed.time()?, packed.time()?);
    let subject = Subject(packed.text(1)?.to_owned());
    let (granted, audience) = (packed.scope()?, split_audience(packed.text(2)?));
    let live = LiveGrant {
        now,
        generation,
        key_id,
        current_since,
        expires_at,
        absolute_expiry,
        scope: requested_scope.cloned().unwrap_or(granted),
        audience: resource::narrow(&audience, requested_audience).map_err(|_| corrupt("audience"))?,
        subject,
    };
    Ok((code, live))
}
