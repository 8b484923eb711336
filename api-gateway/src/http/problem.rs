//! An error: RFC 9457 `application/problem+json` with a true HTTP status, which also carries the
//! original's `code` and `message`, and every field that was wrong. A handler says what is wrong in
//! every language; [`in_the_callers_language`] writes it down in the caller's.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::{Reason, SagaId};
use serde::Serialize;

use super::envelope::{RETRY_AFTER, saga_url};
use super::language::Language;
use super::texts::kinds::{self, ProblemKind};
use super::texts::{Text, refusals};

/// What the `type` of a problem begins with, and where its page is.
pub(super) const PAGES: &str = "/problems";

/// One wrong field, and what to send instead.
#[derive(Clone, Debug)]
pub(super) struct FieldError {
    pub(super) field: String,
    pub(super) detail: Text,
}

impl FieldError {
    pub(super) fn sentences(errors: &[Self]) -> Text {
        let told = |error: &Self| Text::of(&error.field, &error.detail);
        let told: Vec<Text> = errors.iter().map(told).collect();
        Text::sentences(&told)
    }
}

/// Boxed, because it is the unlikely half of every handler's result.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: &'static ProblemKind,
    detail: Text,
    code: u16,
    message: Text,
    saga_id: Option<SagaId>,
    reason: Option<Reason>,
    errors: Vec<FieldError>,
    /// What a caller must show to be let in.
    challenge: Option<HeaderValue>,
}

impl Problem {
    pub(super) fn new(kind: &'static ProblemKind, detail: impl Into<Text>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            code: kind.code.0,
            message: kind.code.1.into(),
            saga_id: None,
            reason: None,
            errors: Vec::new(),
            challenge: None,
        }))
    }

    pub(super) fn invalid(detail: impl Into<Text>, errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(&kinds::INVALID, detail);
        problem.0.errors = errors;
        problem
    }

    /// Nothing is wrong with the request; it may be sent again.
    pub(super) fn unavailable(detail: impl Into<Text>) -> Self {
        Self::new(&kinds::UNAVAILABLE, detail)
    }

    /// The caller, unlike others, asks for too much.
    pub(super) fn too_many(detail: impl Into<Text>) -> Self {
        Self::new(&kinds::TOO_MANY, detail)
    }

    pub(super) fn not_found(detail: impl Into<Text>) -> Self {
        Self::new(&kinds::NOT_FOUND, detail)
    }

    /// A step refused; what was done before is undone.
    pub(super) fn refused(reason: Option<&Reason>) -> Self {
        let (code, message, detail) = refusals::about(reason);
        let mut problem = Self::new(&kinds::REFUSED, detail);
        problem.0.code = code;
        problem.0.message = message;
        problem.0.reason = reason.cloned();
        problem
    }

    pub(super) fn with_challenge(mut self, challenge: HeaderValue) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// The saga that this is about, with its address.
    pub(super) fn of_saga(mut self, saga_id: SagaId) -> Self {
        self.0.saga_id = Some(saga_id);
        self
    }

    fn json(&self, language: Language) -> Vec<u8> {
        let parts = &self.0;
        let error = |error: &FieldError| ErrorMembers {
            field: error.field.clone(),
            detail: error.detail.get(language).to_owned(),
        };
        let members = Members {
            kind: format!("{PAGES}/{}", parts.kind.name),
            title: parts.kind.title.get(language),
            status: parts.kind.status,
            detail: parts.detail.get(language),
            instance: parts.saga_id.map(saga_url),
            code: parts.code,
            message: parts.message.get(language),
            saga_id: parts.saga_id,
            reason: parts.reason.as_ref(),
            errors: parts.errors.iter().map(error).collect(),
        };
        serde_json::to_vec(&members).expect("strings and numbers always serialize")
    }

    fn tell(&self, language: Language, response: &mut Response) {
        *response.body_mut() = Body::from(self.json(language));
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CONTENT_LANGUAGE, language.tag()),
            (header::VARY, "Accept-Language"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// On the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    code: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    saga_id: Option<SagaId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    errors: Vec<ErrorMembers>,
}

#[derive(Serialize)]
struct ErrorMembers {
    field: String,
    detail: String,
}

/// The body comes later, when it is known what the caller reads: the problem goes along until then.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status).expect("the table has real ones");
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if let Some(challenge) = &self.0.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Around everything that may answer with a problem.
pub(super) async fn in_the_callers_language(request: Request, next: Next) -> Response {
    let language = Language::preferred(request.headers());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        problem.tell(language, &mut response);
    }
    response
}
