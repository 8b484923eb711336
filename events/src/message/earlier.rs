//! Messages in versions that this build reads and does not write. Decoding turns each into the
//! message it is today, so that no rule, store or gateway ever sees one.
//!
//! They are never removed while a journal, a recording or a decision may hold one, and their golden
//! files and schemas never change.

use serde::Deserialize;
use uuid::Uuid;

use super::PurchaseAndRegister;
use crate::{TicketId, UserId, UserTicketId};

/// `PurchaseAndRegister.v0`: the purchase as the system before this one starts it, which numbers
/// its tickets. What it has in hand when it is replaced can be sent to this one.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct OriginalPurchase {
    /// The number of the ticket that is bought.
    id: u64,
    user_id: UserId,
    ticket_id: TicketId,
}

impl From<OriginalPurchase> for PurchaseAndRegister {
    fn from(original: OriginalPurchase) -> Self {
        Self {
            user_id: original.user_id,
            ticket_id: original.ticket_id,
            user_ticket_id: numbered(original.id),
        }
    }
}

/// The number is the last 64 bits of the id, and can be read back. No id that we mint looks so: its
/// first bits are a time.
fn numbered(number: u64) -> UserTicketId {
    UserTicketId(Uuid::from_u64_pair(0, number))
}

#[cfg(test)]
mod tests {
    use crate::{Message, PurchaseAndRegister, TicketId, UserId};

    #[test]
    fn a_purchase_of_the_original_system_is_read_as_one_of_ours() {
        let data = r#"{"id": 1594018563027767296, "userId": 7, "ticketId": 9,
            "createdAt": "2022-11-19 17:15:13", "deletedAt": null}"#;
        let Ok(Message::PurchaseAndRegister(purchase)) =
            Message::decode("PurchaseAndRegister.v0", data)
        else {
            panic!("another message")
        };
        let PurchaseAndRegister {
            user_id,
            ticket_id,
            user_ticket_id,
        } = purchase;
        assert_eq!((user_id, ticket_id), (UserId(7), TicketId(9)));
        let id = user_ticket_id.to_string();
        assert_eq!(id, "00000000-0000-0000-161f-177006a61000");
        assert_eq!(
            user_ticket_id.0.as_u64_pair(),
            (0, 1_594_018_563_027_767_296)
        );
    }

    #[test]
    fn what_is_wrong_in_an_earlier_version_is_named_as_well() {
        let wrong = Message::decode("PurchaseAndRegister.v0", r#"{"id": "x"}"#).unwrap_err();
        assert!(wrong.to_string().contains("field `id`"), "{wrong}");
    }
}
