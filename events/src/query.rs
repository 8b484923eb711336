//! What is asked of the service that owns an object, and what it answers. Questions change nothing,
//! so they are no events: they are not stored, not repeated, and not in the journal.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::choreography::{REGIST_WORKER, Service, TICKET_WORKER};
use crate::{RegistId, TicketId, Timestamp, UserId, UserTicketId};

/// What is kept by one service and read by others.
pub trait Object: Serialize + DeserializeOwned + Send + Sync + 'static {
    const OWNER: Service;
    type Id: Copy + Serialize + DeserializeOwned + Send + Sync;
    /// Which of them are wanted; what is absent does not matter.
    type Filter: Serialize + DeserializeOwned + Send + Sync;

    /// The filter that only the object of this id passes.
    fn only(id: Self::Id) -> Self::Filter;
}

/// A bought ticket that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserTicket {
    pub id: UserTicketId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub user_id: UserId,
    pub ticket_id: TicketId,
}

/// A registration that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Regist {
    pub id: RegistId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub user_id: UserId,
    pub user_ticket_id: UserTicketId,
}

/// Tickets with these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserTicketFilter {
    pub id: Option<UserTicketId>,
    pub user_id: Option<UserId>,
    pub ticket_id: Option<TicketId>,
    pub keyword: Option<Keyword>,
}

/// Registrations with these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistFilter {
    pub id: Option<RegistId>,
    pub user_id: Option<UserId>,
    pub user_ticket_id: Option<UserTicketId>,
    pub keyword: Option<Keyword>,
}

/// Objects have no texts to search, so a keyword is any one of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keyword {
    Number(u64),
    Id(Uuid),
    /// No object has it.
    Other,
}

impl From<&str> for Keyword {
    fn from(text: &str) -> Self {
        let number = text.parse::<UserId>().ok();
        let id = || Uuid::parse_str(text).ok().map(Self::Id);
        number
            .map(|UserId(number)| Self::Number(number))
            .or_else(id)
            .unwrap_or(Self::Other)
    }
}

impl Object for UserTicket {
    const OWNER: Service = TICKET_WORKER;
    type Id = UserTicketId;
    type Filter = UserTicketFilter;

    fn only(id: UserTicketId) -> UserTicketFilter {
        UserTicketFilter {
            id: Some(id),
            ..UserTicketFilter::default()
        }
    }
}

impl Object for Regist {
    const OWNER: Service = REGIST_WORKER;
    type Id = RegistId;
    type Filter = RegistFilter;

    fn only(id: RegistId) -> RegistFilter {
        RegistFilter {
            id: Some(id),
            ..RegistFilter::default()
        }
    }
}

/// A question to the owner of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Query<Id, Filter> {
    Find(Id),
    /// Whose it is, or was before it was deleted.
    OwnerOf(Id),
    /// Newest first.
    List {
        filter: Filter,
        page: Page,
    },
}

/// The question about objects of this type.
pub type QueryOf<O> = Query<<O as Object>::Id, <O as Object>::Filter>;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// From 1.
    pub number: u64,
    pub size: u64,
}

impl Page {
    /// Room for one object.
    pub const ONE: Self = Self { number: 1, size: 1 };

    /// How many objects lie before it, as SQL takes it.
    pub fn offset(self) -> i64 {
        let before = self.number.saturating_sub(1).saturating_mul(self.size);
        i64::try_from(before).unwrap_or(i64::MAX)
    }

    /// How many objects it has at most, as SQL takes it.
    pub fn limit(self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX)
    }
}

/// What the owner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer<O> {
    Found(O),
    /// There is none, or it is deleted; of a question for its user: there never was one.
    NotFound,
    OwnedBy(UserId),
    Listed(Listing<O>),
    /// The owner cannot read its data now.
    Unavailable,
}

/// One page, and how many objects all pages have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<O> {
    pub total: u64,
    pub list: Vec<O>,
}
