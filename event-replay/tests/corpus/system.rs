//! The real participants on the embedded bus and SQLite, and what a scene needs of them: to send
//! commands as the gateway does, and to wait for what they lead to in the journal.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use event_replay::recording::{Header, Writer};
use events::choreography::{API_GATEWAY, may_end_a_saga, saga_of};
use events::{Event, Message, MessageType, RegistId, SagaId, Timestamp};
use saga::bus::{Bus, JournalPosition, JournalReader, JournalStart};
use saga::database::Database;
use saga::embedded::{EmbeddedBus, EmbeddedConfig, JournalRetention};
use saga::participant::LoopOptions;
use saga::retry::RetryPolicy;
use saga::{SHUTDOWN_LIMIT, Tasks};
use tempfile::TempDir;
use uuid::Uuid;

/// Within this, a saga that is to become late between two steps has done its first.
const FIRST_STEP: Duration = Duration::from_secs(2);

pub(crate) struct System {
    _folder: TempDir,
    bus: Arc<dyn Bus>,
    journal: Box<dyn JournalReader>,
    recorded: Vec<(JournalPosition, Event)>,
    ticket: Database,
    regist: Database,
    tasks: Tasks,
    regist_tasks: Tasks,
    sagas: u128,
    /// Of this recording's ids, so that no two recordings have one in common.
    number: u128,
}

impl System {
    pub(crate) async fn start(number: u128) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tasks = Tasks::new();
        let config = EmbeddedConfig {
            path: folder.path().join("bus.db"),
            retry: RetryPolicy::default(),
            prefetch: 1_024,
            journal: JournalRetention::default(),
        };
        let bus: Arc<dyn Bus> = EmbeddedBus::open(config, &tasks).await.expect("a bus");
        let database = |name: &str| {
            let url = format!("sqlite://{}/{name}.db", folder.path().display());
            Database::open(&url, name).expect("a database")
        };
        let mut system = Self {
            ticket: database("ticket"),
            regist: database("regist"),
            journal: bus
                .read_journal(JournalStart::First)
                .await
                .expect("a journal"),
            bus,
            _folder: folder,
            recorded: Vec::new(),
            regist_tasks: Tasks::new(),
            tasks,
            sagas: 0,
            number,
        };
        let options = LoopOptions::default();
        let started = ticket_worker::start(&system.bus, &system.ticket, &options, &system.tasks);
        started.await.expect("the ticket-worker starts");
        system.start_regist_worker().await;
        system
    }

    async fn start_regist_worker(&mut self) {
        self.regist_tasks = Tasks::new();
        let (options, tasks) = (LoopOptions::default(), &self.regist_tasks);
        let started = regist_worker::start(&self.bus, &self.regist, &options, tasks);
        started.await.expect("the regist-worker starts");
    }

    async fn stop_regist_worker(&self) {
        self.regist_tasks.stop();
        let ended = self.regist_tasks.join(SHUTDOWN_LIMIT).await;
        ended.expect("the regist-worker stops");
    }

    /// A command as the gateway would send it.
    pub(crate) fn command(&mut self, message: impl Into<Message>) -> Event {
        let message = message.into();
        let kind = saga_of(message.message_type()).expect("a command starts a saga");
        self.sagas += 1;
        // A UUID of version 8, as is right for ids that are only meant to be told apart.
        let id = (self.number << 32) + self.sagas + 0x8000_8000_0000_0000_0000;
        let saga_id = SagaId(Uuid::from_u128(id));
        let now = Timestamp::now();
        Event {
            id: Event::id_of(saga_id, message.message_type()),
            source: API_GATEWAY.0.into(),
            time: now,
            saga_id,
            causation_id: None,
            traceparent: None,
            reply_to: Some("corpus".to_owned()),
            deadline: Some(now + kind.deadline),
            message,
        }
    }

    pub(crate) async fn send(&self, commands: &[Event]) {
        self.bus.publish(commands).await.expect("the bus takes it");
    }

    /// Runs one saga to its end, which is returned.
    pub(crate) async fn run(&mut self, message: impl Into<Message>) -> Event {
        let command = self.command(message);
        self.send(std::slice::from_ref(&command)).await;
        self.end_of(&command, 1).await
    }

    /// The same, and the command is delivered again after the end.
    pub(crate) async fn run_twice(&mut self, message: impl Into<Message>) {
        let command = self.command(message);
        for times in 1..=2 {
            self.send(std::slice::from_ref(&command)).await;
            self.end_of(&command, times).await;
        }
    }

    /// The deadline is past when the first participant sees the command.
    pub(crate) async fn run_late(&mut self, message: impl Into<Message>) {
        let mut command = self.command(message);
        command.deadline = Some(command.time);
        self.send(std::slice::from_ref(&command)).await;
        self.end_of(&command, 1).await;
    }

    /// The deadline passes between the two participants: the second was down.
    pub(crate) async fn run_late_at_the_second_step(
        &mut self,
        message: impl Into<Message>,
        first: MessageType,
    ) {
        self.stop_regist_worker().await;
        let mut command = self.command(message);
        let deadline = Timestamp::now() + FIRST_STEP;
        command.deadline = Some(deadline);
        self.send(std::slice::from_ref(&command)).await;
        self.wait(
            |event| event.saga_id == command.saga_id && event.message_type() == first,
            1,
        )
        .await;
        tokio::time::sleep(deadline.since(Timestamp::now()) + Duration::from_millis(1)).await;
        self.start_regist_worker().await;
        self.end_of(&command, 1).await;
    }

    /// Runs them all at the same time, to their ends.
    pub(crate) async fn run_all(&mut self, commands: &[Event]) {
        self.send(commands).await;
        let mut left: HashSet<SagaId> = commands.iter().map(|event| event.saga_id).collect();
        while !left.is_empty() {
            let event = self.read().await;
            if may_end_a_saga(event.message_type()) {
                left.remove(&event.saga_id);
            }
        }
    }

    /// Waits until the saga has ended so often.
    pub(crate) async fn end_of(&mut self, command: &Event, times: usize) -> Event {
        let kind = saga_of(command.message_type()).expect("a command starts a saga");
        let saga_id = command.saga_id;
        let ends = move |event: &Event| {
            event.saga_id == saga_id && kind.outcome_of(event.message_type()).is_some()
        };
        self.wait(ends, times).await
    }

    /// Reads the journal until so many such events are in it.
    async fn wait(&mut self, is_wanted: impl Fn(&Event) -> bool, times: usize) -> Event {
        loop {
            let mut found = self.recorded.iter().filter(|(_, event)| is_wanted(event));
            if let Some((_, event)) = found.nth(times - 1) {
                return event.clone();
            }
            self.read().await;
        }
    }

    /// One entry at a time, so that the position is this one's.
    async fn read(&mut self) -> Event {
        let mut page = self.journal.read(1).await;
        let event = page.entries.pop().expect("a page has an entry");
        let event = event.expect("it is readable");
        self.recorded.push((page.position, event.clone()));
        event
    }

    /// Ends the system; the recording of all that happened.
    pub(crate) async fn record(self) -> Vec<u8> {
        self.stop_regist_worker().await;
        self.tasks.stop();
        self.bus.close().await;
        let _ = self.tasks.join(SHUTDOWN_LIMIT).await;
        let header = Header::of("the participants on the embedded bus, scene by scene");
        let mut writer = Writer::new(Vec::new(), &header).expect("memory");
        for (position, event) in &self.recorded {
            writer.message(*position, event).expect("memory");
        }
        writer.finish().expect("memory").0
    }
}

/// The registration that a saga made.
pub(crate) fn regist_id(end: &Event) -> RegistId {
    let registered = end.message.particulars().regist_id;
    registered.unwrap_or_else(|| panic!("no registration: {end:?}"))
}
