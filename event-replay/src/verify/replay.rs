//! The run: takes the next decision, hands its event to the participant, and compares the answer.
//!
//! In memory are the sagas that are under way, what the participants keep of them, and the index;
//! everything else is read when its turn comes and let go of when its saga is over.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};
use std::time::Duration;

use events::choreography::{self, Service, Step};
use events::{Event, SagaId, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use saga::decision::Moment;
use saga::failure::Failure;
use serde_json::json;
use uuid::Uuid;

use super::cast::Cast;
use super::index::{Index, Pages};
use super::judge::Judge;
use super::order::{Lanes, Next};
use super::under_way::UnderWay;
use super::{Finding, Options, Progress, ReadError, Report};

/// An event is handed again within so many turns: while its saga is under way, after it, and among
/// many others.
const AGAIN_WITHIN: u64 = 1_000;
/// How much later it is then: past every deadline, so that who decides again decides otherwise.
const LATER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Replay<'a, R> {
    index: &'a Index,
    pages: Pages<R>,
    cast: Cast,
    options: &'a Options,
    chance: SmallRng,
    lanes: Lanes,
    under_way: HashMap<u32, UnderWay>,
    again: BTreeMap<(u64, u64), Again>,
    turn: u64,
    judge: Judge<'a>,
    /// Recorded messages that were read since it was told.
    read: u64,
}

/// An event that was handled, to be handed to its participant again.
struct Again {
    saga: u32,
    event: Event,
    moment: Moment,
    answer: Event,
}

impl<'a, R: Read + Seek> Replay<'a, R> {
    pub(super) fn new(
        index: &'a Index,
        pages: Pages<R>,
        cast: Cast,
        options: &'a Options,
        chosen: Option<u32>,
    ) -> Self {
        let mut chance = SmallRng::seed_from_u64(options.seed);
        let sagas: Vec<u32> = match chosen {
            Some(saga) => index.groups.members(index.groups.of(saga)).to_vec(),
            None => (0..super::index::number(index.sagas.len())).collect(),
        };
        let judge = Judge::new(index, options, &sagas, chosen);
        let keeps = options.keeps_arbitration;
        Self {
            lanes: Lanes::of(index, sagas, options.order, keeps, &mut chance),
            index,
            pages,
            cast,
            options,
            chance,
            under_way: HashMap::new(),
            again: BTreeMap::new(),
            turn: 0,
            judge,
            read: 0,
        }
    }

    pub(super) async fn run(
        mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, ReadError> {
        let of = self.index.messages.len() as u64;
        loop {
            self.turn += 1;
            self.hand_again_until(self.turn).await?;
            let Some(at) = self.lanes.pick(self.index, &mut self.chance) else {
                break;
            };
            let (index, under_way) = (self.index, &self.under_way);
            let is_there = |decision| is_there(index, under_way, decision);
            match self.lanes.lane(at).next(index, is_there) {
                Some(Next::Decision(decision)) => self.decide(decision).await?,
                Some(Next::Unreached(decision)) => self.pass_over(decision)?,
                None => self.lanes.close(at),
            }
            (0..std::mem::take(&mut self.read)).for_each(|_| progress(Progress::Replayed { of }));
        }
        self.hand_again_until(u64::MAX).await?;
        Ok(self.judge.report())
    }

    /// Makes a recorded decision again.
    async fn decide(&mut self, decision: u32) -> Result<(), ReadError> {
        let recorded = self.index.messages[decision as usize];
        let saga = recorded.saga;
        let step = step_answered(self.index, decision);
        let event = match self.saga(saga).take(step.on) {
            Some(event) => event,
            None => self.command(saga, step)?,
        };
        let mut next = Some((event, step));
        while let Some((event, step)) = next {
            next = self.hand(saga, event, step).await?;
        }
        self.over(saga)
    }

    fn pass_over(&mut self, decision: u32) -> Result<(), ReadError> {
        let saga = self.index.messages[decision as usize].saga;
        let on = step_answered(self.index, decision).on;
        self.saga(saga).unreached.add(on);
        self.over(saga)
    }

    fn saga(&mut self, saga: u32) -> &mut UnderWay {
        let index = self.index;
        self.under_way.entry(saga).or_insert_with(|| UnderWay {
            left: index.decisions(saga).len(),
            ..UnderWay::default()
        })
    }

    /// The recorded command. If it was sent more than once, the one that was answered first.
    fn command(&mut self, saga: u32, step: &'static Step) -> Result<Event, ReadError> {
        let mut copies = self.index.copies(saga, step.on);
        let first = copies
            .next()
            .expect("a saga without its command is not replayed");
        let command = self.pages.read(first)?;
        self.read += 1;
        let Some(answer) = self.index.answers(saga, step).next() else {
            return Ok(command);
        };
        let rest: Vec<_> = copies.collect();
        if rest.is_empty() {
            return Ok(command);
        }
        let answer = self.pages.read(answer)?;
        for copy in rest {
            let copy = self.pages.read(copy)?;
            self.read += 1;
            let taken_over = |event: &Event| {
                let Event {
                    deadline,
                    reply_to,
                    traceparent,
                    ..
                } = event;
                (*deadline, reply_to.clone(), traceparent.clone())
            };
            if taken_over(&copy) == taken_over(&answer) {
                return Ok(copy);
            }
        }
        Ok(command)
    }

    fn is_started_once(&self, saga: u32) -> bool {
        let start = self.index.kind(saga).map(|kind| kind.start);
        start.is_some_and(|start| self.index.copies(saga, start).count() == 1)
    }

    /// Hands an event to its participant and compares the answer. Returns what is to be handed on at
    /// once, because the recording says nothing of when.
    async fn hand(
        &mut self,
        saga: u32,
        event: Event,
        step: &'static Step,
    ) -> Result<Option<(Event, &'static Step)>, ReadError> {
        let recorded: Vec<_> = self.index.answers(saga, step).collect();
        let mut answers = Vec::with_capacity(recorded.len());
        for answer in recorded {
            answers.push(self.pages.read(answer)?);
        }
        self.read += answers.len() as u64;
        let moment = moment_of(&event, answers.first());
        let answer = self.react(saga, step.service, &event, moment).await;
        let at = format_args!("{} on {}", step.service.0, step.on).to_string();
        self.saga(saga).asked.add(step.on);
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.saga(saga).failed(at, answers.first(), &failure);
                return Ok(None);
            }
        };
        let is_started_once = self.is_started_once(saga);
        self.saga(saga)
            .compare(&at, &answers, &answer, is_started_once);
        self.enter(saga, at, &event, &answer);
        let next = self.go_on(saga, &answer);
        self.plan_again(saga, &event, moment, &answer);
        Ok(next)
    }

    /// Asks the participant, which may die after its commit and be asked again.
    async fn react(
        &mut self,
        saga: u32,
        service: Service,
        event: &Event,
        moment: Moment,
    ) -> Result<Event, Failure> {
        self.judge.report.deliveries += 1;
        let mut answer = self.cast.react(service, event, moment).await?;
        while hits(&mut self.chance, self.options.crash) {
            self.judge.report.crashes += 1;
            self.judge.report.deliveries += 1;
            self.cast.crash(service);
            let second = self.cast.react(service, event, later(moment)).await?;
            let at = format!("{} on {}, after a crash", service.0, event.message_type());
            self.saga(saga).compare_again(&at, &answer, &second);
            answer = second;
        }
        Ok(answer)
    }

    fn enter(&mut self, saga: u32, at: String, event: &Event, answer: &Event) {
        let unjustified = self.judge.books.enter(event, &answer.message);
        let UnderWay {
            said,
            reason,
            tickets,
            findings,
            ..
        } = self.saga(saga);
        said.add(answer.message_type());
        let (asked, told) = (event.message.particulars(), answer.message.particulars());
        if let Some(why) = told.reason {
            reason.get_or_insert_with(|| why.clone());
        }
        let named = [asked.user_ticket_id, told.user_ticket_id];
        tickets.extend(named.into_iter().flatten());
        tickets.extend(super::books::also_touched(&answer.message));
        findings.extend(unjustified.map(|unjustified| Finding {
            at,
            message: answer.message_type().to_string(),
            field: "needs".to_owned(),
            recorded: json!(unjustified.needed),
            replayed: json!(unjustified.found),
            in_any_order: true,
        }));
    }

    /// Where the answer goes: to its participant when the recording says, or at once if the recording
    /// says nothing of it, or nowhere if the recording ends there.
    fn go_on(&mut self, saga: u32, answer: &Event) -> Option<(Event, &'static Step)> {
        let said = answer.message_type();
        let step = choreography::steps().find(|step| step.on == said)?;
        let is_recorded = self.index.has(saga, said);
        let is_answered = self.index.answers(saga, step).next().is_some();
        let under_way = self.saga(saga);
        let is_in_time = !under_way.unreached.has(said);
        match (is_answered && is_in_time, is_recorded && is_in_time) {
            (true, _) => under_way.waiting.push(answer.clone()),
            (false, true) => {}
            (false, false) => return Some((answer.clone(), step)),
        }
        None
    }

    /// As often as the journal has it more than once, and as chance will have it.
    fn plan_again(&mut self, saga: u32, event: &Event, moment: Moment, answer: &Event) {
        let copies = self.index.copies(saga, event.message_type()).count();
        let more = usize::from(hits(&mut self.chance, self.options.duplicate));
        for _ in 0..copies.saturating_sub(1) + more {
            let turn = self.turn + self.chance.random_range(1..=AGAIN_WITHIN);
            let again = Again {
                saga,
                event: event.clone(),
                moment,
                answer: answer.clone(),
            };
            self.saga(saga).again += 1;
            self.judge.report.duplicates += 1;
            let number = self.judge.report.duplicates;
            self.again.insert((turn, number), again);
        }
    }

    async fn hand_again_until(&mut self, turn: u64) -> Result<(), ReadError> {
        while let Some(due) = self.again.first_entry()
            && due.key().0 <= turn
        {
            let Again {
                saga,
                event,
                moment,
                answer,
            } = due.remove();
            let on = event.message_type();
            let step = choreography::steps().find(|step| step.on == on);
            let service = step.expect("it was handled before").service;
            let at = format!("{} on {on}, delivered again", service.0);
            match self.react(saga, service, &event, later(moment)).await {
                Ok(second) => self.saga(saga).compare_again(&at, &answer, &second),
                Err(failure) => self.saga(saga).failed(at, Some(&answer), &failure),
            }
            self.saga(saga).again -= 1;
            self.judge_if_over(saga)?;
        }
        Ok(())
    }

    /// One of the saga's recorded decisions is behind it.
    fn over(&mut self, saga: u32) -> Result<(), ReadError> {
        self.saga(saga).left -= 1;
        self.judge_if_over(saga)
    }

    fn judge_if_over(&mut self, saga: u32) -> Result<(), ReadError> {
        let known = self.under_way.get(&saga);
        if known.is_some_and(|known| known.left == 0 && known.again == 0)
            && let Some(over) = self.under_way.remove(&saga)
        {
            self.judge.close(saga, over, &self.cast, &mut self.pages)?;
        }
        Ok(())
    }
}

fn step_answered(index: &Index, decision: u32) -> &'static Step {
    let answer = index.messages[decision as usize].message_type;
    let step = index.answered_step(answer);
    step.expect("a decision is the answer of a step")
}

/// Whether what the decision answers is the command, or was published.
fn is_there(index: &Index, under_way: &HashMap<u32, UnderWay>, decision: u32) -> bool {
    let saga = index.messages[decision as usize].saga;
    let on = step_answered(index, decision).on;
    if index.kind(saga).is_some_and(|kind| kind.start == on) {
        return true;
    }
    let waiting = under_way.get(&saga).map(|known| &known.waiting);
    waiting.is_some_and(|waiting| waiting.iter().any(|event| event.message_type() == on))
}

/// The recorded moment of the answer, with the id that was minted for it.
fn moment_of(event: &Event, answer: Option<&Event>) -> Moment {
    let minted = answer.and_then(|answer| answer.message.particulars().regist_id);
    Moment {
        now: answer.map_or(event.time, |answer| answer.time),
        fresh_id: minted.map_or_else(|| id_in_replay(event.saga_id), |id| id.0),
    }
}

/// For a saga that was not registered in the recording, the same in every replay.
fn id_in_replay(saga: SagaId) -> Uuid {
    Uuid::new_v5(&saga.0, b"registered in a replay")
}

fn later(moment: Moment) -> Moment {
    let now: Timestamp = moment.now + LATER;
    Moment {
        now,
        fresh_id: Uuid::new_v5(&moment.fresh_id, b"again"),
    }
}

fn hits(chance: &mut SmallRng, probability: f64) -> bool {
    probability > 0.0 && chance.random_bool(probability)
}
