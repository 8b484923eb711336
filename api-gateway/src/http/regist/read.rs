//! `GET /regist?id=` and `GET /regist/list`.

use axum::extract::State;
use axum::response::Response;
use events::query::{Keyword, Regist, RegistFilter};
use events::{RegistId, UserTicketId};
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
    Operation::find("findRegistration", "One registration", "Regist");
pub(in crate::http) const LIST: Operation = Operation::list(
    "listRegistrations",
    "Registrations, newest first",
    "RegistList",
)
.query(&[
    PAGE_NUMBER,
    PAGE_SIZE,
    KEYWORD,
    optional("id", "Uuid"),
    optional("userId", "Number"),
    optional("userTicketId", "Uuid"),
]);

pub(in crate::http) async fn find(
    State(gateway): State<Gateway>,
    caller: Caller,
    raw: RawParameters,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(raw)?;
    let id: Option<Uuid> = parameters.required("id", &details::UUID);
    parameters.check()?;
    let id = RegistId(id.unwrap_or_default());
    let found = reads::find_for::<Regist>(&gateway, &caller, id).await?;
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
    let mut filter = RegistFilter {
        id: parameters.optional("id", &details::UUID).map(RegistId),
        user_id: parameters.optional("userId", &details::WHOLE_NUMBER),
        user_ticket_id: parameters
            .optional("userTicketId", &details::UUID)
            .map(UserTicketId),
        keyword: keyword.as_deref().map(Keyword::from),
    };
    parameters.check()?;
    filter.user_id = caller.rights.list(filter.user_id)?;
    reads::list::<Regist>(&gateway, filter, page).await
}
