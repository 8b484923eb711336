//! In which order the recorded decisions are made again.
//!
//! A *lane* is a set of sagas in which every participant decides in the order in which it decided in
//! the recording, by the times of its answers; two in the same microsecond, in the order in which
//! their messages were published. In recorded order there is one lane of all sagas. In another order
//! there are many, which are taken from in turn (reversed) or at random (shuffled): one for each
//! saga, or, if the arbitration is kept, one for each group of sagas that may influence one another.

use std::collections::VecDeque;

use events::choreography::Service;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::Order;
use super::index::Index;

/// So many lanes are open at once: enough that sagas overlap, few enough to fit into memory.
const OPEN_LANES: usize = 1_000;

/// The decisions of a set of sagas that are to be made, in the recorded order, by participant.
#[derive(Debug, Default)]
pub(super) struct Lane {
    lines: Vec<(Service, VecDeque<u32>)>,
}

/// What is next in a lane.
pub(super) enum Next {
    /// To make this decision.
    Decision(u32),
    /// This one cannot be made: nothing that is left leads to what it answers.
    Unreached(u32),
}

impl Lane {
    pub(super) fn of(index: &Index, sagas: impl IntoIterator<Item = u32>) -> Self {
        let mut lane = Self::default();
        for saga in sagas {
            if index.has_command(saga) {
                for decision in index.decisions(saga) {
                    lane.line(index, decision).push_back(decision);
                }
            }
        }
        for (_, line) in &mut lane.lines {
            line.make_contiguous()
                .sort_by_cached_key(|decision| key(index, *decision));
        }
        lane
    }

    fn line(&mut self, index: &Index, decision: u32) -> &mut VecDeque<u32> {
        let answer = index.messages[decision as usize].message_type;
        let step = index
            .answered_step(answer)
            .expect("a decision is an answer");
        let known = self.lines.iter().position(|(of, _)| *of == step.service);
        let at = known.unwrap_or_else(|| {
            self.lines.push((step.service, VecDeque::new()));
            self.lines.len() - 1
        });
        &mut self.lines[at].1
    }

    /// The earliest of those that every participant has next, if what it answers is there.
    pub(super) fn next(&mut self, index: &Index, is_there: impl Fn(u32) -> bool) -> Option<Next> {
        let time = |decision: &u32| index.messages[*decision as usize].time;
        let first = |only_ready: bool| {
            let heads = self.lines.iter().enumerate();
            let heads = heads.filter_map(|(line, (_, queue))| Some((line, *queue.front()?)));
            let heads = heads.filter(|(_, decision)| !only_ready || is_there(*decision));
            heads.min_by_key(|(_, decision)| time(decision))
        };
        if let Some((line, decision)) = first(true) {
            self.lines[line].1.pop_front();
            return Some(Next::Decision(decision));
        }
        let (line, decision) = first(false)?;
        self.lines[line].1.pop_front();
        Some(Next::Unreached(decision))
    }
}

/// When it was decided, and then the place of what it answers in the journal.
fn key(index: &Index, decision: u32) -> (i64, u64) {
    let answer = index.messages[decision as usize];
    let on = index.answered_step(answer.message_type).map(|step| step.on);
    let asked = on.and_then(|on| index.copies(answer.saga, on).next());
    (answer.time, asked.map_or(0, |asked| asked.offset))
}

/// The open lanes, and what is to be opened.
pub(super) struct Lanes {
    order: Order,
    /// One for each group, not for each saga.
    by_group: bool,
    /// A saga of each lane, the next one last.
    closed: Vec<u32>,
    open: Vec<Lane>,
    turn: usize,
}

impl Lanes {
    /// Over these sagas.
    pub(super) fn of(
        index: &Index,
        sagas: Vec<u32>,
        order: Order,
        keeps_arbitration: bool,
        chance: &mut SmallRng,
    ) -> Self {
        let mut lanes = Self {
            order,
            by_group: keeps_arbitration,
            closed: Vec::new(),
            open: Vec::new(),
            turn: 0,
        };
        if order == Order::Recorded {
            lanes.open.push(Lane::of(index, sagas));
            return lanes;
        }
        lanes.closed = sagas;
        if keeps_arbitration {
            let stands_for_all = |saga: &u32| index.groups.of(*saga) == *saga;
            lanes.closed.retain(stands_for_all);
        }
        if order == Order::Shuffled {
            for place in (1..lanes.closed.len()).rev() {
                lanes.closed.swap(place, chance.random_range(0..=place));
            }
        }
        lanes
    }

    /// The lane whose turn it is.
    pub(super) fn pick(&mut self, index: &Index, chance: &mut SmallRng) -> Option<usize> {
        while self.open.len() < OPEN_LANES
            && let Some(saga) = self.closed.pop()
        {
            self.open.push(match self.by_group {
                true => Lane::of(index, index.groups.members(saga).iter().copied()),
                false => Lane::of(index, [saga]),
            });
        }
        if self.open.is_empty() {
            return None;
        }
        self.turn = match self.order {
            Order::Shuffled => chance.random_range(0..self.open.len()),
            Order::Recorded | Order::Reversed => (self.turn + 1) % self.open.len(),
        };
        Some(self.turn)
    }

    pub(super) fn lane(&mut self, at: usize) -> &mut Lane {
        &mut self.open[at]
    }

    /// Of a lane that has nothing left.
    pub(super) fn close(&mut self, at: usize) {
        self.open.swap_remove(at);
    }
}
