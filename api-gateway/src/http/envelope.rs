//! A success as the original's callers know it: `{"code":200,"message":"success","data":…}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::SagaId;
use serde::{Serialize, Serializer};

/// Seconds. A saga that outlasted its caller's patience waits for something; asking more often
/// than this would not bring it on.
pub(super) const RETRY_AFTER: &str = "1";
/// The largest whole number that a JavaScript number holds.
const LARGEST_SAFE: u64 = (1 << 53) - 1;

#[derive(Serialize)]
struct Envelope<T> {
    code: u16,
    message: &'static str,
    data: T,
}

pub(super) fn success(data: impl Serialize) -> Response {
    with_code(200, "success", data).into_response()
}

pub(super) fn with_code<T: Serialize>(
    code: u16,
    message: &'static str,
    data: T,
) -> Json<impl Serialize + use<T>> {
    Json(Envelope {
        code,
        message,
        data,
    })
}

/// The saga runs; this is where it can be asked for.
pub(super) fn accepted(saga_id: SagaId, data: impl Serialize) -> Response {
    let headers = [
        (header::LOCATION, saga_url(saga_id)),
        (header::RETRY_AFTER, RETRY_AFTER.to_owned()),
    ];
    (
        StatusCode::ACCEPTED,
        headers,
        with_code(202, "accepted", data),
    )
        .into_response()
}

pub(super) fn saga_url(saga_id: SagaId) -> String {
    format!("/sagas/{saga_id}")
}

/// A caller's own 64-bit number. Beyond what a JavaScript number holds it is written as a string,
/// so that no caller gets other digits than it sent; requests take both forms.
pub(super) fn callers_id<S: Serializer>(
    id: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) if *id > LARGEST_SAFE => serializer.collect_str(id),
        id => id.serialize(serializer),
    }
}
