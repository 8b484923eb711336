//! The [topology](super::topology) as a file that operators import into a broker, with a user for each
//! service who may do what that service does and no more. Services that find everything there
//! ([`TopologyMode::Check`](super::TopologyMode::Check)) need no more.
//!
//! Topic permissions are left out: they would check the routing keys of what is published to a topic
//! exchange, and services publish to the fanouts in front of those.

use std::time::Duration;

use events::Class;
use events::choreography::{self, API_GATEWAY, OWNERS, Service};
use serde_json::{Value, json};

use super::names::{Names, parking};
use super::topology::{Argument, Binding, Destination, Exchange, Topology, operations};

/// The user of `dlq` and of replays.
const OPERATOR: &str = "operator";
/// The default exchange, as permissions call it: leads to any queue by its name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// What `rabbitmqctl import_definitions` takes. The users have no password, and cannot log in before
/// they are given one.
pub fn definitions(namespace: &str, vhost: &str, delays: &[Duration]) -> Value {
    let names = Names::new(namespace);
    let mut topology = Topology::of_choreography(&names, delays);
    topology.queues.push(operations(&names));
    let queues = topology.queues.iter().map(|queue| {
        let arguments = queue.arguments.iter().map(|(key, value)| {
            let value = match value {
                Argument::Text(text) => json!(text),
                Argument::Number(number) => json!(number),
            };
            ((*key).to_owned(), value)
        });
        let arguments: serde_json::Map<_, _> = arguments.collect();
        json!({
            "name": queue.name,
            "vhost": vhost,
            "durable": true,
            "auto_delete": false,
            "arguments": arguments,
        })
    });
    let users = users(&names, delays);
    json!({
        "users": users.iter().map(User::definition).collect::<Vec<_>>(),
        "vhosts": [{"name": vhost}],
        "permissions": users.iter().map(|user| user.permission(vhost)).collect::<Vec<_>>(),
        "topic_permissions": [],
        "exchanges": topology.exchanges.iter().map(|it| exchange(it, vhost)).collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "bindings": topology.bindings.iter().map(|it| binding(it, vhost)).collect::<Vec<_>>(),
    })
}

fn exchange(exchange: &Exchange, vhost: &str) -> Value {
    let arguments = match &exchange.alternate {
        Some(alternate) => json!({"alternate-exchange": alternate}),
        None => json!({}),
    };
    json!({
        "name": exchange.name,
        "vhost": vhost,
        "type": exchange.kind.name(),
        "durable": true,
        "auto_delete": false,
        "internal": false,
        "arguments": arguments,
    })
}

fn binding(binding: &Binding, vhost: &str) -> Value {
    let (destination, destination_type) = match &binding.to {
        Destination::Exchange(name) => (name, "exchange"),
        Destination::Queue(name) => (name, "queue"),
    };
    json!({
        "source": binding.from,
        "vhost": vhost,
        "destination": destination,
        "destination_type": destination_type,
        "routing_key": binding.key,
        "arguments": {},
    })
}

/// Who may configure, write and read what. Each text is a regular expression for names.
struct User {
    name: String,
    configure: Vec<String>,
    write: Vec<String>,
    read: Vec<String>,
}

impl User {
    fn definition(&self) -> Value {
        json!({"name": self.name, "password_hash": "", "tags": []})
    }

    fn permission(&self, vhost: &str) -> Value {
        json!({
            "user": self.name,
            "vhost": vhost,
            "configure": any_of(&self.configure),
            "write": any_of(&self.write),
            "read": any_of(&self.read),
        })
    }
}

fn any_of(names: &[String]) -> String {
    format!("^({})$", names.join("|"))
}

/// Exactly this name.
fn exactly(name: &str) -> String {
    name.replace('.', r"\.")
}

fn users(names: &Names, delays: &[Duration]) -> Vec<User> {
    let mut services: Vec<Service> = choreography::steps().map(|step| step.service).collect();
    services.sort_by_key(|service| service.0);
    services.dedup();
    let participants = services
        .into_iter()
        .map(|service| participant(names, service, delays));
    let users = [gateway(names, delays), operator(names, delays)];
    users.into_iter().chain(participants).collect()
}

/// Works its queues off, answers questions, and looks at what is unrouted for its alarm.
fn participant(names: &Names, service: Service, delays: &[Duration]) -> User {
    let steps = || choreography::steps().filter(move |step| step.service == service);
    let mut read: Vec<_> = steps().map(|step| names.work(step)).collect();
    read.extend(OWNERS.contains(&service).then(|| names.questions(service)));
    read.push(names.unrouted());
    let outputs = steps().flat_map(|step| step.outputs());
    let mut write: Vec<_> = outputs.map(|output| names.front(output.class())).collect();
    write.extend(failing(names, delays));
    User::of(names.user(service.0), &[names.operator()], &write, &read)
}

/// Begins sagas, hears their ends, asks questions, follows the journal, and does what operators ask
/// it for.
fn gateway(names: &Names, delays: &[Duration]) -> User {
    let mut user = operator(names, delays);
    user.name = names.user(API_GATEWAY.0);
    let replies = format!("{}.+", exactly(&names.replies("")));
    user.configure.push(replies.clone());
    user.write.push(replies.clone());
    user.write.push(exactly(&names.front(Class::Command)));
    user.read.push(replies);
    user.read.push(exactly(&names.router(Class::Event)));
    user
}

/// Puts back what is parked or unrouted to where it was meant for, keeps the record of it, and reads
/// the journal.
fn operator(names: &Names, delays: &[Duration]) -> User {
    let mut write = vec![names.router(Class::Command), names.router(Class::Event)];
    write.extend(failing(names, delays));
    let mut read: Vec<_> = choreography::steps()
        .map(|step| parking(&names.work(step)))
        .collect();
    read.extend([names.unrouted(), names.operations(), names.journal()]);
    User::of(names.user(OPERATOR), &[names.operator()], &write, &read)
}

/// The exchanges that lead to a queue's later try, its dead letters, and itself.
fn failing(names: &Names, delays: &[Duration]) -> Vec<String> {
    let tiers = delays.iter().map(|&delay| names.tier(delay));
    let others = [names.dead_letter(), DEFAULT_EXCHANGE.to_owned()];
    tiers.chain(others).collect()
}

impl User {
    fn of(name: String, configure: &[String], write: &[String], read: &[String]) -> Self {
        let patterns = |names: &[String]| {
            let mut patterns: Vec<_> = names.iter().map(|name| exactly(name)).collect();
            patterns.sort();
            patterns.dedup();
            patterns
        };
        Self {
            name,
            configure: patterns(configure),
            write: patterns(write),
            read: patterns(read),
        }
    }
}

#[cfg(test)]
mod tests;
