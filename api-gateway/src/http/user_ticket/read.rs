//! `GET /userTicket?id=` and `GET /userTicket/list`.

use axum::extract::State;
use axum::response::Response;
use events::UserTicketId;
use events::query::{Keyword, UserTicket, UserTicketFilter};
use uuid::Uuid;

use crate::auth::Caller;
use crate::http::Gateway;
use crate::http::envelope::success;
use crate::http::openapi::{KEYWORD, Operation, PAGE_NUMBER, PAGE_SIZE, optional};
use crate::http::parameters::{Parameters, RawParameters};
use crate::http::problem::Problem;
use crate::http::reads::{self, Shown};
use crate::http::texts::details;

pub(in crate::http) const FIND: Operation =
    Operation::find("findTicket", "One ticket", "UserTicket");
pub(in crate::http) const LIST: Operation =
    Operation::list("listTickets", "Tickets, newest first", "UserTicketList").query(&[
        PAGE_NUMBER,
        PAGE_SIZE,
        KEYWORD,
        optional("id", "Uuid"),
        optional("userId", "Number"),
        optional("ticketId", "Number"),
    ]);

pub(in crate::http) async fn find(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let id: Option<Uuid> = parameters.required("id", &details::UUID);
    parameters.check()?;
    let id = UserTicketId(id.unwrap_or_default());
    let found = reads::find_for::<UserTicket>(&gateway, &caller, id).await?;
    Ok(success(found.view()))
}

pub(in crate::http) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let page = parameters.page();
    let keyword: Option<String> = parameters.optional("keyword", &details::ANY_TEXT);
    let mut filter = UserTicketFilter {
        id: parameters.optional("id", &details::UUID).map(UserTicketId),
        user_id: parameters.optional("userId", &details::WHOLE_NUMBER),
        ticket_id: parameters.optional("ticketId", &details::WHOLE_NUMBER),
        keyword: keyword.as_deref().map(Keyword::from),
    };
    parameters.check()?;
    filter.user_id = caller.rights.list(filter.user_id)?;
    reads::list::<UserTicket>(&gateway, filter, page).await
}
