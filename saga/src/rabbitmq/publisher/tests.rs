use events::{Class, Route};
use futures_util::FutureExt;

use super::*;
use crate::rabbitmq::pack::{Address, Label};
use crate::rabbitmq::{Packing, RabbitMqConfig};

fn publisher() -> (Publisher, PublisherTask) {
    let config = RabbitMqConfig::new("amqp://127.0.0.1", "test");
    let settings = Arc::new(Settings::check(config).unwrap());
    let health = Arc::new(HealthBoard::new(settings.broker()));
    let closing = CancellationToken::new();
    new(&settings, &health, &closing, &Arc::default())
}

fn commands(number: usize) -> Vec<Parcel> {
    let command = Parcel {
        address: Address::Route(Route {
            class: Class::Command,
            key: "a-key".into(),
        }),
        json: b"{}".to_vec(),
        label: Label::Written(Box::default()),
    };
    vec![command; number]
}

/// Somebody publishes so many commands and does not wait.
fn hand_over(publisher: &Publisher, task: &mut PublisherTask, number: usize) {
    let _ = publisher.publish(commands(number)).now_or_never();
    task.take_what_waits();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_refused_closes_the_entrance_to_nobody() {
    let (publisher, mut task) = publisher();
    let (room, packing) = (1, Packing::of(2));
    hand_over(&publisher, &mut task, 3);
    let left = task.pending.backlog.leave(room, &packing);
    assert_eq!(left.len(), 1, "and one command finds no room");
    task.pending.refuse_all("it blocks publishers");
    assert!(task.pending.backlog.leave(room, &packing).is_empty());
    hand_over(&publisher, &mut task, 1);
    assert_eq!(task.pending.backlog.leave(room, &packing).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_closes_holds_nobody_at_the_entrance() {
    let (publisher, mut task) = publisher();
    let mut window = Window::confirming(Packing::default());
    let since = Instant::now();
    // A group, which closes the entrance, and one that comes to it.
    for number in [2, 1] {
        let publishing = publisher.publish(commands(number));
        let publishing = async { tokio::join!(publishing, task.flush(&mut window)) };
        let published = tokio::time::timeout(FLUSH_LIMIT, publishing).await;
        published.unwrap().0.unwrap();
    }
    assert_eq!(since.elapsed(), Duration::ZERO);
}
