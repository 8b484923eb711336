//! The ledger built anew from the journal, while a projector runs and sagas go on.

use std::sync::Arc;

use api_gateway::ledger::rebuild::{Generations, Rebuild, RebuildError, Report};
use api_gateway::ledger::{Lease, Ledger, Projection, Saved, fold};
use events::{Event, Reason, Timestamp};
use saga::bus::{Bus, JournalPosition, JournalStart};
use tokio_util::sync::CancellationToken;

use crate::databases::{OnPostgres, OnSqlite};
use crate::fake_bus::FakeBus;
use crate::projector::{ended, projector};
use crate::stories::{command, compensated, whole};

const SAGAS: usize = 300;

/// Every fifth row is gone, every fifth unreadable, every fifth shows what it should not, all by the
/// last digit of the id.
const DAMAGE: [&str; 3] = [
    "DELETE FROM saga WHERE substr(CAST(saga_id AS text), 36) IN ('0', '1', '2')",
    "UPDATE saga SET timeline = 'ruined'
     WHERE substr(CAST(saga_id AS text), 36) IN ('3', '4', '5')",
    "UPDATE saga SET status = 'running', ended_at = NULL
     WHERE substr(CAST(saga_id AS text), 36) IN ('6', '7', '8')",
];

fn story() -> Vec<Event> {
    match rand::random_bool(0.3) {
        false => whole(),
        true => {
            let begin = command();
            let rest = compensated(&begin, Reason::ALREADY_REGISTERED);
            [vec![begin], rest].concat()
        }
    }
}

async fn rebuild(bus: &Arc<FakeBus>, generations: Generations) -> Result<Report, RebuildError> {
    let journal = bus.read_journal(JournalStart::First).await.unwrap();
    let mut tell = |_| {};
    Rebuild::new(journal, generations, &mut tell).run().await
}

/// Projects what is recorded, while `work` goes on.
async fn beside_a_projector<T>(
    bus: &Arc<FakeBus>,
    ledger: &Arc<dyn Ledger>,
    work: impl Future<Output = T>,
) -> T {
    let stop = CancellationToken::new();
    let run = projector("one", bus, ledger).run(stop.clone());
    let work = async {
        let done = work.await;
        stop.cancel();
        done
    };
    tokio::join!(run, work).1
}

macro_rules! on_both_stores {
    ($($claim:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $claim() {
                let database = super::OnSqlite::new().await;
                super::$claim!(database, "SELECT json_array(saga_id, user_ticket_id, regist_id, user_id,
                    ticket_id, started_at, ended_at, waits_since, saga, status, waits_for, reason,
                    timeline, unanswered) FROM saga ORDER BY saga_id");
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $claim() {
                let database = super::OnPostgres::new().await;
                super::$claim!(
                    database,
                    "SELECT CAST(whole AS text) FROM saga AS whole ORDER BY saga_id"
                );
            })*
        }
    };
}

macro_rules! a_damaged_ledger_is_as_the_journal_has_it_while_sagas_go_on {
    ($database:ident, $rows:literal) => {{
        use super::*;
        let (bus, ledger) = (FakeBus::without_workers(), $database.ledger());
        let work = async {
            let stories: Vec<_> = (0..SAGAS).map(|_| story()).collect();
            bus.record(stories.iter().flatten());
            for story in &stories {
                ended(&ledger, story).await;
            }
            let before = $database.texts($rows).await;
            for damage in DAMAGE {
                $database.execute(damage).await;
            }
            assert_ne!($database.texts($rows).await, before);
            let generations = $database.generations().await;
            let later: Vec<_> = (0..SAGAS).map(|_| story()).collect();
            let traffic = async {
                for story in &later {
                    bus.record(story);
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            let (report, ()) = tokio::join!(rebuild(&bus, generations), traffic);
            let report = report.unwrap();
            assert!(report.missing > 0 && report.different > 0, "{report:?}");
            assert_eq!((report.kept, report.skipped), (0, 0));
            for story in &later {
                ended(&ledger, story).await;
            }
            let after = $database.texts($rows).await;
            assert_eq!(after.len(), 2 * SAGAS);
            let lost: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
            assert!(lost.is_empty(), "{lost:#?}");
            let again = rebuild(&bus, $database.generations().await).await.unwrap();
            let nothing = (again.missing, again.different, again.kept);
            assert_eq!((nothing, again.sagas), ((0, 0, 0), 2 * SAGAS as u64));
            assert_eq!($database.texts($rows).await, after);
        };
        beside_a_projector(&bus, &ledger, work).await;
    }};
}
use a_damaged_ledger_is_as_the_journal_has_it_while_sagas_go_on;

macro_rules! what_the_journal_no_longer_has_stays_in_the_ledger {
    ($database:ident, $rows:literal) => {{
        use super::*;
        let (bus, ledger) = (FakeBus::without_workers(), $database.ledger());
        let (gone, cut) = (whole(), whole());
        let row = |story: &Vec<Event>| story.iter().fold(None, |row, e| Some(fold(row, e)));
        let rows = [row(&gone).unwrap(), row(&cut).unwrap()];
        let page = Projection {
            new: &rows,
            known: &[],
            from: None,
            to: Some(JournalPosition(0)),
            seen: Some(JournalPosition(0)),
            lease: Lease {
                owner: "one",
                now: Timestamp::now(),
            },
        };
        assert_eq!(ledger.save(&page).await.unwrap(), Saved::Yes);
        let before = $database.texts($rows).await;
        // Of one saga the journal has the end only, of the other nothing.
        bus.record(&cut[1..]);
        let generations = $database.generations().await;
        let report = rebuild(&bus, generations).await.unwrap();
        assert_eq!((report.missing, report.different, report.kept), (0, 0, 1));
        assert_eq!($database.texts($rows).await, before);
    }};
}
use what_the_journal_no_longer_has_stays_in_the_ledger;

macro_rules! a_ledger_that_has_read_nothing_is_left_to_the_projector {
    ($database:ident, $rows:literal) => {{
        use super::*;
        let bus = FakeBus::without_workers();
        bus.record(&whole());
        let refused = rebuild(&bus, $database.generations().await).await;
        assert!(matches!(refused, Err(RebuildError::NothingProjected)));
        assert!($database.texts($rows).await.is_empty());
    }};
}
use a_ledger_that_has_read_nothing_is_left_to_the_projector;

on_both_stores! {
    a_damaged_ledger_is_as_the_journal_has_it_while_sagas_go_on
    what_the_journal_no_longer_has_stays_in_the_ledger
    a_ledger_that_has_read_nothing_is_left_to_the_projector
}

#[tokio::test]
async fn a_build_that_is_older_than_the_journal_changes_nothing() {
    let (database, bus) = (OnSqlite::new().await, FakeBus::without_workers());
    let (ledger, story) = (database.ledger(), whole());
    let work = async {
        bus.record(&story);
        ended(&ledger, &story).await;
        let newer = String::from_utf8(story[0].to_json()).unwrap();
        bus.record_raw([newer.replace("PurchaseAndRegister.v1", "CouponBooked.v1")]);
        let last = whole();
        bus.record(&last);
        ended(&ledger, &last).await;
        database.execute("UPDATE saga SET status = 'mended'").await;
        let refused = rebuild(&bus, database.generations().await).await;
        assert!(
            matches!(refused, Err(RebuildError::OlderBuild(_))),
            "{refused:?}"
        );
        let left = database.texts("SELECT status FROM saga").await;
        assert_eq!(left, [Some("mended".to_owned()), Some("mended".to_owned())]);
    };
    beside_a_projector(&bus, &ledger, work).await;
}
