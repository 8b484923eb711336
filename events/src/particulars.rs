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

macro_rules! carries {
    ($($name:ident: $($field:ident)* $(, because $reason:ident)?;)*) => {
        impl Message {
            /// What this message carries.
            pub fn particulars(&self) -> Particulars<'_> {
                match self {
                    $(Self::$name(message) => Particulars {
                        $($field: message.$field.into(),)*
                        $(reason: Some(&message.$reason),)?
                        ..Particulars::default()
                    }),*
                }
            }
        }
    };
}

// A new message needs its line here.
carries! {
    PurchaseAndRegister: user_id ticket_id user_ticket_id;
    TicketPurchased: user_id ticket_id user_ticket_id;
    PurchaseRejected: user_id ticket_id user_ticket_id, because reason;
    RegistrationCompleted: user_id ticket_id user_ticket_id regist_id;
    RegistrationFailed: user_id ticket_id user_ticket_id, because reason;
    TicketDeleted: user_ticket_id, because cause;
    AddTicket: user_id ticket_id user_ticket_id;
    TicketAdded: user_id ticket_id user_ticket_id;
    TicketAddRejected: user_id ticket_id user_ticket_id, because reason;
    ChangeTicket: user_id ticket_id user_ticket_id;
    TicketChanged: user_id ticket_id user_ticket_id;
    TicketChangeRejected: user_ticket_id, because reason;
    RemoveTicket: user_ticket_id user_id;
    RegistrationsClosed: user_ticket_id;
    TicketRemovalRejected: user_ticket_id, because reason;
    TicketRemoved: user_ticket_id;
    Register: user_id user_ticket_id;
    TicketHeld: user_id ticket_id user_ticket_id;
    RegisterRejected: user_id user_ticket_id, because reason;
    Registered: user_id ticket_id user_ticket_id regist_id;
    NotRegistered: user_id ticket_id user_ticket_id, because reason;
    TicketReleased: user_ticket_id, because cause;
    ChangeRegistration: regist_id user_id user_ticket_id;
    NewTicketHeld: user_id ticket_id user_ticket_id regist_id;
    RegistrationChangeRejected: regist_id user_ticket_id, because reason;
    RegistrationChanged: user_id ticket_id user_ticket_id regist_id;
    RegistrationNotChanged: regist_id user_ticket_id, because reason;
    OldTicketFreed: user_id ticket_id user_ticket_id regist_id;
    NewTicketReleased: regist_id user_ticket_id, because cause;
    CancelRegistration: regist_id user_id user_ticket_id;
    RegistrationCancelled: regist_id;
    CancellationRejected: regist_id user_id user_ticket_id, because reason;
    TicketFreed: regist_id;
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
                "reason":"because","cause":"because","from":"{id}","heldBy":"{id}",
                "createdAt":"2026-11-25T00:00:00Z","changedAt":"2026-11-25T00:00:00Z"}}"#
        );
        for &message_type in MessageType::ALL {
            let message = Message::decode(message_type.wire_type(), &data).unwrap();
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
