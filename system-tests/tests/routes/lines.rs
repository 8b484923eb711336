//! What `docs/http.md` and the examples of the OpenAPI document are made of, in the order in which it
//! is called.

/// A request, what it is for, and what later requests call an id of its answer.
pub(crate) struct Line {
    pub(crate) about: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static str,
    pub(crate) learns: &'static [(&'static str, &'static str)],
}

const fn line(
    about: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
) -> Line {
    Line {
        about,
        method,
        path,
        headers: &[],
        body,
        learns: &[],
    }
}

impl Line {
    const fn learns(self, learns: &'static [(&'static str, &'static str)]) -> Self {
        Self { learns, ..self }
    }

    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }
}

const KEY: (&str, &str) = ("Idempotency-Key", "order-8-42");
const ENGLISH: (&str, &str) = ("Accept-Language", "en");

#[rustfmt::skip]
pub(crate) const LINES: &[Line] = &[
    line("buy a ticket and register with it, both or neither",
        "POST", "/regist/trans", r#"{"userId":7,"ticketId":42}"#)
        .learns(&[("bought", "userTicketId"), ("first", "registId")]),
    line("the same again is refused, and its ticket is taken back",
        "POST", "/regist/trans", r#"{"userId":7,"ticketId":42}"#)
        .learns(&[("refused", "sagaId")]),
    line("with a key it may be sent again: the same saga, the same answer",
        "POST", "/regist/trans", r#"{"userId":8,"ticketId":42}"#)
        .with(&[KEY, ("Prefer", "wait=5")]),
    line("the same key is not for another request",
        "POST", "/regist/trans", r#"{"userId":8,"ticketId":43}"#)
        .with(&[KEY, ENGLISH]),
    line("a refusal in English, for who prefers it",
        "POST", "/regist/trans", r#"{"userId":8,"ticketId":42}"#)
        .with(&[("Accept-Language", "fr, en;q=0.9, zh;q=0.5")]),
    line("create a ticket",
        "POST", "/userTicket", r#"{"userId":7,"ticketId":43}"#)
        .learns(&[("ticket", "id")]),
    line("change the fields that are sent",
        "PUT", "/userTicket", r#"{"id":"{ticket}","ticketId":44}"#),
    line("one ticket",
        "GET", "/userTicket?id={ticket}", ""),
    line("tickets by their fields or by `keyword` (any id of theirs), newest first",
        "GET", "/userTicket/list?userId=7&ticketId=42&pageNum=1&pageSize=10", ""),
    line("a ticket of another user is no ticket to register with",
        "POST", "/regist", r#"{"userId":9,"userTicketId":"{ticket}"}"#)
        .with(&[ENGLISH]),
    line("nor is one that does not exist",
        "POST", "/regist", r#"{"userId":7,"userTicketId":"0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f"}"#)
        .with(&[ENGLISH]),
    line("register with a ticket of the user",
        "POST", "/regist", r#"{"userId":7,"userTicketId":"{ticket}"}"#)
        .learns(&[("regist", "id")]),
    line("a ticket that a registration has stays as it is",
        "PUT", "/userTicket", r#"{"id":"{ticket}","ticketId":45}"#)
        .with(&[ENGLISH]),
    line("one registration",
        "GET", "/regist?id={regist}", ""),
    line("registrations by their fields or by `keyword`, newest first",
        "GET", "/regist/list?userTicketId={ticket}", ""),
    line("delete a registration; its ticket stays",
        "DELETE", "/regist", r#"{"id":"{first}"}"#),
    line("give a registration another ticket",
        "PUT", "/regist", r#"{"id":"{regist}","userTicketId":"{bought}"}"#),
    line("undo a registration; none there is a success",
        "POST", "/regist/regist-rollback", r#"{"userId":7,"userTicketId":"{bought}"}"#),
    line("delete registrations, 100 at most",
        "DELETE", "/regist/delete-batch", r#"{"ids":["{regist}"]}"#),
    line("delete a ticket, and the registration made with it; none there is a success",
        "DELETE", "/userTicket", r#"{"id":"{ticket}"}"#),
    line("undo a purchase: the same",
        "POST", "/userTicket/add-rollback", r#"{"id":"{ticket}"}"#),
    line("a deleted ticket is no ticket to register with",
        "POST", "/regist", r#"{"userId":7,"userTicketId":"{ticket}"}"#)
        .with(&[ENGLISH]),
    line("delete tickets, 100 at most",
        "DELETE", "/userTicket/delete-batch", r#"{"ids":["{bought}"]}"#),
    line("what is deleted is gone",
        "GET", "/regist?id={regist}", "")
        .with(&[ENGLISH]),
    line("what is wrong is told by field",
        "POST", "/regist", r#"{"userId":-1}"#)
        .with(&[ENGLISH]),
    line("a saga as it happens, up to its end",
        "GET", "/sagas/{refused}/events", ""),
    line("nothing more to come",
        "GET", "/sagas/{refused}/events", "")
        .with(&[("Last-Event-ID", "end")]),
    line("a saga and what happened in it",
        "GET", "/sagas/{refused}", ""),
    line("sagas, newest first",
        "GET", "/sagas?userId=7&status=compensated&limit=1", ""),
    line("a saga that nobody knows",
        "GET", "/sagas/0193a4f0-6c1b-7d3e-9f00-5a6b7c8d9e0f", "")
        .with(&[ENGLISH]),
    line("what the system gave up on, by queue and cause",
        "GET", "/dead-letters", "")
        .learns(&[("cause", "/data/list/0/cause")]),
    line("the same, message by message",
        "GET", "/dead-letters/messages?cause={cause}&pageSize=1", "")
        .learns(&[("parked", "/data/list/0/id")]),
    line("one of them, with its envelope and what operators did to it",
        "GET", "/dead-letters/messages/{parked}", ""),
    line("put one back where it came from, and see whether it fails again",
        "POST", "/dead-letters/requeue", r#"{"ids":["{parked}"],"watchSeconds":3,"reason":"the seat plan is free again"}"#)
        .learns(&[("run", "run")]),
    line("how far that is",
        "GET", "/dead-letters/runs/{run}", ""),
    line("the runs of this gateway, newest first",
        "GET", "/dead-letters/runs?pageSize=1", ""),
    line("drop a group, for a reason",
        "POST", "/dead-letters/drop", r#"{"cause":"{cause}","reason":"bought elsewhere"}"#),
    line("a drop without a reason",
        "POST", "/dead-letters/drop", r#"{"all":true}"#)
        .with(&[ENGLISH]),
    line("who did what, when and why, newest first",
        "GET", "/dead-letters/log?pageSize=1", ""),
    line("put back all that is left, and ask later how far that is",
        "POST", "/dead-letters/requeue", r#"{"all":true,"atOnce":true}"#)
        .with(&[("Prefer", "respond-async")])
        .learns(&[("last", "run")]),
    line("stop it; what was put back stays so, and what is over stays as it is",
        "POST", "/dead-letters/runs/{run}/stop", ""),
    line("is the process alive",
        "GET", "/livez", ""),
    line("can callers be served",
        "GET", "/readyz", ""),
    line("a route that there is not",
        "GET", "/tickets", "")
        .with(&[ENGLISH]),
    line("a method that the route does not have",
        "GET", "/regist/trans", "")
        .with(&[ENGLISH]),
];
