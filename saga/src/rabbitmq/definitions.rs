//! The [topology](super::topology) as a file that operators import into a broker, with a user for each
//! [role](super::Role) who may do what that does and no more. Services that find everything there
//! ([`TopologyMode::Check`](super::TopologyMode::Check)) need no more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::names::Names;
use super::rights::{Name, Rights, Role};
use super::topology::{
    Argument, Binding, Destination, Exchange, QueueDefinition, Topology, operations,
};

/// Which definitions to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// For a broker that has nothing yet
    All,
    /// Exchanges, queues and bindings: adds what is missing and changes nothing else
    Topology,
    /// What users who are there may do, instead of what they might before
    Permissions,
}

/// What `rabbitmqctl import_definitions` takes, for a virtual host that is there.
pub fn definitions(namespace: &str, vhost: &str, delays: &[Duration], part: Part) -> Value {
    let names = Names::new(namespace);
    let mut definitions = json!({});
    if part != Part::Permissions {
        let mut topology = Topology::of_choreography(&names, delays);
        topology.queues.push(operations(&names));
        definitions["exchanges"] = all(&topology.exchanges, |it| exchange(it, vhost));
        definitions["queues"] = all(&topology.queues, |it| queue(it, vhost));
        definitions["bindings"] = all(&topology.bindings, |it| binding(it, vhost));
    }
    let users = Role::with_users();
    if part != Part::Topology {
        definitions["permissions"] = all(&users, |(role, user)| {
            let rights = Rights::of(*role, &names, delays);
            permission(&names.user(user), &rights, vhost)
        });
    }
    if part == Part::All {
        definitions["users"] = all(&users, |(_, user)| passwordless(&names.user(user)));
    }
    definitions
}

fn all<T>(these: &[T], definition: impl FnMut(&T) -> Value) -> Value {
    Value::Array(these.iter().map(definition).collect())
}

fn queue(queue: &QueueDefinition, vhost: &str) -> Value {
    let arguments = queue.arguments.iter().map(|(key, value)| {
        let value = match value {
            Argument::Text(text) => json!(text),
            Argument::Number(number) => json!(number),
        };
        ((*key).to_owned(), value)
    });
    json!({
        "name": queue.name,
        "vhost": vhost,
        "durable": true,
        "auto_delete": false,
        "arguments": Value::Object(arguments.collect()),
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

/// A user who cannot log in before it is given a password.
fn passwordless(user: &str) -> Value {
    json!({"name": user, "password_hash": "", "tags": []})
}

fn permission(user: &str, rights: &Rights, vhost: &str) -> Value {
    json!({
        "user": user,
        "vhost": vhost,
        "configure": any_of(&rights.configure),
        "write": any_of(&rights.write),
        "read": any_of(&rights.read),
    })
}

/// A regular expression for all of these and nothing else.
fn any_of(names: &BTreeSet<Name>) -> String {
    let patterns = names.iter().map(|name| match name {
        Name::Exactly(name) => exactly(name),
        Name::Within(begin) => format!("{}.+", exactly(begin)),
    });
    format!("^({})$", patterns.collect::<Vec<_>>().join("|"))
}

fn exactly(name: &str) -> String {
    name.replace('.', r"\.")
}

#[cfg(test)]
mod tests;
