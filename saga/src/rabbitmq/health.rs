//! One state of health out of the two connections, and one log line for each change of it.

use std::sync::Mutex;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::bus::Health;

/// The two halves of the bus, each with a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Publishing,
    Consuming,
}

#[derive(Debug)]
pub(super) struct HealthBoard {
    broker: String,
    /// What is wrong with each half, if anything.
    troubles: Mutex<[Option<String>; 2]>,
    health: watch::Sender<Health>,
}

impl HealthBoard {
    /// Not connected yet; nothing is consumed yet either.
    pub(super) fn new(broker: String) -> Self {
        let connecting = "not connected yet".to_owned();
        let health = down(&broker, &connecting);
        Self {
            broker,
            troubles: Mutex::new([Some(connecting), None]),
            health: watch::Sender::new(health),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn up(&self, half: Half) {
        self.set(half, None);
    }

    pub(super) fn down(&self, half: Half, reason: String) {
        self.set(half, Some(reason));
    }

    /// Nothing is waited for any more.
    pub(super) fn closed(&self) {
        self.health
            .send_replace(down(&self.broker, "the bus is closed"));
    }

    fn set(&self, half: Half, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().expect("no one panics in here");
        troubles[half as usize] = trouble;
        let now = match troubles.iter().flatten().next() {
            Some(reason) => down(&self.broker, reason),
            None => Health::Up,
        };
        let changed = self.health.send_if_modified(|health| {
            let changed = *health != now;
            health.clone_from(&now);
            changed
        });
        if changed {
            match now {
                Health::Up => info!(broker = self.broker, "connected to RabbitMQ"),
                Health::Down { waiting_for } => warn!("waiting for {waiting_for}"),
            }
        }
    }
}

fn down(broker: &str, reason: &str) -> Health {
    Health::Down {
        waiting_for: format!("RabbitMQ at {broker}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_is_up_only_when_both_halves_are() {
        let board = HealthBoard::new("somewhere:5672".into());
        let health = board.watch();
        board.down(Half::Consuming, "refused".into());
        board.up(Half::Publishing);
        assert_eq!(
            health.borrow().to_string(),
            "waiting for RabbitMQ at somewhere:5672: refused"
        );
        board.up(Half::Consuming);
        assert!(health.borrow().is_up());
    }

    #[test]
    fn the_same_trouble_again_is_no_change() {
        let board = HealthBoard::new("somewhere:5672".into());
        board.down(Half::Publishing, "refused".into());
        let mut health = board.watch();
        health.mark_unchanged();
        board.down(Half::Publishing, "refused".into());
        assert!(!health.has_changed().unwrap());
    }
}
