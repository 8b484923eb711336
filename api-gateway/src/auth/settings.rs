//! What is set about callers, and whether the gateway may listen where it is told to: without
//! authentication only on loopback, unless someone says that this is meant.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::keys::{Kind, Source};
use super::source::Origin;
use super::token::Wanted;
use super::{Auth, Tokens, signature};

/// How callers are told apart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// A JSON Web Key Set, as a file or a URL.
    pub jwt_keys: Option<String>,
    /// A file with the secret of HS256.
    pub jwt_secret_file: Option<String>,
    pub jwt_issuer: Option<String>,
    pub jwt_audience: Option<String>,
    /// Listens anywhere without authentication.
    pub insecure_no_auth: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(
        "without authentication everybody who reaches {0} may do everything, so only loopback is \
         served; set --jwt-keys or --jwt-secret-file, or say --insecure-no-auth if something in \
         front of the gateway lets only the right ones in"
    )]
    Open(SocketAddr),
    #[error("--insecure-no-auth and {0} contradict each other")]
    Contradiction(&'static str),
    #[error("{0} is set, but nothing to check tokens with; set --jwt-keys or --jwt-secret-file")]
    NoKeys(&'static str),
    #[error("the keys of {setting} cannot be used")]
    Keys {
        setting: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

const KEYS: &str = "--jwt-keys";
const SECRET: &str = "--jwt-secret-file";

impl AuthConfig {
    /// The settings that are set, by the names of their flags.
    fn set(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (KEYS, &self.jwt_keys),
            (SECRET, &self.jwt_secret_file),
            ("--jwt-issuer", &self.jwt_issuer),
            ("--jwt-audience", &self.jwt_audience),
        ];
        let set = all.into_iter().filter(|(_, value)| value.is_some());
        set.map(|(name, _)| name)
    }

    fn has_keys(&self) -> bool {
        self.jwt_keys.is_some() || self.jwt_secret_file.is_some()
    }

    /// Whether the gateway may listen there.
    pub(crate) fn allow(&self, listen: SocketAddr) -> Result<(), AuthError> {
        match (self.has_keys(), self.insecure_no_auth, self.set().next()) {
            (_, true, Some(name)) => Err(AuthError::Contradiction(name)),
            (false, false, Some(name)) => Err(AuthError::NoKeys(name)),
            (false, false, None) if !listen.ip().is_loopback() => Err(AuthError::Open(listen)),
            _ => Ok(()),
        }
    }

    /// Reads the keys.
    pub async fn open(&self) -> Result<Auth, AuthError> {
        if !self.has_keys() {
            return Ok(Auth::default());
        }
        signature::install();
        let mut sources = Vec::new();
        if let Some(keys) = &self.jwt_keys {
            let origin = Origin::of_key_set(keys).map_err(|source| failed(KEYS, source))?;
            sources.push(opened(KEYS, origin).await?);
        }
        if let Some(path) = &self.jwt_secret_file {
            let origin = Origin::File(path.into(), Kind::Secret);
            sources.push(opened(SECRET, origin).await?);
        }
        let wanted = Wanted {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        };
        Ok(Auth(Some(Arc::new(Tokens { sources, wanted }))))
    }
}

async fn opened(setting: &'static str, origin: Origin) -> Result<Arc<Source>, AuthError> {
    let source = Source::new(origin);
    let opened = source.open().await;
    opened.map_err(|problem| failed(setting, problem))?;
    Ok(Arc::new(source))
}

fn failed(
    setting: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> AuthError {
    let source = Box::new(source);
    AuthError::Keys { setting, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(config: &AuthConfig, listen: &str) -> Result<(), String> {
        let allowed = config.allow(listen.parse().expect("an address"));
        allowed.map_err(|error| error.to_string())
    }

    #[test]
    fn without_authentication_only_loopback_is_served_unless_told_so() {
        let open = AuthConfig::default();
        for loopback in ["127.0.0.1:8080", "[::1]:0", "127.9.9.9:1"] {
            allowed(&open, loopback).unwrap();
        }
        for anywhere in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            let error = allowed(&open, anywhere).unwrap_err();
            assert!(error.contains("--insecure-no-auth"), "{error}");
            let told = AuthConfig {
                insecure_no_auth: true,
                ..open.clone()
            };
            allowed(&told, anywhere).unwrap();
            let closed = AuthConfig {
                jwt_keys: Some("keys.json".to_owned()),
                ..open.clone()
            };
            allowed(&closed, anywhere).unwrap();
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let some = |text: &str| Some(text.to_owned());
        let both = AuthConfig {
            jwt_secret_file: some("secret"),
            insecure_no_auth: true,
            ..AuthConfig::default()
        };
        let error = allowed(&both, "127.0.0.1:0").unwrap_err();
        assert!(error.contains("--jwt-secret-file"), "{error}");
        let without_keys = AuthConfig {
            jwt_audience: some("tickets"),
            ..AuthConfig::default()
        };
        let error = allowed(&without_keys, "127.0.0.1:0").unwrap_err();
        assert!(error.contains("--jwt-audience is set"), "{error}");
    }
}
