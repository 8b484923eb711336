//! `GET /sagas?status=&userId=&cursor=&limit=`: sagas, newest first, without their timelines.
//! `status=overdue` is those that wait longer at a step than it may take.

use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use axum::response::Response;
use events::progress::Status;
use events::{SagaId, Timestamp, UserId};
use saga::failure::chain;
use serde::Serialize;
use tracing::warn;
use uuid::Uuid;

use super::view::View;
use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{Operation, failures, optional};
use crate::http::parameters::{Parameters, RawParameters};
use crate::http::problem::Problem;
use crate::http::texts::details;
use crate::ledger::{Listed, Mark, Row, Which};

const OVERDUE: &str = "overdue";
const DEFAULT_LIMIT: usize = 20;
const MOST: usize = 100;
/// A rare status is looked for in so many sagas; then the page ends, and its cursor goes on.
const LOOKED_AT: usize = 2_000;

pub(in crate::http) const GET: Operation =
    Operation::list("listSagas", "Sagas, newest first", "SagaList")
        .query(&[
            optional("status", "ListedStatus"),
            optional("userId", "Number"),
            optional("cursor", "Cursor").about("The `next` of the page before, unchanged"),
            optional("limit", "Limit"),
        ])
        .fails_with(failures::OF_A_LIST_OF_SAGAS);

#[derive(Serialize)]
struct Page {
    list: Vec<View>,
    /// Where the next page begins; null after the last.
    next: Option<String>,
}

/// What the caller wants to see.
struct Wanted {
    which: Which,
    show: Option<Show>,
    before: Mark,
    limit: usize,
}

pub(in crate::http) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    let wanted = wanted(raw, &caller)?;
    let (rows, next) = collect(&gateway, &wanted).await?;
    let now = Timestamp::now();
    let view = |row: &Row| View::of(row, now).without_timeline();
    Ok(success(Page {
        list: rows.iter().map(view).collect(),
        next: next.map(|mark| mark.to_string()),
    }))
}

fn wanted(raw: RawParameters, caller: &Caller) -> Result<Wanted, Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let names = Status::ALL.map(Status::as_str).join(", ");
    let show: Option<Show> =
        parameters.optional("status", &details::one_of(&format!("{names}, {OVERDUE}")));
    let user: Option<UserId> = parameters.optional("userId", &details::WHOLE_NUMBER);
    let before = parameters.optional("cursor", &details::CURSOR);
    let limit = parameters.optional("limit", &details::whole_number_up_to(&MOST));
    parameters.check()?;
    let user = caller.rights.list(user)?;
    let which = match (user, show) {
        (Some(user), _) => Which::OfUser(user),
        (None, Some(show)) if show.is_unfinished() => Which::Unfinished,
        (None, _) => Which::All,
    };
    Ok(Wanted {
        which,
        show,
        before: before.unwrap_or(Mark::NEWEST),
        limit: limit.map_or(DEFAULT_LIMIT, |Limit(limit)| limit),
    })
}

/// The page, and where the next one begins.
async fn collect(gateway: &Gateway, wanted: &Wanted) -> Result<(Vec<Row>, Option<Mark>), Problem> {
    let (mut found, mut before, mut looked_at) = (Vec::new(), wanted.before, 0);
    let now = Timestamp::now();
    while looked_at < LOOKED_AT {
        let listed = gateway.ledger().list(wanted.which, before, MOST).await;
        let Listed { rows, found: there } = listed.map_err(|problem| {
            warn!(error = chain(&problem), "sagas cannot be listed");
            Problem::unavailable(details::LEDGER_AWAY)
        })?;
        // A page of nothing but what cannot be read leads nowhere either.
        let is_last = there < MOST || rows.is_empty();
        looked_at += there;
        for row in rows {
            before = Mark::of(&row);
            if wanted.show.is_none_or(|show| show.has(&row, now)) {
                found.push(row);
            }
            if found.len() == wanted.limit {
                return Ok((found, Some(before)));
            }
        }
        if is_last {
            return Ok((found, None));
        }
    }
    Ok((found, Some(before)))
}

/// Which sagas to show.
#[derive(Clone, Copy)]
enum Show {
    Status(Status),
    Overdue,
}

impl Show {
    fn is_unfinished(self) -> bool {
        match self {
            Self::Status(status) => !status.is_final(),
            Self::Overdue => true,
        }
    }

    fn has(self, row: &Row, now: Timestamp) -> bool {
        match self {
            Self::Status(status) => row.status() == status,
            Self::Overdue => row.progress().is_overdue(now),
        }
    }
}

impl FromStr for Show {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == OVERDUE {
            return Ok(Self::Overdue);
        }
        let named = |status: &Status| status.as_str() == text;
        let status = Status::ALL.into_iter().find(named);
        status.map(Self::Status).ok_or(())
    }
}

struct Limit(usize);

impl FromStr for Limit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.map(Self).ok_or(())
    }
}

/// `<microseconds>_<id>`, which callers need not understand.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}_{}",
            self.started_at.as_micros(),
            self.saga_id.0.simple()
        )
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.split_once('_').ok_or(())?;
        let micros = micros.parse().map_err(drop)?;
        let id = Uuid::try_parse(id).map_err(drop)?;
        Ok(Self {
            started_at: Timestamp::from_micros(micros),
            saga_id: SagaId(id),
        })
    }
}
