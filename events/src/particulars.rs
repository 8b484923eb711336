//! What a message carries that is worth keeping about its saga, whatever its type: so that a reader
//! of all messages (the ledger, the answer to a caller) needs no change when a message is added.

use crate::{Message, Reason, RegistId, TicketId, UserId, UserTicketId};

/// The ids and the reason of one message; absent is what its type does not carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Particulars<'a> {
    pub user_id: Option<UserId>,
    pub ticket_id: Option<TicketId>,
    pub user_ticket_id: Option<UserTicketId>,
    pub regist_id: Option<RegistId>,
    /// Why a step was refused, or why what it did had to go.
    pub reason: Option<&'a Reason>,
}

impl Message {
    /// What this message carries. A new message needs its line here.
    pub fn particulars(&self) -> Particulars<'_> {
        match self {
            Self::PurchaseAndRegister(m) => {
                Particulars::of(m.user_id, m.ticket_id, m.user_ticket_id)
            }
            Self::TicketPurchased(m) => Particulars::of(m.user_id, m.ticket_id, m.user_ticket_id),
            Self::PurchaseRejected(m) => Particulars {
                reason: Some(&m.reason),
                ..Particulars::of(m.user_id, m.ticket_id, m.user_ticket_id)
            },
            Self::RegistrationCompleted(m) => Particulars {
                regist_id: Some(m.regist_id),
                ..Particulars::of(m.user_id, m.ticket_id, m.user_ticket_id)
            },
            Self::RegistrationFailed(m) => Particulars {
                reason: Some(&m.reason),
                ..Particulars::of(m.user_id, m.ticket_id, m.user_ticket_id)
            },
            Self::TicketDeleted(m) => Particulars {
                user_ticket_id: Some(m.user_ticket_id),
                reason: Some(&m.cause),
                ..Particulars::default()
            },
        }
    }
}

impl Particulars<'_> {
    fn of(user_id: UserId, ticket_id: TicketId, user_ticket_id: UserTicketId) -> Self {
        Self {
            user_id: Some(user_id),
            ticket_id: Some(ticket_id),
            user_ticket_id: Some(user_ticket_id),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageType, SagaId};

    /// Every message with all fields that any message has, and those the particulars show.
    #[test]
    fn the_particulars_are_what_the_json_of_the_message_says() {
        let id = SagaId::mint().0;
        let data = format!(
            r#"{{"userId":7,"ticketId":9,"userTicketId":"{id}","registId":"{id}",
                "reason":"because","cause":"because"}}"#
        );
        for &message_type in MessageType::ALL {
            let message = Message::decode(message_type, &data).unwrap();
            let json = serde_json::to_value(&message).unwrap();
            let seen = message.particulars();
            let has = |field: &str| json.get(field).is_some();
            assert_eq!(seen.user_id.is_some(), has("userId"), "{message_type}");
            assert_eq!(seen.ticket_id.is_some(), has("ticketId"), "{message_type}");
            assert_eq!(
                seen.user_ticket_id.is_some(),
                has("userTicketId"),
                "{message_type}"
            );
            assert_eq!(seen.regist_id.is_some(), has("registId"), "{message_type}");
            assert_eq!(
                seen.reason.is_some(),
                has("reason") || has("cause"),
                "{message_type}"
            );
        }
    }
}
