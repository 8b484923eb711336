//! Tokens as an identity provider makes them, good and bad, and its keys as it publishes them.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use api_gateway::AuthConfig;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents as RsaPublicKeyComponents;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

/// For tests only; made with `openssl genpkey`.
const RSA_KEY: &[u8] = include_bytes!("rsa_test_key.der");
pub(crate) const SECRET: &str = "a secret of tests that is long enough";
pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "tickets";

/// A key that signs tokens.
pub(crate) enum Signer {
    Secret(String),
    Ed25519(&'static str, Box<Ed25519KeyPair>),
    Rsa(&'static str, Box<RsaKeyPair>),
}

impl Signer {
    pub(crate) fn secret() -> Self {
        Self::Secret(SECRET.to_owned())
    }

    pub(crate) fn rsa(name: &'static str) -> Self {
        Self::Rsa(name, Box::new(RsaKeyPair::from_pkcs8(RSA_KEY).unwrap()))
    }

    /// A new key.
    pub(crate) fn ed25519(name: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        Self::Ed25519(name, Box::new(key))
    }

    /// A token as the provider makes it.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = match self {
            Self::Secret(_) => json!({"alg": "HS256", "typ": "JWT"}),
            Self::Ed25519(name, _) => json!({"alg": "EdDSA", "kid": name}),
            Self::Rsa(name, _) => json!({"alg": "RS256", "kid": name}),
        };
        self.token_with(&header, claims)
    }

    /// A token whose header may say anything.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Ed25519(_, key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(_, key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                );
                signed.unwrap();
                signature
            }
        }
    }

    /// The public key, as it is published.
    pub(crate) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Secret(_) => panic!("a secret is not published"),
            Self::Ed25519(name, key) => {
                let x = encode(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x, "use": "sig"})
            }
            Self::Rsa(name, key) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = key.public().into();
                let [n, e] = [parts.n, parts.e].map(|number| encode(&number));
                json!({"kty": "RSA", "kid": name, "n": n, "e": e, "alg": "RS256"})
            }
        }
    }
}

/// A part of a token.
pub(crate) fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

pub(crate) fn key_set(keys: &[&Signer]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({"keys": keys}).to_string()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What a good token claims.
pub(crate) fn claims(subject: &str, scope: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": [AUDIENCE, "another"],
        "sub": subject,
        "scope": scope,
        "exp": now() + 300,
    })
}

/// Files that a gateway reads its keys from.
pub(crate) struct KeyFiles(TempDir);

impl KeyFiles {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Takes tokens of the test's issuer for its audience, signed by these keys or its secret.
    pub(crate) fn config(&self, keys: &[&Signer]) -> AuthConfig {
        AuthConfig {
            jwt_keys: Some(self.write("keys.json", &key_set(keys))),
            jwt_secret_file: Some(self.write("secret", SECRET)),
            jwt_issuer: Some(ISSUER.to_owned()),
            jwt_audience: Some(AUDIENCE.to_owned()),
            insecure_no_auth: false,
        }
    }
}
