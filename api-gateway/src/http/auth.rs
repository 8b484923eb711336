//! Before a handler runs: who sent the request (`Authorization: Bearer`, RFC 6750), and whether it is
//! one too many. Has the answers for who may not.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::UserId;
use tokio::time::Instant;

use super::Gateway;
use super::language::Language;
use super::problem::{FieldError, Problem};
use super::rates::{Who, seconds};
use super::server::Peer;
use super::texts::{Words, details, kinds};
use crate::auth::token::{BadToken, OPERATOR};
use crate::auth::{Caller, Foreign, NotKnown, Rights};

/// Need no token: those who watch over the gateway have none, nor has who reads how to get one.
const OPEN: [&str; 6] = [
    "/livez",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/problems",
    "/problems/{name}",
];

pub(super) fn is_open(route: &str) -> bool {
    OPEN.contains(&route)
}

/// Lets in who brings a good token, as [`Caller`], and does not send too much.
pub(super) async fn admit(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| is_open(route.as_str())) {
        return next.run(request).await;
    }
    let caller = match gateway.auth().is_on() {
        true => caller(&gateway, request.headers()).await.map(Some),
        false => from_no_foreign_page(&request).map(|()| None),
    };
    let Some(rates) = gateway.rates() else {
        return run(caller, request, next).await;
    };
    // Who brings a bad token pays as who is not told apart.
    let peer = request.extensions_mut().remove::<Peer>();
    let who = match &caller {
        Ok(Some(caller)) => Who::Subject(Arc::clone(&caller.subject)),
        Ok(None) | Err(_) => peer.map_or(Who::Others, |Peer(address)| Who::at(address)),
    };
    let taken = rates.take(who, Instant::now());
    let mut response = match taken.wait {
        None => run(caller, request, next).await,
        Some(wait) => too_often(wait),
    };
    rates.tell(&taken, response.headers_mut());
    response
}

/// Where nobody has to show who they are, any page that is open in a browser on this machine could
/// send changes. A browser names the page's site with each; who names none is no browser.
fn from_no_foreign_page(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let site = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if request.method().is_safe() || (host.is_some() && site.map(|(_, site)| site) == host) {
        return Ok(());
    }
    let (field, detail) = ("Origin".to_owned(), details::FROM_A_FOREIGN_PAGE.into());
    let told = details::of_header(&field, &details::FROM_A_FOREIGN_PAGE);
    Err(Problem::invalid(told, vec![FieldError { field, detail }]))
}

async fn run(
    caller: Result<Option<Caller>, Problem>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn too_often(wait: Duration) -> Response {
    let seconds = seconds(wait);
    let mut response = Problem::too_many(details::too_often(&seconds)).into_response();
    let after = HeaderValue::from(seconds);
    (response.headers_mut()).insert(header::RETRY_AFTER, after);
    response
}

async fn caller(gateway: &Gateway, headers: &HeaderMap) -> Result<Caller, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
    let Some(credentials) = given.next() else {
        return Err(missing());
    };
    if given.next().is_some() {
        return Err(bad(BadToken::Malformed));
    }
    let credentials = credentials.to_str();
    let credentials = credentials.map_err(|_| bad(BadToken::Malformed))?;
    match credentials.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let caller = gateway.auth().caller(token.trim()).await;
            caller.map_err(|problem| match problem {
                NotKnown::Token(why) => bad(why),
                NotKnown::NoKeys => Problem::unavailable(details::NO_KEYS_YET),
            })
        }
        _ => Err(missing()),
    }
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        match parts.extensions.get() {
            Some(caller) => Ok(Self::clone(caller)),
            None if gateway.auth().is_on() => Err(missing()),
            None => Ok(Self::anybody()),
        }
    }
}

impl Caller {
    /// Whether it may act for this user.
    pub(super) fn check(&self, user: UserId) -> Result<(), Problem> {
        Ok(self.rights.act_for(user)?)
    }

    /// Whether it may do what is about everybody.
    pub(super) fn check_operator(&self) -> Result<(), Problem> {
        match self.rights {
            Rights::All => Ok(()),
            Rights::Only(_) | Rights::None => Err(Foreign.into()),
        }
    }
}

impl From<Foreign> for Problem {
    fn from(Foreign: Foreign) -> Self {
        let header = format!("Bearer error=\"insufficient_scope\", scope=\"{OPERATOR}\"");
        Self::new(&kinds::FORBIDDEN, details::FOREIGN).with_challenge(challenge(&header))
    }
}

fn missing() -> Problem {
    unauthorized(details::NO_TOKEN, "Bearer")
}

/// RFC 6750 wants all of them called the same, and described in ASCII.
fn bad(why: BadToken) -> Problem {
    let why = details::of_token(why);
    let told = why.get(Language::English);
    let header = format!("Bearer error=\"invalid_token\", error_description=\"{told}\"");
    unauthorized(why, &header)
}

fn unauthorized(detail: Words, header: &str) -> Problem {
    Problem::new(&kinds::UNAUTHORIZED, detail).with_challenge(challenge(header))
}

fn challenge(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible ASCII is a header value")
}
