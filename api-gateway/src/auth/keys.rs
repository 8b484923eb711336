//! The keys that sign tokens, as a file or an address has them now. They change without a restart:
//! each source is read again from time to time, and at once for a token that no known key has
//! signed, though not more often than the source can bear. While it cannot be read, what was read
//! last counts.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use saga::Tasks;
use saga::failure::chain;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::source::{Origin, SourceError};

/// A key that may have signed a token, in one way.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The `kid`. A key without one is tried for every token.
    pub(crate) name: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The shortest secret that is as hard to guess as its signature (RFC 7518).
const SHORTEST_SECRET: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("this is no JSON Web Key Set")]
    NoKeySet(#[from] serde_json::Error),
    #[error("there is no key for RS256 or EdDSA in it")]
    Empty,
    #[error("the secret has {0} bytes; HS256 needs 32 at least")]
    ShortSecret(usize),
}

/// A file or an address with keys, and what was read there last.
pub(crate) struct Source {
    origin: Origin,
    /// `None` until the first time it was read.
    keys: RwLock<Option<Arc<[Key]>>>,
    last_try: Mutex<LastTry>,
}

#[derive(Debug, Default)]
struct LastTry {
    at: Option<Instant>,
    /// The last one that a token led to.
    for_token: Option<Instant>,
    failed: bool,
}

impl Source {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            keys: RwLock::default(),
            last_try: Mutex::default(),
        }
    }

    /// What was read last, if anything was.
    pub(crate) fn keys(&self) -> Option<Arc<[Key]>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Reads it for the first time. A file must be there; an address may come up later.
    pub(crate) async fn open(&self) -> Result<(), KeysError> {
        match self.read(&mut *self.last_try.lock().await).await {
            Err(problem) if self.origin.may_be_away() => {
                let error = chain(&problem);
                warn!(from = %self.origin, error, "no keys yet; no token is taken until there are");
                Ok(())
            }
            read => read,
        }
    }

    /// Reads it again for a token, unless that was done for another one a moment ago; says whether it
    /// was read since `asked`.
    pub(crate) async fn read_since(&self, asked: Instant) -> bool {
        let mut last = self.last_try.lock().await;
        if last.at.is_some_and(|at| at >= asked) {
            return true;
        }
        let limit = self.origin.not_more_often_than();
        if last.for_token.is_some_and(|at| at.elapsed() < limit) {
            return false;
        }
        last.for_token = Some(Instant::now());
        self.read_again(&mut last).await;
        true
    }

    /// Reads it from time to time, until the stop.
    pub(crate) fn keep_fresh(self: Arc<Self>, tasks: &Tasks) {
        let stop = tasks.stop_token();
        tasks.spawn(format!("keys of {}", self.origin), async move {
            loop {
                let pause = match self.keys() {
                    Some(_) => self.origin.read_every(),
                    None => self.origin.not_more_often_than(),
                };
                let pause = stop.run_until_cancelled(tokio::time::sleep(pause));
                if pause.await.is_none() {
                    return;
                }
                self.read_again(&mut *self.last_try.lock().await).await;
            }
        });
    }

    /// Says so when reading begins to fail, and when it works again.
    async fn read_again(&self, last: &mut LastTry) {
        let failed = last.failed;
        match self.read(last).await {
            Ok(()) if failed => info!(from = %self.origin, "the keys can be read again"),
            Err(problem) if !failed => {
                let error = chain(&problem);
                warn!(from = %self.origin, error, "the keys cannot be read; those read last count");
            }
            Ok(()) | Err(_) => {}
        }
    }

    async fn read(&self, last: &mut LastTry) -> Result<(), KeysError> {
        let read = match self.origin.read().await {
            Ok(text) => self.origin.kind().keys(&text),
            Err(problem) => Err(problem.into()),
        };
        last.at = Some(Instant::now());
        last.failed = read.is_err();
        let keys: Arc<[Key]> = read?.into();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        Ok(())
    }
}

/// What a source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    KeySet,
    Secret,
}

impl Kind {
    pub(super) fn keys(self, text: &[u8]) -> Result<Vec<Key>, KeysError> {
        match self {
            Self::KeySet => key_set(text),
            Self::Secret => secret(text).map(|key| vec![key]),
        }
    }
}

fn secret(text: &[u8]) -> Result<Key, KeysError> {
    // An editor ends the file with a line feed that is no part of the secret.
    let secret = text.trim_ascii_end();
    if secret.len() < SHORTEST_SECRET {
        return Err(KeysError::ShortSecret(secret.len()));
    }
    Ok(Key {
        name: None,
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret),
    })
}

/// Keys for something else, or in a form that is not known here, are passed over, as the RFC has it.
fn key_set(text: &[u8]) -> Result<Vec<Key>, KeysError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let Set { keys } = serde_json::from_slice(text)?;
    let known = keys.into_iter().filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let algorithm = algorithm(&jwk)?;
        Some(Key {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            name: jwk.common.key_id,
            algorithm,
        })
    });
    let known: Vec<_> = known.collect();
    match known.is_empty() {
        true => Err(KeysError::Empty),
        false => Ok(known),
    }
}

/// How the key signs tokens, if it does. A secret has no business in a set of public keys.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let named = jwk.common.key_algorithm;
    let fits = named.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    (signs && fits).then_some(algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<(String, Algorithm)>, String> {
        let keys = Kind::KeySet.keys(text.as_bytes());
        let keys = keys.map_err(|error| error.to_string())?;
        let name = |key: Key| (key.name.unwrap_or_default(), key.algorithm);
        Ok(keys.into_iter().map(name).collect())
    }

    #[test]
    fn only_keys_that_sign_with_rs256_or_eddsa_are_taken() {
        let text = r#"{"keys": [
            {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "named", "n": "AQAB", "e": "AQAB", "alg": "RS256", "use": "sig"},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "AQAB", "alg": "EdDSA"},
            {"kty": "RSA", "kid": "encrypts", "n": "AQAB", "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "kid": "pss", "n": "AQAB", "e": "AQAB", "alg": "PS256"},
            {"kty": "OKP", "kid": "other curve", "crv": "X25519", "x": "AQAB"},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
            {"kty": "oct", "kid": "secret", "k": "AQABAQABAQABAQABAQABAQABAQABAQABAQABAQABAQAB"},
            {"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"},
            {"kty": "new"}, 7, null
        ], "more": 1}"#;
        let taken = [
            ("rsa", Algorithm::RS256),
            ("named", Algorithm::RS256),
            ("ed", Algorithm::EdDSA),
        ];
        let taken = taken.map(|(name, algorithm)| (name.to_owned(), algorithm));
        assert_eq!(names(text).unwrap(), taken);
    }

    #[test]
    fn what_has_no_key_is_told_so() {
        for text in ["", "{", "[]", r#"{"keys": 7}"#] {
            let error = names(text).unwrap_err();
            assert!(error.contains("no JSON Web Key Set"), "{text}: {error}");
        }
        let error = names(r#"{"keys": [{"kty": "new"}]}"#).unwrap_err();
        assert!(error.contains("no key for RS256"), "{error}");
    }

    #[test]
    fn a_secret_ends_before_its_line_and_is_not_short() {
        let long = "0123456789abcdef0123456789abcdef";
        assert!(secret(format!("{long}\r\n").as_bytes()).is_ok());
        let error = secret(format!("{}\n", &long[1..]).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("31 bytes"), "{error}");
    }
}
