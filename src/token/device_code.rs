//! The two codes of a device authorization
//! ([RFC 8628 §3.2](https://www.rfc-editor.org/rfc/rfc8628#section-3.2)): the user code that a person types, and the device
//! code that the device polls with.
//!
//! Not here: what a presented code leads to, see `grant/device_code.rs`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    envelope::{Envelope, EnvelopeKeys, EnvelopeSecret, Kind},
    refresh_token::FamilySecret,
};
use crate::{
    clock::random_bytes,
    ids::{DeviceId, GrantId, OwnerId},
    secret::{SealingKey, SecretText, ServerSecret},
};

const KIND: Kind = Kind { prefix: "dc_", domain: b"dc1", purpose: b"device codes" };

/// Nobody: who it is for is not known yet.
const NOBODY: OwnerId = OwnerId([0; 16]);

/// RFC 8628 §6.1: no vowels, so no words; no digits, and nothing that looks like another letter. Eight of them are 34.6
/// bits, which is enough only because guesses are counted.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The context of a sealed user code.
const TICKET: &[u8] = b"device ticket";

/// The code that a person types.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; 8]);

impl UserCode {
    /// A new, unpredictable code.
    pub fn random() -> Self {
        let mut code = [0; 8];
        let mut filled = 0;
        while filled < code.len() {
            for byte in random_bytes::<16>() {
                // 240 is the largest multiple of 20 in a byte: beyond it the first letters would be likelier.
                if byte < 240 && filled < code.len() {
                    code[filled] = ALPHABET[usize::from(byte % 20)];
                    filled += 1;
                }
            }
        }
        Self(code)
    }

    /// Reads what a person typed: in any case, with or without spaces and dashes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let dash = |c: char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '_' | '.');
        let letters = text.chars().filter(|c| !dash(*c)).map(|c| u8::try_from(c.to_ascii_uppercase()).ok());
        let letters: Vec<u8> = letters.collect::<Option<_>>()?;
        let code = <[u8; 8]>::try_from(letters).ok()?;
        code.iter().all(|letter| ALPHABET.contains(letter)).then_some(Self(code))
    }

    /// As it is shown: `XXXX-XXXX`.
    pub fn text(&self) -> String {
        let letters = self.0.map(char::from);
        letters[..4].iter().chain(&['-']).chain(&letters[4..]).collect()
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(redacted)")
    }
}

/// A device code whose MAC is right: this deployment issued it.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// The record that it names.
    pub id: DeviceId,
    secret: EnvelopeSecret,
}

impl DeviceCode {
    /// A new code for a record.
    pub fn random(id: DeviceId) -> Self {
        Self { id, secret: EnvelopeSecret::random() }
    }

    /// What the store keeps.
    pub fn secret_hash(&self) -> [u8; 32] {
        self.secret.hash()
    }
}

/// The keys of device authorizations.
#[derive(Debug)]
pub struct DeviceCodes {
    texts: EnvelopeKeys,
    addresses: hmac::Key,
    grants: hmac::Key,
    attempts: hmac::Key,
    tickets: SealingKey,
}

impl DeviceCodes {
    /// Derives the keys.
    pub fn new(secret: &ServerSecret) -> Self {
        Self {
            texts: EnvelopeKeys::new(KIND, secret),
            addresses: secret.mac_key(b"user codes"),
            grants: secret.mac_key(b"grants of device codes"),
            attempts: secret.mac_key(b"guesses of user codes"),
            tickets: secret.sealing_key(b"user codes in addresses"),
        }
    }

    /// The address of the record with this user code. The hash is keyed: 34.6 bits are quickly tried out.
    pub fn address(&self, code: &UserCode) -> DeviceId {
        DeviceId(shortened(&self.addresses, &[&code.0]))
    }

    /// The code's text.
    pub fn encode(&self, code: &DeviceCode) -> SecretText {
        let envelope = Envelope { owner: NOBODY, record: code.id.0, counter: 0, secret: code.secret.clone() };
        self.texts.seal(&envelope, self.texts.current_id())
    }

    /// Reads a code that we issued; `None` for everything else, at the cost of no I/O.
    pub fn decode(&self, text: &str) -> Option<DeviceCode> {
        let envelope = self.texts.open(text)?;
        Some(DeviceCode { id: DeviceId(envelope.record), secret: envelope.secret })
    }

    /// The grant that comes of a code. It is computed, so that a poll whose answer was lost finds the same one, whatever
    /// of it had been stored.
    pub fn grant_of(&self, code: &DeviceCode) -> (GrantId, FamilySecret) {
        let id = shortened(&self.grants, &[b"grant", &code.id.0, code.secret.expose()]);
        let secret = mac(&self.grants, &[b"family", &code.id.0, code.secret.expose()]);
        let mut family = [0; 24];
        family.copy_from_slice(&secret.as_ref()[..24]);
        (GrantId(id), FamilySecret::computed(family))
    }

    /// Where the attempts of somebody are counted.
    pub fn bucket(&self, who: &[u8]) -> [u8; 16] {
        shortened(&self.attempts, &[who])
    }

    /// A user code for the address of a page, which no log and no browser history can read.
    pub fn seal(&self, code: &UserCode) -> String {
        URL_SAFE_NO_PAD.encode(self.tickets.seal(&code.0, TICKET))
    }

    /// Reads what [`seal`](Self::seal) made.
    pub fn open(&self, ticket: &str) -> Option<UserCode> {
        let sealed = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        Some(UserCode(self.tickets.open(&sealed, TICKET).ok()?.as_slice().try_into().ok()?))
    }
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

fn shortened(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&mac(key, parts).as_ref()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        assert_eq!(code.text(), "WDJB-MJHT");
        for typed in
            ["wdjbmjht", "WDJBMJHT", " wdjb mjht ", "w-d-j-b-m-j-h-t", "WDJB\u{2013}MJHT", "wdjb\t-\tmjht", "WDJB.MJHT"]
        {
            assert_eq!(UserCode::parse(typed).as_ref(), Some(&code), "{typed}");
        }
        for wrong in [
            "",
            "WDJB-MJH",
            "WDJB-MJHTT",
            "WDJB-MJHA",
            "WDJB-MJH0",
            "WDJB-MJHY",
            "WDJB/MJHT",
            "ẀDJB-MJHT",
            &"W".repeat(65),
        ] {
            assert_eq!(UserCode::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn user_codes_use_every_letter_and_nothing_else() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let code = UserCode::random();
            assert_eq!(UserCode::parse(&code.text()).as_ref(), Some(&code));
            seen.extend(code.0);
        }
        assert_eq!(seen.len(), ALPHABET.len());
    }

    #[test]
    fn a_device_code_reads_back_and_leads_to_one_grant() {
        let codes = DeviceCodes::new(&ServerSecret::generate());
        let code = DeviceCode::random(codes.address(&UserCode::random()));
        let text = codes.encode(&code);
        let read = codes.decode(text.expose()).unwrap();
        assert_eq!((read.id, read.secret_hash()), (code.id, code.secret_hash()));
        assert_eq!(codes.grant_of(&read).0, codes.grant_of(&code).0);
        assert_eq!(codes.grant_of(&read).1.hash(), codes.grant_of(&code).1.hash());
        let other = DeviceCode::random(code.id);
        assert_ne!(codes.grant_of(&other).0, codes.grant_of(&code).0);
        assert_ne!(codes.grant_of(&other).1.hash(), codes.grant_of(&code).1.hash());
        assert!(DeviceCodes::new(&ServerSecret::generate()).decode(text.expose()).is_none());
    }

    #[test]
    fn another_server_reads_no_address_of_a_page() {
        let codes = DeviceCodes::new(&ServerSecret::generate());
        let code = UserCode::random();
        let ticket = codes.seal(&code);
        assert_eq!(codes.open(&ticket), Some(code));
        assert_eq!(DeviceCodes::new(&ServerSecret::generate()).open(&ticket), None);
        assert_eq!(codes.open(&ticket[1..]), None);
    }
}
