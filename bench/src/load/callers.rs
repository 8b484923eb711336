//! The same load through the front door: callers with a connection each, which is kept alive. Each
//! sends `POST /regist/trans`, waits for the whole answer, holds it against what the saga has to end
//! with, and starts over.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use events::{MessageType, Reason, RegistId, SagaId, TicketId, UserId, UserTicketId};
use futures_util::future::try_join_all;
use serde::Deserialize;

use super::{Book, PATIENCE, SharedBook, TICKET, lock};
use crate::connection::{Answer, Connection};
use crate::failure::BenchError;
use crate::meter::{Load, Measured, Meter};

const ROUTE: &str = "/regist/trans";

/// What a caller asks for, and what has to come of it.
#[derive(Clone, Copy, Debug)]
struct Order {
    user: UserId,
    expected: MessageType,
}

/// Runs one closed loop with so many connections as sagas are to be in flight.
pub(crate) async fn run(
    gateway: SocketAddr,
    book: &SharedBook,
    load: Load,
) -> Result<Measured, BenchError> {
    let opened = try_join_all((0..load.in_flight).map(|_| Connection::open(gateway)));
    let connections = opened.await.map_err(BenchError::Connection)?;
    let meter = Mutex::new(Meter::start(load));
    let calls = connections
        .into_iter()
        .map(|connection| call(connection, book, &meter));
    let limit = load.warm_up + load.seconds + PATIENCE;
    let done = tokio::time::timeout(limit, try_join_all(calls)).await;
    done.map_err(|_| BenchError::Unanswered {
        open: lock(&meter).open_sagas(),
        after: PATIENCE,
    })??;
    Ok(lock(&meter).measured())
}

async fn call(
    mut connection: Connection,
    book: &SharedBook,
    meter: &Mutex<Meter>,
) -> Result<(), BenchError> {
    loop {
        let refused = {
            let mut meter = lock(meter);
            if !meter.is_open() {
                return Ok(());
            }
            meter.begin()
        };
        let order = book.lock().order(refused);
        let began = Instant::now();
        let answer = connection.post(ROUTE, &order.body()).await;
        let answer = answer.map_err(BenchError::Connection)?;
        let ended = Instant::now();
        let saga_id = order.check(answer)?;
        book.lock().close(saga_id, order.user, order.expected);
        lock(meter).end(began, ended);
    }
}

impl Book {
    fn order(&mut self, refused: bool) -> Order {
        let (user, expected) = self.next(refused);
        self.started += 1;
        Order { user, expected }
    }
}

#[derive(Deserialize)]
struct Success {
    code: u16,
    message: String,
    data: Registered,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    saga_id: SagaId,
    #[serde(rename = "userTicketId")]
    _user_ticket_id: UserTicketId,
    #[serde(rename = "registId")]
    _regist_id: RegistId,
    user_id: UserId,
    ticket_id: TicketId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    code: u16,
    status: u16,
    instance: String,
    saga_id: SagaId,
    reason: Reason,
}

impl Order {
    fn body(self) -> String {
        format!(r#"{{"userId":{},"ticketId":{TICKET}}}"#, self.user)
    }

    /// The saga, if this is the answer that there has to be.
    fn check(self, answer: Answer<'_>) -> Result<SagaId, BenchError> {
        let found = match self.expected {
            MessageType::RegistrationCompleted => self.registered(answer),
            _ => refused(answer),
        };
        found.ok_or_else(|| BenchError::Answer {
            status: answer.status,
            body: String::from_utf8_lossy(answer.body).into_owned(),
            request: self.body(),
            expected: self.expected,
        })
    }

    fn registered(self, answer: Answer<'_>) -> Option<SagaId> {
        let body: Success = serde_json::from_slice(answer.body).ok()?;
        let data = body.data;
        let is_right = (answer.status, body.code) == (200, 200)
            && body.message == "success"
            && (data.user_id, data.ticket_id) == (self.user, TICKET);
        is_right.then_some(data.saga_id)
    }
}

fn refused(answer: Answer<'_>) -> Option<SagaId> {
    let body: Refused = serde_json::from_slice(answer.body).ok()?;
    let is_right = (answer.status, body.status, body.code) == (409, 409, 409)
        && body.reason == Reason::ALREADY_REGISTERED
        && body.instance == format!("/sagas/{}", body.saga_id);
    is_right.then_some(body.saga_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETED: &str = r#"{"code":200,"message":"success","data":{
        "sagaId":"01a20514-d2a8-7131-b8ce-9d5ea66e835b",
        "userTicketId":"01a20514-d2a8-7131-b8ce-9d5d56a442fb",
        "registId":"01a20514-d2b7-76cb-aae3-1276c48cf519","userId":1,"ticketId":7}}"#;
    const REFUSED: &str = r#"{"type":"/problems/refused","title":"The saga was refused",
        "status":409,"detail":"…","instance":"/sagas/01a20514-d2cd-7315-8cf9-3ff7255b4716",
        "code":409,"message":"用户已报名，请勿重复报名！",
        "sagaId":"01a20514-d2cd-7315-8cf9-3ff7255b4716","reason":"already_registered","errors":[]}"#;

    fn is_right(order: Order, status: u16, body: &str) -> bool {
        let body = body.as_bytes();
        order.check(Answer { status, body }).is_ok()
    }

    #[test]
    fn only_the_answer_that_the_saga_has_to_end_with_is_right() {
        let order = |expected| Order {
            user: UserId(1),
            expected,
        };
        let first = order(MessageType::RegistrationCompleted);
        let second = order(MessageType::TicketDeleted);
        assert!(is_right(first, 200, COMPLETED));
        assert!(is_right(second, 409, REFUSED));
        assert!(!is_right(second, 200, COMPLETED));
        assert!(!is_right(first, 409, REFUSED));
        assert!(!is_right(first, 202, COMPLETED));
        assert!(!is_right(second, 409, &REFUSED.replace("already_", "not_")));
        let other = r#""userId":1"#;
        assert!(!is_right(
            first,
            200,
            &COMPLETED.replace(other, r#""userId":2"#)
        ));
        assert!(!is_right(
            first,
            200,
            &COMPLETED.replace("registId", "other")
        ));
    }

    #[test]
    fn a_refused_order_repeats_a_user_who_is_registered() {
        let mut book = Book::default();
        let first = book.order(true);
        assert_eq!(first.expected, MessageType::RegistrationCompleted);
        book.close(SagaId::mint(), first.user, first.expected);
        let (second, third) = (book.order(true), book.order(false));
        assert_eq!(
            (second.user, second.expected),
            (first.user, MessageType::TicketDeleted)
        );
        assert_ne!(third.user, first.user);
        assert_eq!(book.started, 3);
    }
}
