//! What befalls the whole world from time to time: outages, old messages sent again, rubbish. And
//! the operator's part when it is over.

use std::sync::Arc;

use crate::bus::SharedBroker;
use crate::fate::Fate;
use crate::fault::Fault;
use crate::replica::Ground;
use crate::storage::Outage;
use crate::trace::{About, Who};

/// How many old messages are sent again at a time, at most.
const BURST: usize = 8;

/// Strikes until all is calm.
pub(crate) async fn haunt(ground: Ground) {
    let fate = &ground.fate;
    while !fate.is_calm() {
        tokio::time::sleep(fate.chance.millis(200..3_000)).await;
        if fate.strikes(Fault::BrokerAway, Who::Broker, About::default()) {
            ground.broker.lock().go_away(fate.chance.millis(50..15_000));
        }
        for outage in [&ground.ticket_database, &ground.regist_database] {
            if fate.strikes(Fault::DatabaseAway, outage.who(), About::default()) {
                outage.last(fate.chance.millis(50..15_000));
            }
        }
        if fate.strikes(Fault::Garbled, Who::Broker, About::default()) {
            ground.broker.lock().garble();
        }
        for _ in 0..fate.chance.number(0..BURST) {
            redeliver_one(fate, &ground.broker);
        }
    }
}

fn redeliver_one(fate: &Arc<Fate>, broker: &SharedBroker) {
    let mut broker = broker.lock();
    if broker.journal.is_empty() {
        return;
    }
    let old = Arc::clone(&broker.journal[fate.chance.number(0..broker.journal.len())]);
    if fate.strikes(Fault::Redelivered, Who::Operator, &*old) {
        broker.redeliver(&old);
    }
}

/// Ends every outage; from now on nothing fails.
pub(crate) fn calm_down(ground: &Ground) {
    ground.fate.calm_down();
    ground.broker.lock().come_back();
    let databases = [&ground.ticket_database, &ground.regist_database];
    databases.into_iter().for_each(Outage::end);
}

/// Mends what poisoned messages, and puts the dead letters back.
pub(crate) fn repair(ground: &Ground) {
    ground.fate.mend();
    ground.broker.lock().requeue();
}

/// Delivers some of the journal again, sometimes all of it, last things first.
pub(crate) fn replay(ground: &Ground) {
    let fate = &ground.fate;
    let mut broker = ground.broker.lock();
    let journal = broker.journal.clone();
    let count = fate.chance.number(0..journal.len() + 1);
    for old in journal.iter().rev().take(count) {
        fate.note(Who::Operator, "replayed", &**old);
        broker.redeliver(old);
    }
}
