//! Passwords of people: normalised, hashed with argon2id, verified.
//! [RFC 8265 §4.2](https://www.rfc-editor.org/rfc/rfc8265#section-4.2),
//! [RFC 9106](https://www.rfc-editor.org/rfc/rfc9106).
//!
//! Not here: the threads that hash, see `resource_owner/hash_pool.rs`.

use std::fmt;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use precis_profiles::{OpaqueString, precis_core::profile::PrecisFastInvocation};
use zeroize::Zeroizing;

use crate::{clock::random_bytes, config::Passwords};

/// Longest password in characters, and longest form in bytes: an upper bound on the work before the hash.
const MAX_CHARACTERS: usize = 256;
const MAX_BYTES: usize = 1024;

/// A password in the normal form of RFC 8265 `OpaqueString`.
pub struct Password(Zeroizing<String>);

/// Why a text can't be a password. At the token endpoint each is a wrong password (`invalid_grant`).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Over 256 characters or 1,024 bytes.
    #[error("a password has at most 256 characters")]
    TooLong,
    /// Empty, or with control characters.
    #[error("a password must not be empty or contain control characters")]
    Forbidden,
    /// Shorter than `passwords.minimum_length`; only for new passwords.
    #[error("a password needs at least {0} characters")]
    TooShort(usize),
}

impl Password {
    /// Normalises what somebody typed.
    ///
    /// # Errors
    /// [`InvalidPassword`].
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        if text.len() > MAX_BYTES || text.chars().count() > MAX_CHARACTERS {
            return Err(InvalidPassword::TooLong);
        }
        let normal = OpaqueString::enforce(text).map_err(|_| InvalidPassword::Forbidden)?;
        Ok(Self(Zeroizing::new(normal.into_owned())))
    }

    /// Normalises a new password, which must not be too short.
    ///
    /// # Errors
    /// [`InvalidPassword`].
    pub fn parse_new(text: &str, minimum_length: usize) -> Result<Self, InvalidPassword> {
        let password = Self::parse(text)?;
        if password.0.chars().count() < minimum_length {
            return Err(InvalidPassword::TooShort(minimum_length));
        }
        Ok(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// How a password check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right; `rehash` is its hash under the current parameters, when those have changed.
    Right {
        /// A PHC string to store instead.
        rehash: Option<String>,
    },
    /// It is wrong.
    Wrong,
}

/// Hashes and verifies in memory that it keeps. One for each thread of the pool.
pub struct Hasher {
    params: Params,
    memory: Vec<Block>,
    nobody: PasswordHash,
}

/// The parameters don't form an argon2id configuration, or a stored hash is damaged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("argon2id: {0}")]
pub struct HashError(pub(super) String);

impl Hasher {
    /// A hasher with the configured parameters.
    ///
    /// # Errors
    /// [`HashError`] when argon2 refuses them.
    pub fn new(settings: &Passwords) -> Result<Self, HashError> {
        let params = Params::new(settings.memory_kib, settings.iterations, settings.parallelism, Some(32))
            .map_err(|error| HashError(error.to_string()))?;
        let mut hasher = Self { nobody: assemble(&params, &[0; 16], &[0; 32])?, params, memory: Vec::new() };
        // The arena is paid for at start, not by the first login.
        hasher.arena(hasher.params.block_count());
        Ok(hasher)
    }

    /// The PHC string of a new password, with a random salt.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn hash(&mut self, password: &Password) -> Result<String, HashError> {
        let salt: [u8; 16] = random_bytes();
        let params = self.params.clone();
        let output = self.digest(password, &salt, &params)?;
        Ok(assemble(&params, &salt, &output)?.to_string())
    }

    /// Compares a password with a stored PHC string. `None` stands for a user who does not exist or has no
    /// usable password: the same work is done, and the verdict is [`Verdict::Wrong`].
    ///
    /// # Errors
    /// [`HashError`] when the stored string is damaged.
    pub fn verify(&mut self, password: Option<&Password>, stored: Option<&str>) -> Result<Verdict, HashError> {
        let nobodys = Password(Zeroizing::new(String::from("nobody")));
        let known = stored.is_some() && password.is_some();
        let phc = match stored {
            Some(text) => PasswordHash::new(text).map_err(|error| HashError(error.to_string()))?,
            None => self.nobody.clone(),
        };
        let params = Params::try_from(&phc).map_err(|error| HashError(error.to_string()))?;
        let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
            return Err(HashError("no salt or no hash".into()));
        };
        let password = password.unwrap_or(&nobodys);
        let output = self.digest(password, salt, &params)?;
        let equal = verify_slices_are_equal(&output, expected.as_bytes()).is_ok();
        if !(equal && known) {
            return Ok(Verdict::Wrong);
        }
        let outdated = (params.m_cost(), params.t_cost(), params.p_cost())
            != (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        Ok(Verdict::Right { rehash: if outdated { Some(self.hash(password)?) } else { None } })
    }

    fn digest(&mut self, password: &Password, salt: &[u8], params: &Params) -> Result<[u8; 32], HashError> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut output = [0; 32];
        argon2
            .hash_password_into_with_memory(password.0.as_bytes(), salt, &mut output, self.arena(params.block_count()))
            .map_err(|error| HashError(error.to_string()))?;
        Ok(output)
    }

    fn arena(&mut self, blocks: usize) -> &mut [Block] {
        if self.memory.len() < blocks {
            self.memory.resize(blocks, Block::default());
        }
        &mut self.memory
    }
}

fn assemble(params: &Params, salt: &[u8], output: &[u8]) -> Result<PasswordHash, HashError> {
    let broken = |error: &dyn fmt::Display| HashError(error.to_string());
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|e| broken(&e))?,
        salt: Some(Salt::new(salt).map_err(|e| broken(&e))?),
        hash: Some(Output::new(output).map_err(|e| broken(&e))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(memory_kib: u32) -> Hasher {
        Hasher::new(&Passwords { memory_kib, iterations: 1, ..Passwords::default() }).unwrap()
    }

    #[test]
    fn a_password_verifies_in_every_form_that_looks_the_same() {
        let mut hasher = hasher(64);
        let stored = hasher.hash(&Password::parse("caf\u{e9}\u{a0}au lait").unwrap()).unwrap();
        let typed = Password::parse("cafe\u{301} au lait").unwrap();
        assert_eq!(hasher.verify(Some(&typed), Some(&stored)).unwrap(), Verdict::Right { rehash: None });
        let wrong = Password::parse("cafe au lait").unwrap();
        assert_eq!(hasher.verify(Some(&wrong), Some(&stored)).unwrap(), Verdict::Wrong);
        assert_eq!(hasher.verify(Some(&wrong), None).unwrap(), Verdict::Wrong);
        assert_eq!(hasher.verify(None, Some(&stored)).unwrap(), Verdict::Wrong);
    }

    #[test]
    fn changed_parameters_give_a_rehash_that_verifies() {
        let password = Password::parse("correct horse").unwrap();
        let old = hasher(64).hash(&password).unwrap();
        let mut newer = hasher(128);
        let Verdict::Right { rehash: Some(rehash) } = newer.verify(Some(&password), Some(&old)).unwrap() else {
            panic!("a rehash was due");
        };
        assert!(rehash.contains("m=128"));
        assert_eq!(newer.verify(Some(&password), Some(&rehash)).unwrap(), Verdict::Right { rehash: None });
    }

    #[test]
    fn texts_that_no_password_can_be() {
        assert_eq!(Password::parse("").err(), Some(InvalidPassword::Forbidden));
        assert_eq!(Password::parse("a\u{0}b").err(), Some(InvalidPassword::Forbidden));
        assert_eq!(Password::parse(&"x".repeat(257)).err(), Some(InvalidPassword::TooLong));
        assert_eq!(Password::parse_new("short", 8).err(), Some(InvalidPassword::TooShort(8)));
        assert_eq!(format!("{:?}", Password::parse("secret").unwrap()), "Password(redacted)");
    }
}
