//! Reading: the gateway has none of the objects, so it asks their owner.

use std::fmt;
use std::time::Duration;

use axum::response::Response;
use events::query::{Answer, Listing, Object, Page, Query, QueryOf, Regist, UserTicket};
use events::{RegistId, Timestamp, UserId, UserTicketId};
use futures_util::stream::{self, StreamExt};
use saga::bus::AskError;
use saga::reads::ANSWER_LIMIT;
use serde::Serialize;
use tracing::warn;

use super::Gateway;
use super::envelope::{callers_id, success};
use super::problem::Problem;
use super::texts::{Words, details, kinds};
use crate::auth::{Caller, Foreign, Rights};

/// How long question and answer may travel beside the time that the owner has, so that its own
/// word that it took too long arrives.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// How many questions one batch asks at the same time: its owner has others to answer, too.
const QUESTIONS_AT_ONCE: usize = 8;

/// What a caller is shown of an object.
pub(super) trait Shown: Object {
    /// The object's name in messages.
    const NAME: Words;
    /// Whether a deletion closes the id of one that is not there yet, so that it cannot be used when
    /// it comes.
    const IS_CLOSED_UNSEEN: bool;
    type View: Serialize;

    fn view(self) -> Self::View;
    fn user_id(&self) -> UserId;
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserTicketView {
    pub(super) id: UserTicketId,
    pub(super) created_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    /// What is deleted is not shown.
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(serialize_with = "callers_id")]
    pub(super) user_id: Option<u64>,
    #[serde(serialize_with = "callers_id")]
    pub(super) ticket_id: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistView {
    pub(super) id: Option<RegistId>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    /// What is deleted is not shown.
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(serialize_with = "callers_id")]
    pub(super) user_id: Option<u64>,
    pub(super) user_ticket_id: Option<UserTicketId>,
}

impl Shown for UserTicket {
    const NAME: Words = details::TICKET;
    const IS_CLOSED_UNSEEN: bool = true;
    type View = UserTicketView;

    fn view(self) -> UserTicketView {
        UserTicketView {
            id: self.id,
            created_at: Some(self.created_at),
            updated_at: self.updated_at,
            deleted_at: None,
            user_id: Some(self.user_id.0),
            ticket_id: Some(self.ticket_id.0),
        }
    }

    fn user_id(&self) -> UserId {
        self.user_id
    }
}

impl Shown for Regist {
    const NAME: Words = details::REGISTRATION;
    /// It gets its id when it is made, and a deletion of any other does nothing.
    const IS_CLOSED_UNSEEN: bool = false;
    type View = RegistView;

    fn view(self) -> RegistView {
        RegistView {
            id: Some(self.id),
            created_at: Some(self.created_at),
            updated_at: self.updated_at,
            deleted_at: None,
            user_id: Some(self.user_id.0),
            user_ticket_id: Some(self.user_ticket_id),
        }
    }

    fn user_id(&self) -> UserId {
        self.user_id
    }
}

/// One object.
pub(super) async fn find<O: Shown>(gateway: &Gateway, id: O::Id) -> Result<O, Problem>
where
    O::Id: fmt::Display,
{
    match ask::<O>(gateway, &Query::Find(id)).await? {
        Answer::Found(object) => Ok(object),
        Answer::NotFound => Err(absent::<O>(id)),
        Answer::OwnedBy(_) | Answer::Listed(_) | Answer::Unavailable => Err(cannot_read::<O>()),
    }
}

/// One object that the caller may see. Another's is as good as none: an id may be guessed.
pub(super) async fn find_for<O: Shown>(
    gateway: &Gateway,
    caller: &Caller,
    id: O::Id,
) -> Result<O, Problem>
where
    O::Id: fmt::Display,
{
    let found = find::<O>(gateway, id).await?;
    match caller.rights.cover(Some(found.user_id())) {
        true => Ok(found),
        false => Err(absent::<O>(id)),
    }
}

/// Whether the caller may change or delete this object, or delete again what it deleted. The owner is
/// asked only for who may not change everything. What never was there is nobody's; the id of what is
/// not there *yet* may be another user's, who will get it from an `Idempotency-Key` that can be
/// guessed, and is not to be closed.
pub(super) async fn may_change<O: Shown>(
    gateway: &Gateway,
    caller: &Caller,
    id: O::Id,
) -> Result<(), Problem>
where
    O::Id: fmt::Display,
{
    match caller.rights {
        Rights::All => return Ok(()),
        Rights::None => return Err(Foreign.into()),
        Rights::Only(_) => {}
    }
    match ask::<O>(gateway, &Query::OwnerOf(id)).await? {
        Answer::OwnedBy(user) => caller.check(user),
        Answer::NotFound if O::IS_CLOSED_UNSEEN => Err(absent::<O>(id)),
        Answer::NotFound => Ok(()),
        Answer::Found(_) | Answer::Listed(_) | Answer::Unavailable => Err(cannot_read::<O>()),
    }
}

/// The same of all of these; a few are asked for at a time.
pub(super) async fn may_change_all<O: Shown>(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[O::Id],
) -> Result<(), Problem>
where
    O::Id: fmt::Display,
{
    let check = |id| may_change::<O>(gateway, caller, id);
    let checked = stream::iter(ids.iter().copied()).map(check);
    // Of several that may not be changed, it is always the same one that the caller hears of.
    let mut checked = checked.buffered(QUESTIONS_AT_ONCE);
    while let Some(checked) = checked.next().await {
        checked?;
    }
    Ok(())
}

fn absent<O: Shown>(id: O::Id) -> Problem
where
    O::Id: fmt::Display,
{
    Problem::not_found(details::no_object(&O::NAME, &id))
}

/// A page of objects.
pub(super) async fn list<O: Shown>(
    gateway: &Gateway,
    filter: O::Filter,
    page: Page,
) -> Result<Response, Problem> {
    match ask::<O>(gateway, &Query::List { filter, page }).await? {
        Answer::Listed(Listing { total, list }) => Ok(success(Listing {
            total,
            list: list.into_iter().map(O::view).collect(),
        })),
        Answer::Found(_) | Answer::OwnedBy(_) | Answer::NotFound | Answer::Unavailable => {
            Err(cannot_read::<O>())
        }
    }
}

async fn ask<O: Shown>(gateway: &Gateway, query: &QueryOf<O>) -> Result<Answer<O>, Problem> {
    let question = serde_json::to_string(query).expect("a question has string keys");
    let bus = &gateway.starter().bus;
    let answer = bus.ask(O::OWNER, question, ANSWER_LIMIT + ON_THE_WAY).await;
    let answer = answer.map_err(|error| no_answer(&error))?;
    serde_json::from_str(&answer).map_err(|error| {
        let service = O::OWNER.0;
        warn!(service, %error, "an answer is not understood; is the service of another build?");
        cannot_read::<O>()
    })
}

fn no_answer(error: &AskError) -> Problem {
    match error {
        AskError::Unavailable { reason } => Problem::unavailable(details::cannot_ask(reason)),
        AskError::NoAnswer { service, limit } => {
            let detail = details::no_answer(service, &limit.as_secs_f32());
            Problem::new(&kinds::NO_ANSWER, detail)
        }
    }
}

fn cannot_read<O: Shown>() -> Problem {
    Problem::unavailable(details::cannot_read(&O::OWNER.0))
}
