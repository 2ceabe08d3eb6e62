//! The `jti` of access tokens: a name, and behind a veil what introspection needs to find out whether the token still
//! counts. A resource server learns nothing from it, and no claim gives the resource owner's address away.
//!
//! Not here: the other claims, see `access_token.rs`.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    clock::random_bytes,
    ids::{GrantId, OwnerId},
    secret::ServerSecret,
    store::LiveGrant,
};

/// The keys that make names and veils.
#[derive(Debug)]
pub struct TokenIds {
    name: hmac::Key,
    /// By the id of the secret, the current one first.
    veils: Vec<(u8, hmac::Key)>,
}

impl TokenIds {
    /// Derives the keys.
    pub fn new(secret: &ServerSecret) -> Self {
        let veil = |secret: &ServerSecret| (secret.key_id(), secret.mac_key(b"access token veils"));
        Self { name: secret.mac_key(b"access token ids"), veils: secret.all().map(veil).collect() }
    }

    /// For a token of a grant: computed from what the token is for, so that a repeated answer names the same token and a
    /// replay inside the grace buys no second one. Behind the veil: the owner.
    pub fn of_grant(&self, owner: OwnerId, grant: GrantId, live: &LiveGrant) -> String {
        let mut context = hmac::Context::with_key(&self.name);
        context.update(&grant.0);
        context.update(&live.generation.to_be_bytes());
        // Under `keep` a generation is used many times; each use is an issue time of its own.
        context.update(&live.current_since.0.to_be_bytes());
        // Neither a scope nor a resource holds a NUL.
        for part in std::iter::once(live.scope.as_str()).chain(live.audience.iter().map(String::as_str)) {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        let mut name = [0; 16];
        name.copy_from_slice(&context.sign().as_ref()[..16]);
        self.text(name, owner.0)
    }

    /// For a token that no grant stands behind. Behind the veil: the client's epoch.
    pub fn of_client(&self, client_epoch: u64) -> String {
        self.text(random_bytes(), u128::from(client_epoch).to_be_bytes())
    }

    /// The owner behind the `jti` of a grant's token. Only for one whose signature was verified.
    pub fn owner(&self, jti: &str) -> Option<OwnerId> {
        self.unveil(jti).map(OwnerId)
    }

    /// The epoch behind the `jti` of a client's own token. Only for one whose signature was verified.
    pub fn client_epoch(&self, jti: &str) -> Option<u64> {
        u64::try_from(u128::from_be_bytes(self.unveil(jti)?)).ok()
    }

    fn text(&self, name: [u8; 16], hidden: [u8; 16]) -> String {
        let Some((key_id, key)) = self.veils.first() else { return String::new() };
        URL_SAFE_NO_PAD.encode([&[*key_id], name.as_slice(), &veil(key, name, hidden)].concat())
    }

    fn unveil(&self, jti: &str) -> Option<[u8; 16]> {
        let bytes: [u8; 33] = URL_SAFE_NO_PAD.decode(jti).ok()?.try_into().ok()?;
        let (key_id, rest) = bytes.split_first()?;
        let (name, veiled) = rest.split_at(16);
        let (_, key) = self.veils.iter().find(|(id, _)| id == key_id)?;
        Some(veil(key, name.try_into().ok()?, veiled.try_into().ok()?))
    }
}

/// Each name has a key stream of its own, and veils one value ever.
fn veil(key: &hmac::Key, name: [u8; 16], mut value: [u8; 16]) -> [u8; 16] {
    let stream = hmac::sign(key, &name);
    value.iter_mut().zip(stream.as_ref()).for_each(|(byte, veil)| *byte ^= veil);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_the_veil_comes_back_under_the_same_secret_only() {
        let (secret, other) = (ServerSecret::generate(), ServerSecret::generate());
        let jti = TokenIds::new(&secret).of_client(77);
        assert_eq!(jti.len(), 44);
        assert_eq!(TokenIds::new(&secret).client_epoch(&jti), Some(77));
        assert_ne!(TokenIds::new(&other).client_epoch(&jti), Some(77));
        for broken in ["", "x", &jti[1..]] {
            assert_eq!(TokenIds::new(&secret).client_epoch(broken), None);
        }
    }
}
