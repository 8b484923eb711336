//! An error: RFC 9457 `application/problem+json` with a true HTTP status, which also carries the
//! original's `code` and `message`, and every field that was wrong.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::{Reason, SagaId};
use serde::Serialize;

use super::envelope::{RETRY_AFTER, saga_url};

/// The original's code and message of an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeedCode(pub(super) u16, pub(super) &'static str);

pub(super) const FORBIDDEN: SeedCode = SeedCode(403, "您没有访问权限！");
pub(super) const MESSAGE_HANDLING_FAILED: SeedCode = SeedCode(1001, "消息处理失败！");
pub(super) const BUSY: SeedCode = SeedCode(1002, "系统繁忙!");
pub(super) const INVALID_PARAMETER: SeedCode = SeedCode(1003, "无效的参数！");
pub(super) const NOT_FOUND: SeedCode = SeedCode(1007, "查询失败");

/// What a refusal is to the original's callers, and what it means.
const REFUSALS: [(Reason, &str, &str); 6] = [
    (
        Reason::ALREADY_REGISTERED,
        "用户已报名，请勿重复报名！",
        "the user already has a live registration for this ticket",
    ),
    (
        Reason::TICKET_NOT_FOUND,
        "用户票不存在！",
        "there is no such ticket to register with",
    ),
    (
        Reason::NOT_THE_USERS_TICKET,
        "该票不属于此用户！",
        "the ticket is another user's",
    ),
    (
        Reason::TICKET_DELETED,
        "该票已删除！",
        "the ticket is deleted",
    ),
    (
        Reason::TICKET_IN_USE,
        "该票已报名，不能修改！",
        "a registration has this ticket; cancel it first",
    ),
    (
        Reason::CHANGED_MEANWHILE,
        "数据已被修改，请重试！",
        "another request changed the registration in the same moment; send the request again",
    ),
];

/// One wrong field, and what to send instead.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FieldError {
    pub(super) field: String,
    pub(super) detail: String,
}

/// Boxed, because it is the unlikely half of every handler's result.
#[derive(Debug)]
pub(crate) struct Problem(Box<Members>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    code: u16,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    saga_id: Option<SagaId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    errors: Vec<FieldError>,
    /// What a caller must show to be let in.
    #[serde(skip)]
    challenge: Option<HeaderValue>,
}

impl Problem {
    /// `name` identifies the kind of problem: `kebab-case`, and stable.
    pub(super) fn new(
        status: StatusCode,
        name: &str,
        title: &'static str,
        SeedCode(code, message): SeedCode,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Members {
            kind: format!("/problems/{name}"),
            title,
            status,
            detail: detail.into(),
            instance: None,
            code,
            message: message.to_owned(),
            saga_id: None,
            reason: None,
            errors: Vec::new(),
            challenge: None,
        }))
    }

    pub(super) fn invalid(detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-parameter",
            "The request has invalid parameters",
            INVALID_PARAMETER,
            detail,
        );
        problem.0.errors = errors;
        problem
    }

    /// Nothing is wrong with the request; it may be sent again.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The system cannot do this now",
            BUSY,
            detail,
        )
    }

    /// The caller, unlike others, asks for too much.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "The caller asks for too much at a time",
            BUSY,
            detail,
        )
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "No such object",
            NOT_FOUND,
            detail,
        )
    }

    /// A step refused; what was done before is undone.
    pub(super) fn refused(reason: Option<&Reason>) -> Self {
        let (code, message, detail) = Self::about(reason);
        let mut problem = Self::new(
            StatusCode::CONFLICT,
            "refused",
            "The saga was refused",
            SeedCode(code, ""),
            detail,
        );
        problem.0.message = message;
        problem.0.reason = reason.cloned();
        problem
    }

    /// A reason without a line of its own shows as itself.
    fn about(reason: Option<&Reason>) -> (u16, String, String) {
        let known = REFUSALS.iter().find(|known| Some(&known.0) == reason);
        if let Some((_, message, detail)) = known {
            return (409, (*message).to_owned(), (*detail).to_owned());
        }
        match reason {
            Some(reason) if *reason == Reason::DEADLINE_EXCEEDED => (
                BUSY.0,
                "系统繁忙，报名已超时，请稍后重试！".to_owned(),
                "the saga was not started before its deadline; send the request again".to_owned(),
            ),
            Some(reason) => (
                409,
                reason.to_string(),
                format!("a step refused with the reason {reason}"),
            ),
            None => (
                MESSAGE_HANDLING_FAILED.0,
                MESSAGE_HANDLING_FAILED.1.to_owned(),
                "a step refused and gave no reason".to_owned(),
            ),
        }
    }

    pub(super) fn with_challenge(mut self, challenge: HeaderValue) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// The saga that this is about, with its address.
    pub(super) fn of_saga(mut self, saga_id: SagaId) -> Self {
        self.0.instance = Some(saga_url(saga_id));
        self.0.saga_id = Some(saga_id);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.0.status;
        let json = serde_json::to_vec(&self.0).expect("strings and numbers always serialize");
        let mut response = (status, json).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            let after = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        if let Some(challenge) = self.0.challenge {
            (response.headers_mut()).insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn status_number<S: serde::Serializer>(
    status: &StatusCode,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
