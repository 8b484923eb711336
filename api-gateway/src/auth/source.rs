//! Where keys are read: a file, or an address of an identity provider. Neither may take long or be
//! large.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use saga::failure::chain;
use tokio::time::timeout;

use super::keys::Kind;

/// A hundred large keys.
const LARGEST: usize = 256 * 1024;
/// An answer that takes longer is none. Callers with a new key wait for it.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Reading a small file costs some microseconds, and a key that was taken out should not count for
/// much longer.
const FILE_EVERY: Duration = Duration::from_secs(2);
/// Identity providers publish a key some time before they use it. Taken out, it counts so long.
const ADDRESS_EVERY: Duration = Duration::from_secs(300);
/// Tokens with made-up keys must not make the gateway a burden on the disk or the provider.
const FILE_AT_MOST_EVERY: Duration = Duration::from_millis(100);
const ADDRESS_AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Where keys are, and what they are.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File(PathBuf, Kind),
    /// A key set at a URL.
    Address(Uri),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("{path:?} cannot be read")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0:?} is no URL")]
    NoUrl(String),
    #[error(
        "{0:?} is not https: whoever is on the way could replace the keys. http is for loopback \
         addresses only"
    )]
    NotSecret(String),
    #[error("{url} does not answer: {why}")]
    NoAnswer { url: Uri, why: String },
    #[error("there is more than {LARGEST} bytes; that is no key set")]
    TooLarge,
}

impl Origin {
    /// A key set at this path or URL.
    pub(crate) fn of_key_set(text: &str) -> Result<Self, SourceError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| matches!(scheme, "http" | "https")) {
            return Ok(Self::File(text.into(), Kind::KeySet));
        }
        let url: Uri = text
            .parse()
            .map_err(|_| SourceError::NoUrl(text.to_owned()))?;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost"
            || (host.parse::<std::net::IpAddr>()).is_ok_and(|address| address.is_loopback());
        match scheme == Some("https") || is_loopback {
            true => Ok(Self::Address(url)),
            false => Err(SourceError::NotSecret(text.to_owned())),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::File(_, kind) => *kind,
            Self::Address(_) => Kind::KeySet,
        }
    }

    /// Whether the gateway starts without it.
    pub(crate) fn may_be_away(&self) -> bool {
        matches!(self, Self::Address(_))
    }

    pub(crate) fn read_every(&self) -> Duration {
        match self {
            Self::File(..) => FILE_EVERY,
            Self::Address(_) => ADDRESS_EVERY,
        }
    }

    pub(crate) fn not_more_often_than(&self) -> Duration {
        match self {
            Self::File(..) => FILE_AT_MOST_EVERY,
            Self::Address(_) => ADDRESS_AT_MOST_EVERY,
        }
    }

    pub(crate) async fn read(&self) -> Result<Vec<u8>, SourceError> {
        match self {
            Self::File(path, _) => {
                let read = tokio::fs::read(path).await;
                let text = read.map_err(|source| SourceError::File {
                    path: path.clone(),
                    source,
                })?;
                match text.len() <= LARGEST {
                    true => Ok(text),
                    false => Err(SourceError::TooLarge),
                }
            }
            Self::Address(url) => match timeout(ANSWER_LIMIT, get(url)).await {
                Ok(answer) => answer,
                Err(_) => Err(no_answer(url, format!("not within {ANSWER_LIMIT:?}"))),
            },
        }
    }
}

/// A connection of its own each time: minutes lie between two. Redirects are not followed.
async fn get(url: &Uri) -> Result<Vec<u8>, SourceError> {
    let connector = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    let answer = client.get(url.clone()).await;
    let answer = answer.map_err(|error| no_answer(url, chain(&error)))?;
    if !answer.status().is_success() {
        return Err(no_answer(url, format!("the answer is {}", answer.status())));
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(SourceError::TooLarge),
        Err(error) => Err(no_answer(url, chain(error.as_ref()))),
    }
}

fn no_answer(url: &Uri, why: String) -> SourceError {
    let url = url.clone();
    SourceError::NoAnswer { url, why }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => write!(f, "{}", path.display()),
            Self::Address(url) => write!(f, "{url}"),
        }
    }
}
