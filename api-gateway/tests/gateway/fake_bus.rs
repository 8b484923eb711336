//! A bus in memory whose workers are a function from the command to what follows it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use events::choreography::{self, Service};
use events::{DecodeError, Event};
use saga::bus::{
    AskError, Bus, Consumer, Delivery, DeliveryTag, Health, JournalPage, JournalPosition,
    JournalReader, JournalStart, PublishError, Queue, Settlement, TopologyError,
};
use saga::dead_letters::{DeadLetterError, DeadLetters};
use saga::embedded::EmbeddedDeadLetters;
use tokio::sync::{mpsc, watch};

/// From a question to the answer of the service that is asked.
type Owner = Box<dyn Fn(&str) -> String + Send + Sync>;
type Workers = Box<dyn Fn(&Event) -> Vec<Event> + Send + Sync>;

pub(crate) struct FakeBus {
    workers: Workers,
    /// Answers every question, if there is one.
    pub(crate) owner: Mutex<Option<Owner>>,
    /// How many questions there are at the moment, and how many there were at most.
    pub(crate) asking: Mutex<(usize, usize)>,
    /// Why publishing fails, if it does.
    pub(crate) away: Mutex<Option<&'static str>>,
    /// How long a confirm takes.
    pub(crate) confirms_after: Mutex<Duration>,
    /// Why the journal cannot be opened, if it cannot.
    pub(crate) no_journal: Mutex<Option<&'static str>>,
    pub(crate) published: Mutex<Vec<Event>>,
    pub(crate) health: watch::Sender<Health>,
    /// Where each reader of the journal began.
    pub(crate) read_from: Mutex<Vec<Option<i64>>>,
    journal: watch::Sender<Vec<String>>,
    /// The file of the embedded bus whose dead letters are its own, if it shows any.
    pub(crate) parked_in: Mutex<Option<PathBuf>>,
    to_gateway: mpsc::UnboundedSender<Event>,
    replies: Mutex<Option<mpsc::UnboundedReceiver<Event>>>,
}

impl FakeBus {
    pub(crate) fn new(workers: impl Fn(&Event) -> Vec<Event> + Send + Sync + 'static) -> Arc<Self> {
        let (to_gateway, replies) = mpsc::unbounded_channel();
        Arc::new(Self {
            workers: Box::new(workers),
            owner: Mutex::default(),
            asking: Mutex::default(),
            away: Mutex::new(None),
            confirms_after: Mutex::default(),
            no_journal: Mutex::default(),
            published: Mutex::default(),
            health: watch::Sender::new(Health::Up),
            read_from: Mutex::default(),
            journal: watch::Sender::new(Vec::new()),
            parked_in: Mutex::default(),
            to_gateway,
            replies: Mutex::new(Some(replies)),
        })
    }

    /// Nobody answers.
    pub(crate) fn without_workers() -> Arc<Self> {
        Self::new(|_| Vec::new())
    }

    /// Appends to the journal.
    pub(crate) fn record<'a>(&self, events: impl IntoIterator<Item = &'a Event>) {
        let json = |event: &Event| String::from_utf8(event.to_json()).unwrap();
        self.record_raw(events.into_iter().map(json));
    }

    pub(crate) fn record_raw(&self, entries: impl IntoIterator<Item = String>) {
        self.journal.send_modify(|journal| journal.extend(entries));
    }

    /// Delivers to the gateway what ends a saga.
    pub(crate) fn reply(&self, event: Event) {
        self.to_gateway.send(event).unwrap();
    }

    pub(crate) fn last_published(&self) -> Event {
        self.published.lock().unwrap().last().unwrap().clone()
    }
}

#[async_trait]
impl Bus for FakeBus {
    async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        if let Some(reason) = *self.away.lock().unwrap() {
            let reason = reason.to_owned();
            return Err(PublishError::Unavailable { reason });
        }
        for command in events {
            self.published.lock().unwrap().push(command.clone());
            for event in (self.workers)(command) {
                if choreography::may_end_a_saga(event.message_type()) {
                    self.reply(event);
                }
            }
        }
        let confirm = *self.confirms_after.lock().unwrap();
        tokio::time::sleep(confirm).await;
        Ok(())
    }

    async fn consume(&self, queue: Queue) -> Result<Box<dyn Consumer>, TopologyError> {
        assert!(matches!(queue, Queue::Replies { .. }));
        let replies = self.replies.lock().unwrap().take();
        Ok(Box::new(Replies(replies.expect("one consumer"))))
    }

    async fn read_journal(
        &self,
        from: JournalStart,
    ) -> Result<Box<dyn JournalReader>, TopologyError> {
        if let Some(reason) = *self.no_journal.lock().unwrap() {
            let (what, reason) = ("queue saga.journal".to_owned(), reason.to_owned());
            return Err(TopologyError { what, reason });
        }
        let after = match from {
            JournalStart::First => None,
            JournalStart::After(position) => Some(position.0),
            JournalStart::Time(_) | JournalStart::Last => unreachable!("the ledger has a cursor"),
        };
        self.read_from.lock().unwrap().push(after);
        Ok(Box::new(Reader {
            journal: self.journal.subscribe(),
            next: usize::try_from(after.map_or(0, |position| position + 1)).unwrap(),
        }))
    }

    async fn dead_letters(&self) -> Result<Box<dyn DeadLetters>, DeadLetterError> {
        let path = self.parked_in.lock().unwrap().clone();
        let path = path.unwrap_or_else(|| "there is none".into());
        Ok(Box::new(EmbeddedDeadLetters::open(&path).await?))
    }

    async fn ask(
        &self,
        service: Service,
        question: String,
        limit: Duration,
    ) -> Result<String, AskError> {
        let (now, most) = *self.asking.lock().unwrap();
        *self.asking.lock().unwrap() = (now + 1, most.max(now + 1));
        // Everybody else who asks has the time to.
        tokio::task::yield_now().await;
        self.asking.lock().unwrap().0 -= 1;
        let owner = self.owner.lock().unwrap();
        let service = service.0;
        let owner = owner.as_ref();
        let owner = owner.ok_or(AskError::NoAnswer { service, limit })?;
        Ok(owner(&question))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn close(&self) {}
}

struct Replies(mpsc::UnboundedReceiver<Event>);

#[async_trait]
impl Consumer for Replies {
    async fn receive(&mut self, _max: usize) -> Vec<Delivery> {
        let Some(event) = self.0.recv().await else {
            return std::future::pending().await;
        };
        vec![Delivery {
            tag: DeliveryTag(0),
            event: Ok(event),
            attempts: 0,
        }]
    }

    async fn settle(&mut self, _settlements: Vec<(DeliveryTag, Settlement)>) {}
}

struct Reader {
    journal: watch::Receiver<Vec<String>>,
    next: usize,
}

#[async_trait]
impl JournalReader for Reader {
    async fn read(&mut self, max: usize) -> JournalPage {
        let next = self.next;
        let more = self.journal.wait_for(|journal| journal.len() > next).await;
        drop(more.expect("the bus outlives its readers"));
        let journal = self.journal.borrow();
        let decode =
            |entry: &String| -> Result<Event, DecodeError> { Event::from_json(entry.as_bytes()) };
        let entries: Vec<_> = journal[next..].iter().take(max).map(decode).collect();
        drop(journal);
        self.next += entries.len();
        let position = |place| JournalPosition(i64::try_from(place).unwrap());
        JournalPage {
            positions: (next..self.next).map(position).collect(),
            entries,
            position: JournalPosition(i64::try_from(self.next).unwrap() - 1),
        }
    }
}
