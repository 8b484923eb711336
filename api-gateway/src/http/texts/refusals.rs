//! Why a saga is refused: what the original's callers know as its message, and what it means.

use events::Reason;

use super::kinds::{BUSY_CODE, REFUSED};
use super::{Text, Words, details, words};

/// A reason that callers should read as more than its code.
pub(in crate::http) struct Refusal {
    pub(in crate::http) reason: Reason,
    /// The original's.
    pub(in crate::http) code: u16,
    pub(in crate::http) message: Words,
    pub(in crate::http) detail: Words,
}

/// The original's code of a refusal.
const CODE: u16 = 409;

const fn refusal(reason: Reason, message: Words, detail: Words) -> Refusal {
    Refusal {
        reason,
        code: CODE,
        message,
        detail,
    }
}

#[rustfmt::skip]
pub(in crate::http) static ALL: &[Refusal] = &[
    refusal(Reason::ALREADY_REGISTERED,
        words("用户已报名，请勿重复报名！", "The user is registered already; do not register again!"),
        words("该用户凭这个 ticketId 已有一个有效的报名",
              "the user already has a live registration for this ticket")),
    refusal(Reason::TICKET_NOT_FOUND,
        words("用户票不存在！", "There is no such ticket!"),
        words("没有这样一张可用于报名的票", "there is no such ticket to register with")),
    refusal(Reason::NOT_THE_USERS_TICKET,
        words("该票不属于此用户！", "The ticket is not this user's!"),
        words("这张票属于另一个用户", "the ticket is another user's")),
    refusal(Reason::TICKET_DELETED,
        words("该票已删除！", "The ticket is deleted!"),
        words("这张票已被删除", "the ticket is deleted")),
    refusal(Reason::TICKET_IN_USE,
        words("该票已报名，不能修改！", "The ticket is registered with and cannot be changed!"),
        words("有报名正在使用这张票；请先取消该报名", "a registration has this ticket; cancel it first")),
    refusal(Reason::CHANGED_MEANWHILE,
        words("数据已被修改，请重试！", "The data was changed; try again!"),
        words("另一个请求同时修改了这条报名；请重新发送请求",
              "another request changed the registration in the same moment; send the request again")),
    refusal(Reason::NOTHING_NAMED,
        words("未指明对象！", "Nothing is named!"),
        words("请求没有说明是关于哪个对象的", "the request does not say which object it is about")),
    Refusal {
        reason: Reason::DEADLINE_EXCEEDED,
        code: BUSY_CODE.0,
        message: words("系统繁忙，报名已超时，请稍后重试！", "The system is busy and the time is up; try again later!"),
        detail: words("流程未能在期限之前开始；请重新发送请求",
                      "the saga was not started before its deadline; send the request again"),
    },
];

/// What to say of a refusal: the original's code and message, and the detail. A reason without a line
/// of its own shows as itself.
pub(in crate::http) fn about(reason: Option<&Reason>) -> (u16, Text, Text) {
    let known = ALL.iter().find(|refusal| Some(&refusal.reason) == reason);
    match (known, reason) {
        (Some(known), _) => (known.code, known.message.into(), known.detail.into()),
        (None, Some(reason)) => {
            let itself = Text::same(&reason.as_str());
            (CODE, itself, details::refused_with(&reason.as_str()))
        }
        (None, None) => {
            let message = REFUSED.code.1;
            let detail = details::REFUSED_WITHOUT_REASON;
            (REFUSED.code.0, message.into(), detail.into())
        }
    }
}
