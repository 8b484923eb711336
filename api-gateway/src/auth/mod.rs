//! Who calls: bearer tokens, and what they allow. Without a source of keys callers are not told
//! apart, everybody may do everything, and [`settings`] sees to it that only this machine can ask.

pub(crate) mod caller;
mod keys;
mod settings;
mod signature;
mod source;
pub(crate) mod token;

use std::sync::Arc;

use saga::Tasks;
use tokio::time::Instant;

pub(crate) use caller::{Caller, Foreign, Rights};
pub use settings::{AuthConfig, AuthError};

use crate::auth::keys::{Key, Source};
use crate::auth::token::{BadToken, Wanted};

/// How callers are told apart. Clones share the keys.
#[derive(Clone, Default)]
pub struct Auth(Option<Arc<Tokens>>);

struct Tokens {
    sources: Vec<Arc<Source>>,
    wanted: Wanted,
}

/// Why nobody is known to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotKnown {
    Token(BadToken),
    /// The keys could never be read yet.
    NoKeys,
}

impl Auth {
    /// Whether callers are told apart.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Reads the keys from time to time.
    pub(crate) fn keep_fresh(&self, tasks: &Tasks) {
        for source in self.0.iter().flat_map(|tokens| &tokens.sources) {
            Arc::clone(source).keep_fresh(tasks);
        }
    }

    /// Whose token it is.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, NotKnown> {
        match &self.0 {
            Some(tokens) => tokens.caller(token).await,
            None => Ok(Caller::anybody()),
        }
    }
}

impl Tokens {
    /// A signature that fits no key may be of a new one.
    async fn caller(&self, token: &str) -> Result<Caller, NotKnown> {
        let asked = Instant::now();
        match self.check(token) {
            Err(NotKnown::NoKeys | NotKnown::Token(BadToken::UnknownKey | BadToken::Signature))
                if self.read_since(asked).await =>
            {
                self.check(token)
            }
            checked => checked,
        }
    }

    fn check(&self, token: &str) -> Result<Caller, NotKnown> {
        let known: Vec<_> = (self.sources.iter())
            .filter_map(|source| source.keys())
            .collect();
        if known.is_empty() {
            return Err(NotKnown::NoKeys);
        }
        let keys: Vec<&Key> = known.iter().flat_map(|keys| keys.iter()).collect();
        token::check(token, &keys, &self.wanted).map_err(NotKnown::Token)
    }

    async fn read_since(&self, asked: Instant) -> bool {
        let mut any = false;
        for source in &self.sources {
            any |= source.read_since(asked).await;
        }
        any
    }
}
