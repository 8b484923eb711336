//! Claims about the events that answer a waiting gateway instance.

use saga::bus::PublishError;

use super::*;

pub(crate) async fn an_end_event_reaches_the_instance_it_names_and_no_other<B: Broker>(broker: &B) {
    let (one, other) = (broker.client().await, broker.client().await);
    let mut first = replies(&one, "gateway-1").await;
    let mut second = replies(&other, "gateway-10").await;
    let ends = PURCHASE_AND_REGISTER.ends.iter().map(|end| end.on);
    let for_instance = |instance: &str| -> Vec<Event> {
        let events = ends.clone();
        events
            .map(|end| event(end, SagaId::mint(), Some(instance)))
            .collect()
    };
    let (to_first, to_second) = (for_instance("gateway-1"), for_instance("gateway-10"));
    let to_nobody = for_instance("gateway-2");
    publish(
        &one,
        &[to_nobody, to_first.clone(), to_second.clone()].concat(),
    )
    .await;
    let (got_first, got_second) = tokio::join!(
        drain(first.as_mut(), to_first.len()),
        drain(second.as_mut(), to_second.len())
    );
    assert_eq!(count(&got_first), count(&to_first));
    assert_eq!(count(&got_second), count(&to_second));
}

pub(crate) async fn an_instance_gets_nothing_but_ends_of_sagas<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    let mut waiting = replies(&bus, "gateway-1").await;
    let saga = SagaId::mint();
    for message_type in [
        MessageType::PurchaseAndRegister,
        MessageType::TicketPurchased,
        MessageType::RegistrationFailed,
        MessageType::TicketDeleted,
    ] {
        publish(&bus, &[event(message_type, saga, Some("gateway-1"))]).await;
    }
    let only = next(waiting.as_mut()).await.event.expect("an event");
    assert_eq!(only.message_type(), MessageType::TicketDeleted);
}

pub(crate) async fn an_end_event_for_a_vanished_gateway_is_no_error<B: Broker>(broker: &B) {
    let bus = broker.client().await;
    drop(replies(&bus, "gateway-1").await);
    let ends = ["gateway-1", "gateway-2"].map(|instance| {
        event(
            MessageType::RegistrationCompleted,
            SagaId::mint(),
            Some(instance),
        )
    });
    // While its queue vanishes a broker may refuse; published again, as after any error, it is in.
    while let Err(error) = bus.publish(&ends).await {
        assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
    }
    let mut reader = journal(&bus, JournalStart::First).await;
    let mut journaled = HashMap::new();
    while journaled.len() < ends.len() {
        journaled.extend(count(&read(reader.as_mut(), 1).await));
    }
    assert!(ids(&ends).iter().all(|id| journaled.contains_key(id)));
}
