//! What each role does on the broker, by name: what its user has to be allowed to configure, write
//! and read, and no more. It follows from the choreography.

use std::collections::BTreeSet;
use std::time::Duration;

use events::Class;
use events::choreography::{self, API_GATEWAY, OWNERS, Service};

use super::names::{Names, parking};

/// What a process is on the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// All of the others in one.
    #[default]
    All,
    /// One of the choreography's, the gateway among them.
    Service(Service),
    /// Whoever looks after dead letters, replays, or rebuilds the ledger.
    Operator,
}

/// Names of exchanges and queues, which may be called the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights {
    pub(super) configure: BTreeSet<Name>,
    pub(super) write: BTreeSet<Name>,
    pub(super) read: BTreeSet<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Exactly(String),
    /// Every name that begins so and goes on.
    Within(String),
}

/// The default exchange, as permissions call it: leads to any queue by its name.
const DEFAULT_EXCHANGE: &str = "amq.default";

impl Role {
    /// The roles that have a user each, and what it is called.
    pub(super) fn with_users() -> Vec<(Self, &'static str)> {
        let mut participants: Vec<Service> =
            choreography::steps().map(|step| step.service).collect();
        participants.sort_by_key(|service| service.0);
        participants.dedup();
        let services = [API_GATEWAY].into_iter().chain(participants);
        let services = services.map(|service| (Self::Service(service), service.0));
        services.chain([(Self::Operator, "operator")]).collect()
    }
}

impl Rights {
    pub(super) fn of(role: Role, names: &Names, delays: &[Duration]) -> Self {
        match role {
            Role::All => (Role::with_users().into_iter())
                .map(|(role, _)| Self::of(role, names, delays))
                .fold(Self::default(), Self::and),
            Role::Service(API_GATEWAY) => gateway(names).and(operator(names, delays)),
            Role::Service(service) => participant(service, names, delays),
            Role::Operator => operator(names, delays),
        }
    }

    fn new(
        configure: impl IntoIterator<Item = String>,
        write: impl IntoIterator<Item = String>,
        read: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            configure: configure.into_iter().map(Name::Exactly).collect(),
            write: write.into_iter().map(Name::Exactly).collect(),
            read: read.into_iter().map(Name::Exactly).collect(),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.configure.extend(other.configure);
        self.write.extend(other.write);
        self.read.extend(other.read);
        self
    }

    /// Whether it has any right to what is called so. Newer brokers refuse to say whether something
    /// is there to who has none.
    pub(super) fn touch(&self, name: &str) -> bool {
        let name = Name::Exactly(name.to_owned());
        let all = [&self.configure, &self.write, &self.read];
        all.into_iter().any(|names| names.contains(&name))
    }
}

/// Works its queues off, answers questions, and looks at what is unrouted for its alarm.
fn participant(service: Service, names: &Names, delays: &[Duration]) -> Rights {
    let steps = || choreography::steps().filter(move |step| step.service == service);
    let outputs = steps().flat_map(|step| step.outputs());
    let write = outputs.map(|output| names.front(output.class()));
    let questions = OWNERS.contains(&service).then(|| names.questions(service));
    let read = steps().map(|step| names.work(step)).chain(questions);
    Rights::new(
        [names.operator()],
        write.chain(failing(names, delays)),
        read.chain([names.unrouted()]),
    )
}

/// Beside what an operator does, for whom it does it: begins sagas, hears their ends, asks questions.
fn gateway(names: &Names) -> Rights {
    let mut rights = Rights::new(
        [],
        [names.front(Class::Command)],
        [names.router(Class::Event)],
    );
    let replies = Name::Within(names.replies(""));
    rights.configure.insert(replies.clone());
    rights.write.insert(replies.clone());
    rights.read.insert(replies);
    rights
}

/// Puts back what is parked or unrouted to where it was meant for, keeps the record of it, and reads
/// the journal.
fn operator(names: &Names, delays: &[Duration]) -> Rights {
    let parked = choreography::steps().map(|step| parking(&names.work(step)));
    Rights::new(
        [names.operator()],
        [Class::Command, Class::Event]
            .map(|class| names.router(class))
            .into_iter()
            .chain(failing(names, delays)),
        parked.chain([names.unrouted(), names.operations(), names.journal()]),
    )
}

/// The exchanges that lead to a queue's later try, its dead letters, and itself.
fn failing(names: &Names, delays: &[Duration]) -> impl Iterator<Item = String> {
    let tiers = delays.iter().map(|&delay| names.tier(delay));
    tiers.chain([names.dead_letter(), DEFAULT_EXCHANGE.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::super::topology::Topology;
    use super::*;
    use crate::retry::RetryPolicy;

    #[test]
    fn whoever_only_checks_everything_is_looked_at_by_one_of_them() {
        let (names, delays) = (Names::new("staging"), RetryPolicy::default().delays);
        let topology = Topology::of_choreography(&names, &delays);
        let exchanges = topology.exchanges.iter().map(|it| &it.name);
        let everything = exchanges.chain(topology.queues.iter().map(|it| &it.name));
        let rights = Role::with_users().into_iter();
        let rights: Vec<_> = rights
            .map(|(role, _)| Rights::of(role, &names, &delays))
            .collect();
        for name in everything {
            assert!(rights.iter().any(|rights| rights.touch(name)), "{name}");
        }
    }

    #[test]
    fn a_participant_touches_its_own_work_and_no_other_s() {
        let names = Names::new("");
        for step in choreography::steps() {
            for (role, _) in Role::with_users() {
                let touches = Rights::of(role, &names, &[]).touch(&names.work(step));
                assert_eq!(touches, role == Role::Service(step.service), "{role:?}");
            }
        }
    }
}
