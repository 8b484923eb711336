//! Which messages of a journal are meant.

use std::time::Duration;

use events::{Event, MessageType, SagaId, Timestamp};
use saga::bus::JournalStart;

/// All that is given must hold; nothing given means every message.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub saga: Option<SagaId>,
    pub types: Vec<MessageType>,
    /// Decided then or later.
    pub from: Option<Timestamp>,
    /// Decided then or earlier.
    pub to: Option<Timestamp>,
}

impl Selection {
    pub fn has(&self, event: &Event) -> bool {
        self.saga.is_none_or(|saga| event.saga_id == saga)
            && (self.types.is_empty() || self.types.contains(&event.message_type()))
            && self.from.is_none_or(|from| event.time >= from)
            && self.to.is_none_or(|to| event.time <= to)
    }

    /// Where the first of them can be. The id of a saga says when it was minted, which is before its
    /// first message.
    pub fn start(&self) -> JournalStart {
        let minted = self.saga.and_then(minted_at);
        let from = self.from.into_iter().chain(minted).max();
        from.map_or(JournalStart::First, JournalStart::Time)
    }
}

/// None of an id that is no UUIDv7.
fn minted_at(saga: SagaId) -> Option<Timestamp> {
    let (seconds, nanos) = saga.0.get_timestamp()?.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Some(Timestamp::from_micros(
        seconds.saturating_mul(1_000_000) + i64::from(nanos / 1_000),
    ))
}

/// The text is no point in time.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is neither a time like 2026-11-26T10:00:00Z nor a duration like 10m")]
pub struct InvalidPoint {
    text: String,
}

/// RFC 3339, or how long ago.
pub fn point_in_time(text: &str, now: Timestamp) -> Result<Timestamp, InvalidPoint> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago: Duration = humantime::parse_duration(text).map_err(|_| InvalidPoint {
        text: text.to_owned(),
    })?;
    let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(
        now.as_micros().saturating_sub(micros),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_given_as_such_or_as_how_long_ago() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        for (text, at) in [
            ("10m", "2026-11-26T09:50:00Z"),
            ("1h 30m", "2026-11-26T08:30:00Z"),
            ("2026-11-25T00:00:00+01:00", "2026-11-24T23:00:00Z"),
        ] {
            assert_eq!(point_in_time(text, now).unwrap(), at.parse().unwrap());
        }
        let error = point_in_time("yesterday", now).unwrap_err().to_string();
        assert!(error.contains("yesterday") && error.contains("10m"));
    }

    #[test]
    fn a_saga_is_looked_for_from_when_it_was_minted() {
        let before = Timestamp::from_micros(Timestamp::now().as_micros() - 1_000);
        let selection = Selection {
            saga: Some(SagaId::mint()),
            ..Selection::default()
        };
        let JournalStart::Time(minted) = selection.start() else {
            panic!("its id has a time");
        };
        assert!(before <= minted && minted <= Timestamp::now());
    }
}
