//! What a saga that is over, or a group of them, may and may not differ in.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};

use events::choreography::{PURCHASE_AND_REGISTER, REGIST_WORKER, TICKET_WORKER};
use events::{MessageType, Reason, SagaId, UserTicketId};
use serde_json::{Value, json};

use super::books::{Books, Mismatch};
use super::cast::Cast;
use super::index::{Index, Pages};
use super::report::KEPT;
use super::under_way::UnderWay;
use super::{End, Finding, Options, Order, ReadError, Report, SagaDifference};

pub(super) struct Judge<'a> {
    index: &'a Index,
    options: &'a Options,
    /// The only saga that is asked about.
    chosen: Option<u32>,
    pub(super) books: Books,
    pub(super) report: Report,
    groups: HashMap<u32, Group>,
    /// The sagas that differ.
    told: HashMap<u32, Told>,
    /// Groups with a saga that the recording leaves before its end.
    open_groups: HashSet<u32>,
    /// The recording does not say how the world was before.
    is_partial: bool,
}

/// What was said of a saga that differs.
struct Told {
    /// Where it is in the report, if that has room for it.
    place: Option<usize>,
    is_undetermined: bool,
}

/// What is known of the sagas of a group that are over.
struct Group {
    /// Sagas that are not over.
    left: usize,
    sagas: Vec<SagaId>,
    /// With the saga that named it first.
    tickets: HashMap<UserTicketId, u32>,
    won: usize,
    won_in_recording: usize,
    /// One that won here and not there, or the other way round.
    changed: Option<u32>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        index: &'a Index,
        options: &'a Options,
        sagas: &[u32],
        chosen: Option<u32>,
    ) -> Self {
        let mut report = Report {
            messages: index.messages.len() as u64,
            sagas: index.sagas.len() as u64,
            ..Report::default()
        };
        let mut open_groups = HashSet::new();
        for &saga in sagas {
            if !index.has_command(saga) {
                report.without_command += 1;
                continue;
            }
            report.replayed += u64::from(!index.decisions(saga).is_empty());
            if index.end(saga).is_none() {
                report.without_end += 1;
                open_groups.insert(index.groups.of(saga));
            }
            if !index.groups.is_alone(saga) {
                report.grouped += 1;
                report.groups += u64::from(index.groups.of(saga) == saga);
            }
        }
        Self {
            is_partial: index.header.selection.is_some() || report.without_command > 0,
            index,
            options,
            chosen,
            books: Books::default(),
            report,
            groups: HashMap::new(),
            told: HashMap::new(),
            open_groups,
        }
    }

    /// Judges a saga of which nothing is left to be replayed.
    pub(super) fn close<R: Read + Seek>(
        &mut self,
        saga: u32,
        mut over: UnderWay,
        cast: &Cast,
        pages: &mut Pages<R>,
    ) -> Result<(), ReadError> {
        over.findings.extend(self.missing(saga, &over));
        let (recorded, replayed) = (self.index.end(saga), self.end(saga, &over));
        if let (Some(end), None) = (recorded, replayed) {
            over.findings.push(never_ended(end));
        }
        if self.index.groups.is_alone(saga) {
            let id = self.index.sagas[saga as usize];
            let tickets = std::mem::take(&mut over.tickets);
            for ticket in &tickets {
                over.findings.extend(self.state(*ticket, cast));
            }
            cast.forget(&[id], &tickets);
            self.books.forget(&tickets);
            return self.tell(saga, over, pages);
        }
        let may_change = self.options.order != Order::Recorded && !self.options.keeps_arbitration;
        if may_change {
            self.report.changed += u64::from(recorded != replayed);
            over.findings.retain(|finding| finding.in_any_order);
        }
        let is_complete = self.add_to_group(saga, &over);
        self.tell(saga, over, pages)?;
        match is_complete {
            true => self.close_group(self.index.groups.of(saga), cast, pages),
            false => Ok(()),
        }
    }

    pub(super) fn report(self) -> Report {
        self.report
    }

    /// Recorded answers to what was never asked.
    fn missing(&self, saga: u32, over: &UnderWay) -> Vec<Finding> {
        let decisions = self.index.decisions(saga).into_iter();
        let missing = decisions.filter_map(|decision| {
            let answer = self.index.messages[decision as usize].message_type;
            let step = self.index.answered_step(answer)?;
            (!over.asked.has(step.on)).then(|| Finding {
                at: format!("{} on {}", step.service.0, step.on),
                message: answer.to_string(),
                field: "message".to_owned(),
                recorded: json!("published"),
                replayed: Value::Null,
                in_any_order: false,
            })
        });
        missing.collect()
    }

    fn end(&self, saga: u32, over: &UnderWay) -> Option<MessageType> {
        let kind = self.index.kind(saga)?;
        let mut ends = kind.ends.iter().map(|end| end.on);
        ends.find(|end| over.said.has(*end))
    }

    fn state(&self, ticket: UserTicketId, cast: &Cast) -> Vec<Finding> {
        let mismatches = self.books.compare(ticket, cast).into_iter();
        let findings = mismatches.map(|Mismatch { row, said, found }| {
            let owner = if row.starts_with("regist") {
                REGIST_WORKER
            } else {
                TICKET_WORKER
            };
            Finding {
                at: format!("state of {}", owner.0),
                message: row,
                field: "row, by what was said".to_owned(),
                recorded: said,
                replayed: found,
                in_any_order: true,
            }
        });
        findings.collect()
    }

    /// Whether all of the group is over now.
    fn add_to_group(&mut self, saga: u32, over: &UnderWay) -> bool {
        let index = self.index;
        let root = index.groups.of(saga);
        let won = |end: Option<MessageType>| {
            end.is_some_and(|end| end == MessageType::RegistrationCompleted)
        };
        let (replayed, recorded) = (self.end(saga, over), index.end(saga));
        let group = self.groups.entry(root).or_insert_with(|| {
            let members = index.groups.members(root).iter();
            let replayed = members
                .filter(|saga| index.has_command(**saga) && !index.decisions(**saga).is_empty());
            Group {
                left: replayed.count(),
                sagas: Vec::new(),
                tickets: HashMap::new(),
                won: 0,
                won_in_recording: 0,
                changed: None,
            }
        });
        group.left -= 1;
        group.sagas.push(index.sagas[saga as usize]);
        for ticket in &over.tickets {
            group.tickets.entry(*ticket).or_insert(saga);
        }
        if won(replayed) != won(recorded) {
            group.changed = Some(saga);
        }
        group.won += usize::from(won(replayed));
        group.won_in_recording += usize::from(won(recorded));
        group.left == 0
    }

    fn close_group<R: Read + Seek>(
        &mut self,
        root: u32,
        cast: &Cast,
        pages: &mut Pages<R>,
    ) -> Result<(), ReadError> {
        let group = self.groups.remove(&root).expect("it was just added to");
        for (ticket, saga) in &group.tickets {
            let findings = self.state(*ticket, cast);
            self.tell(*saga, UnderWay::with(findings), pages)?;
        }
        let tickets: Vec<_> = group.tickets.into_keys().collect();
        cast.forget(&group.sagas, &tickets);
        self.books.forget(&tickets);
        let is_purchase = |saga: &u32| {
            let kind = self.index.kind(*saga);
            kind.is_some_and(|kind| kind.start == PURCHASE_AND_REGISTER.start)
        };
        let only_purchases = self.index.groups.members(root).iter().all(is_purchase);
        let is_open = self.open_groups.contains(&root);
        if only_purchases && !is_open && group.won != group.won_in_recording {
            let finding = Finding {
                at: "the sagas that compete with it".to_owned(),
                message: MessageType::RegistrationCompleted.to_string(),
                field: "how many win".to_owned(),
                recorded: json!(group.won_in_recording),
                replayed: json!(group.won),
                in_any_order: true,
            };
            let saga = group.changed.unwrap_or(root);
            self.tell(saga, UnderWay::with(vec![finding]), pages)?;
        }
        Ok(())
    }

    /// Enters what was found into the report.
    fn tell<R: Read + Seek>(
        &mut self,
        saga: u32,
        over: UnderWay,
        pages: &mut Pages<R>,
    ) -> Result<(), ReadError> {
        let is_asked_about = self.chosen.is_none_or(|chosen| chosen == saga);
        if over.findings.is_empty() || !is_asked_about {
            return Ok(());
        }
        if let Some(told) = self.told.get_mut(&saga) {
            told.add(over.findings, &mut self.report);
            return Ok(());
        }
        let difference = self.difference(saga, over, pages)?;
        match difference.is_undetermined {
            true => self.report.undetermined += 1,
            false => self.report.different += 1,
        }
        let differences = &mut self.report.differences;
        let has_room = differences.len() < KEPT;
        let told = Told {
            place: has_room.then_some(differences.len()),
            is_undetermined: difference.is_undetermined,
        };
        self.told.insert(saga, told);
        if has_room {
            differences.push(difference);
        }
        Ok(())
    }

    fn difference<R: Read + Seek>(
        &self,
        saga: u32,
        over: UnderWay,
        pages: &mut Pages<R>,
    ) -> Result<SagaDifference, ReadError> {
        let (about, recorded) = self.recorded(saga, pages)?;
        let kind = self.index.kind(saga);
        let outcome = |end| kind?.outcome_of(end);
        let replayed = match over.asked.is_empty() {
            // Only the state is found wanting.
            true => recorded.clone(),
            false => End {
                outcome: self.end(saga, &over).and_then(outcome),
                reason: over.reason,
            },
        };
        Ok(SagaDifference {
            saga: self.index.sagas[saga as usize],
            kind: kind.map_or("unknown", |kind| kind.name),
            is_undetermined: self.may_be_explained(saga, &over.findings, [&recorded, &replayed]),
            about,
            recorded,
            replayed,
            findings: over.findings,
        })
    }

    /// Whether what the recording lacks may be why: a decision that was made and not yet published
    /// when it ended, or what was there before it began.
    fn may_be_explained(&self, saga: u32, findings: &[Finding], ends: [&End; 2]) -> bool {
        if findings.iter().any(|finding| finding.in_any_order) {
            return false;
        }
        let by_facts = |end: &End| {
            let reason = end.reason.as_ref();
            reason.is_some_and(|reason| *reason != Reason::DEADLINE_EXCEEDED)
        };
        let root = self.index.groups.of(saga);
        let is_open = !self.index.groups.is_alone(saga) && self.open_groups.contains(&root);
        let takes_away = findings.iter().any(|finding| {
            finding.field.starts_with("data.freed") || finding.field == "data.cancelled"
        });
        is_open || self.is_partial && (ends.into_iter().any(by_facts) || takes_away)
    }

    /// What its command is about, and how the saga ended.
    fn recorded<R: Read + Seek>(
        &self,
        saga: u32,
        pages: &mut Pages<R>,
    ) -> Result<(String, End), ReadError> {
        let mut about = String::new();
        let mut reason = None;
        for message in self.index.of_saga(saga) {
            let event = pages.read(*message)?;
            let said = event.message.particulars();
            if about.is_empty() {
                let user = said.user_id.map(|id| format!("userId {id}"));
                let ticket = said.ticket_id.map(|id| format!("ticketId {id}"));
                let bought = said.user_ticket_id.map(|id| format!("userTicketId {id}"));
                let parts: Vec<String> = [user, ticket, bought].into_iter().flatten().collect();
                about = parts.join(", ");
            }
            reason = reason.or_else(|| said.reason.cloned());
        }
        let kind = self.index.kind(saga);
        let outcome = self.index.end(saga).and_then(|end| kind?.outcome_of(end));
        Ok((about, End { outcome, reason }))
    }
}

impl Told {
    /// What was found when its group was over, which nothing explains.
    fn add(&mut self, findings: Vec<Finding>, report: &mut Report) {
        if std::mem::take(&mut self.is_undetermined) {
            report.undetermined -= 1;
            report.different += 1;
        }
        if let Some(place) = self.place {
            report.differences[place].is_undetermined = false;
            report.differences[place].findings.extend(findings);
        }
    }
}

fn never_ended(end: MessageType) -> Finding {
    Finding {
        at: "the saga".to_owned(),
        message: end.to_string(),
        field: "end".to_owned(),
        recorded: json!(end.name()),
        replayed: Value::Null,
        in_any_order: true,
    }
}
