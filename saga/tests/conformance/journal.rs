//! Claims about the record of every event.

use super::*;

pub(crate) async fn the_journal_has_every_event_in_order<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(300);
    for events in published.chunks(7) {
        publish(&bus, events).await;
    }
    let mut reader = journal(&bus, JournalStart::First).await;
    assert_eq!(read(reader.as_mut(), 300).await, published);
}

pub(crate) async fn reading_on_has_no_gap_and_no_repeat<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(100);
    publish_singly(&bus, &published).await;
    let (mut from, mut got) = (JournalStart::First, Vec::new());
    while got.len() < published.len() {
        let page = journal(&bus, from).await.read(7).await;
        assert!(!page.entries.is_empty());
        got.extend(
            page.entries
                .into_iter()
                .map(|entry| entry.expect("an event")),
        );
        from = JournalStart::After(page.position);
    }
    assert_eq!(ids(&got), ids(&published));
}

pub(crate) async fn a_waiting_reader_is_woken_by_the_next_event<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let mut reader = journal(&bus, JournalStart::First).await;
    for published in many(5) {
        let (page, ()) = tokio::join!(
            reader.read(10),
            publish(&bus, std::slice::from_ref(&published))
        );
        let read: Vec<_> = page.entries.into_iter().flatten().collect();
        assert_eq!(ids(&read), [published.id]);
    }
}

pub(crate) async fn reading_the_journal_can_be_cancelled_at_any_moment<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(100);
    let mut reader = journal(&bus, JournalStart::First).await;
    let reading = async {
        let mut got = Vec::new();
        while got.len() < published.len() {
            // Dropped after ever more polls, so that it is dropped at each of its waits.
            for patience in 0.. {
                if let Some(page) = polled(reader.read(7), patience).await {
                    got.extend(page.entries.into_iter().flatten());
                    break;
                }
            }
        }
        got
    };
    let (got, ()) = tokio::join!(reading, publish_singly(&bus, &published));
    assert_eq!(ids(&got), ids(&published));
}

/// The future's output, unless it takes more than so many polls.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..=polls {
        if let Some(output) = future.as_mut().now_or_never() {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(crate) async fn the_journal_survives_a_restart<B: Broker>(broker: &B) {
    let published = many(20);
    let bus = broker.client().await;
    publish(&bus, &published[..10]).await;
    let page = journal(&bus, JournalStart::First).await.read(10).await;
    let seen = page.entries.len();
    broker.close().await;

    let bus = broker.client().await;
    publish(&bus, &published[10..]).await;
    let mut reader = journal(&bus, JournalStart::After(page.position)).await;
    let rest = read(reader.as_mut(), published.len() - seen).await;
    assert_eq!(ids(&rest), ids(&published[seen..]));
}

pub(crate) async fn garbage_in_the_journal_hides_no_neighbour<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(2);
    publish(&bus, &published[..1]).await;
    broker.put_garbage(STEP).await;
    publish(&bus, &published[1..]).await;
    let mut reader = journal(&bus, JournalStart::First).await;
    let mut entries = Vec::new();
    while entries.len() < 3 {
        entries.extend(reader.read(3).await.entries);
    }
    assert!(entries[1].is_err());
    let neighbours: Vec<_> = entries.into_iter().flatten().collect();
    assert_eq!(neighbours, published);
}

pub(crate) async fn a_journal_that_ends_before_its_reader_is_read_from_its_start<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let published = many(5);
    publish_singly(&bus, &published[..3]).await;
    let page = journal(&bus, JournalStart::First).await.read(3).await;
    // The reader was further on in the journal that this one took the place of.
    let beyond = JournalPosition(page.position.0 + 1_000);
    let mut reader = journal(&bus, JournalStart::After(beyond)).await;
    publish_singly(&bus, &published[3..]).await;
    assert_eq!(ids(&read(reader.as_mut(), 5).await), ids(&published));
}

pub(crate) async fn the_end_is_the_last_entry_of_what_is_confirmed<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    assert_eq!(end(&bus).await, None, "it is empty");
    let mut reader = journal(&bus, JournalStart::First).await;
    // In one message, in many, and more of them than fit a chunk of a stream.
    for (count, at_once) in [(1, 1), (700, 700), (300, 1), (2_000, 100)] {
        let published = many(count);
        let publishing = published
            .chunks(at_once)
            .map(|events| publish(&bus, events));
        futures_util::future::join_all(publishing).await;
        let told = end(&bus).await.expect("it is not empty");
        let (mut seen, mut last) = (0, told);
        while seen < count {
            let page = reader.read(count).await;
            (seen, last) = (seen + page.entries.len(), page.position);
        }
        assert_eq!((seen, last), (count, told));
    }
}

async fn end(bus: &Arc<dyn Bus>) -> Option<JournalPosition> {
    bus.journal_end().await.expect("the journal is there")
}

pub(crate) async fn a_reader_from_the_last_entry_begins_with_it<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let published = many(6);
    publish_singly(&bus, &published[..4]).await;
    let mut reader = journal(&bus, JournalStart::Last).await;
    publish_singly(&bus, &published[4..]).await;
    let got = read(reader.as_mut(), 3).await;
    assert_eq!(ids(&got), ids(&published[3..]));
}

pub(crate) async fn a_reader_from_a_time_misses_nothing_and_never_waits_in_vain<B: Broker>(
    broker: &B,
) {
    let bus = broker.client().await;
    let started = Timestamp::now();
    let published = many(20);
    publish_singly(&bus, &published[..19]).await;
    let hour = Duration::from_secs(3_600);
    let before = Timestamp::from_micros(started.as_micros() - 3_600_000_000);
    for from in [before, started] {
        let mut reader = journal(&bus, JournalStart::Time(from)).await;
        assert_eq!(ids(&read(reader.as_mut(), 19).await), ids(&published[..19]));
    }
    // Nothing is so young, so it begins with the last entry.
    let mut reader = journal(&bus, JournalStart::Time(started + hour)).await;
    publish_singly(&bus, &published[19..]).await;
    let got = read(reader.as_mut(), 2).await;
    assert_eq!(ids(&got), ids(&published[18..]));
}
