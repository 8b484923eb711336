//! One caller of the routes, and what it makes sure of in every answer.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::http::Connection;

/// A saga that a slow machine did not end in time is asked after so often.
const AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Caller(Connection);

/// An answer: its status, its reason if it is a refusal, and its data.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or("")
    }

    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The data's id, as text.
    pub(crate) fn id(&self) -> String {
        self.text("id")
    }

    pub(crate) fn text(&self, field: &str) -> String {
        let text = self.data()[field].as_str();
        text.unwrap_or_else(|| panic!("no {field} in {self:?}"))
            .to_owned()
    }
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(Connection::open(address).unwrap())
    }

    /// Sends a request and waits until its saga has ended, if it is one. Whatever the answer, it is
    /// the envelope or a problem, and no fault of the system.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let text = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let response = self.0.request(method, path, &text).unwrap();
        let told = format!("{method} {path} {text}: {response:?}");
        let answer = Answer {
            status: response.status,
            body: response.json(),
        };
        match answer.status {
            200 => assert_eq!(answer.body["code"], 200, "{told}"),
            202 => return self.outcome(&answer),
            400 | 404 | 409 => {
                assert_eq!(answer.body["status"], answer.status, "{told}");
                let kind = response.header("content-type");
                assert_eq!(kind, Some("application/problem+json"), "{told}");
            }
            _ => panic!("{told}"),
        }
        answer
    }

    /// The end of a saga that took longer than its caller waited.
    fn outcome(&mut self, accepted: &Answer) -> Answer {
        let path = format!("/sagas/{}", accepted.text("sagaId"));
        loop {
            let saga = self.0.request("GET", &path, "").unwrap().json();
            match saga["data"]["status"].as_str() {
                Some("completed") => {
                    return Answer {
                        status: 200,
                        body: saga,
                    };
                }
                Some("rejected" | "compensated") => {
                    let body = json!({"reason": saga["data"]["reason"]});
                    return Answer { status: 409, body };
                }
                _ => sleep(AGAIN),
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null)
    }

    pub(crate) fn trans(&mut self, user: u64, ticket: u64) -> Answer {
        let body = json!({"userId": user, "ticketId": ticket});
        self.call("POST", "/regist/trans", &body)
    }

    pub(crate) fn add_ticket(&mut self, user: u64, ticket: u64) -> Answer {
        let body = json!({"userId": user, "ticketId": ticket});
        self.call("POST", "/userTicket", &body)
    }

    pub(crate) fn register(&mut self, user: u64, user_ticket: &str) -> Answer {
        let body = json!({"userId": user, "userTicketId": user_ticket});
        self.call("POST", "/regist", &body)
    }

    pub(crate) fn delete_ticket(&mut self, id: &str) -> Answer {
        self.call("DELETE", "/userTicket", &json!({"id": id}))
    }

    pub(crate) fn delete_regist(&mut self, id: &str) -> Answer {
        self.call("DELETE", "/regist", &json!({"id": id}))
    }

    /// Every object that a list has, over all of its pages.
    pub(crate) fn all(&mut self, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for page in 1.. {
            let answer = self.get(&format!("{list}?pageSize=100&pageNum={page}"));
            let rows = answer.data()["list"].as_array().unwrap().clone();
            if rows.is_empty() {
                assert_eq!(answer.data()["total"], all.len(), "{answer:?}");
                return all;
            }
            all.extend(rows);
        }
        unreachable!("a list has an end")
    }
}
