//! The messages a consumer has in hand, and which of their events are settled. Pure.
//!
//! A message is acknowledged when each of its events is settled: the oldest ones in a row by one
//! acknowledgement, later ones singly. Tags of events only ever grow, and a lost connection forgets
//! what was in hand, so settling what the broker has taken back finds nothing and does nothing.

use std::collections::VecDeque;

use lapin::message::Delivery;

use super::pack::take_apart;
use crate::bus::DeliveryTag;

#[derive(Debug, Default)]
pub(super) struct InHand {
    /// In the order of delivery, so by ascending tags.
    messages: VecDeque<Message>,
    next_tag: u64,
}

#[derive(Debug)]
struct Message {
    first: u64,
    settled: Vec<bool>,
    open: usize,
    acknowledged: bool,
    delivery: Delivery,
}

/// An acknowledgement to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    pub(super) delivery_tag: u64,
    pub(super) multiple: bool,
}

impl InHand {
    /// Takes a message with so many events; the first of their tags.
    pub(super) fn take(&mut self, delivery: Delivery, events: usize) -> DeliveryTag {
        let first = self.next_tag;
        self.next_tag += u64::try_from(events).expect("a message holds few events");
        self.messages.push_back(Message {
            first,
            settled: vec![false; events],
            open: events,
            acknowledged: false,
            delivery,
        });
        DeliveryTag(first)
    }

    /// The message of the event and the place of the event in it, unless it is settled or forgotten.
    fn find(&self, tag: DeliveryTag) -> Option<(usize, usize)> {
        let after = self
            .messages
            .partition_point(|message| message.first <= tag.0);
        let message = after.checked_sub(1)?;
        let place = usize::try_from(tag.0 - self.messages[message].first).ok()?;
        let is_settled = *self.messages[message].settled.get(place)?;
        (!is_settled).then_some((message, place))
    }

    /// For each event the message that brought it, and the event's JSON. A message is taken apart once
    /// for all of its events that stand side by side.
    pub(super) fn events(
        &self,
        tags: impl Iterator<Item = DeliveryTag>,
    ) -> impl Iterator<Item = Option<(&Delivery, &[u8])>> {
        let mut apart = None;
        tags.map(move |tag| {
            let (message, place) = self.find(tag)?;
            let delivery = &self.messages[message].delivery;
            let (_, events) = match apart.take() {
                Some((last, events)) if last == message => apart.insert((last, events)),
                _ => apart.insert((message, take_apart(&delivery.data))),
            };
            Some((delivery, *events.get(place)?))
        })
    }

    /// The message that brought the event, unless it is settled or forgotten.
    pub(super) fn message(&self, tag: DeliveryTag) -> Option<&Delivery> {
        let (message, _) = self.find(tag)?;
        Some(&self.messages[message].delivery)
    }

    pub(super) fn settle(&mut self, tag: DeliveryTag) {
        if let Some((message, place)) = self.find(tag) {
            let message = &mut self.messages[message];
            message.settled[place] = true;
            message.open -= 1;
        }
    }

    /// What can be acknowledged by now.
    pub(super) fn acknowledgements(&mut self) -> Vec<Acknowledgement> {
        let mut acknowledgements = Vec::new();
        let mut oldest_in_a_row = None;
        while self
            .messages
            .front()
            .is_some_and(|message| message.open == 0)
        {
            let message = self.messages.pop_front();
            let message = message.filter(|message| !message.acknowledged);
            oldest_in_a_row = message.map(|m| m.delivery.delivery_tag).or(oldest_in_a_row);
        }
        acknowledgements.extend(oldest_in_a_row.map(|delivery_tag| Acknowledgement {
            delivery_tag,
            multiple: true,
        }));
        let later = self.messages.iter_mut();
        for message in later.filter(|message| message.open == 0 && !message.acknowledged) {
            message.acknowledged = true;
            acknowledgements.push(Acknowledgement {
                delivery_tag: message.delivery.delivery_tag,
                multiple: false,
            });
        }
        acknowledgements
    }

    /// The broker has taken everything back.
    pub(super) fn forget(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(delivery_tag: u64) -> Delivery {
        let body = br#"[{"n":0},{"n":1},{"n":2}]"#.to_vec();
        Delivery::mock(delivery_tag, "".into(), "".into(), false, body)
    }

    /// Three messages of three events each; the tags of their events.
    fn nine() -> (InHand, Vec<DeliveryTag>) {
        let mut in_hand = InHand::default();
        let firsts = [11, 12, 13].map(|tag| in_hand.take(message(tag), 3).0);
        let tags = firsts
            .iter()
            .flat_map(|first| (*first..first + 3).map(DeliveryTag));
        let tags = tags.collect();
        (in_hand, tags)
    }

    fn settle(in_hand: &mut InHand, tags: &[DeliveryTag]) -> Vec<(u64, bool)> {
        tags.iter().for_each(|tag| in_hand.settle(*tag));
        let acknowledgements = in_hand.acknowledgements().into_iter();
        acknowledgements
            .map(|ack| (ack.delivery_tag, ack.multiple))
            .collect()
    }

    #[test]
    fn a_message_is_acknowledged_when_each_of_its_events_is_settled() {
        let (mut in_hand, tags) = nine();
        assert_eq!(settle(&mut in_hand, &tags[..2]), []);
        assert_eq!(settle(&mut in_hand, &tags[..1]), [], "twice is once");
        assert_eq!(settle(&mut in_hand, &tags[2..3]), [(11, true)]);
        assert_eq!(settle(&mut in_hand, &tags[..3]), []);
    }

    #[test]
    fn the_oldest_in_a_row_are_acknowledged_at_once() {
        let (mut in_hand, tags) = nine();
        assert_eq!(settle(&mut in_hand, &tags), [(13, true)]);
    }

    #[test]
    fn a_later_message_is_acknowledged_singly_and_only_once() {
        let (mut in_hand, tags) = nine();
        assert_eq!(settle(&mut in_hand, &tags[6..]), [(13, false)]);
        assert_eq!(settle(&mut in_hand, &tags[..6]), [(12, true)]);
        assert_eq!(in_hand.acknowledgements(), []);
    }

    #[test]
    fn what_the_broker_took_back_is_passed_over() {
        let (mut in_hand, tags) = nine();
        in_hand.forget();
        let again = in_hand.take(message(1), 3);
        assert_eq!(settle(&mut in_hand, &tags), []);
        assert!(in_hand.message(tags[4]).is_none());
        assert!(!tags.contains(&again));
    }

    #[test]
    fn each_event_is_found_with_its_letters() {
        let (mut in_hand, tags) = nine();
        in_hand.settle(tags[3]);
        let asked = [tags[4], tags[5], tags[0], tags[3], tags[8]];
        let found = in_hand.events(asked.into_iter()).map(|event| {
            let (delivery, json) = event?;
            Some((delivery.delivery_tag, json))
        });
        let expected: [Option<(u64, &[u8])>; 5] = [
            Some((12, br#"{"n":1}"#)),
            Some((12, br#"{"n":2}"#)),
            Some((11, br#"{"n":0}"#)),
            None,
            Some((13, br#"{"n":2}"#)),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
