//! Of all gateways one projects, and another follows.

use std::sync::Arc;
use std::time::Duration;

use api_gateway::ledger::{Claim, LEASE, Ledger, Projection, Saved};
use saga::bus::JournalPosition;

use super::{held, lease};
use crate::databases::OnPostgres;

pub(super) async fn one_owner_projects_and_another_follows_after_the_lease(
    ledger: &Arc<dyn Ledger>,
) {
    let lasts = i64::try_from(LEASE.as_secs()).unwrap();
    let claim = |owner, second| async move { ledger.claim(&lease(owner, second)).await.unwrap() };
    assert_eq!(claim("one", 100).await, Claim::Held { cursor: None });
    assert_eq!(claim("two", 100 + lasts).await, Claim::Taken);
    let page = |owner, second, to| {
        let lease = lease(owner, second);
        let (from, to) = (None, Some(JournalPosition(to)));
        Projection {
            new: &[],
            known: &[],
            from,
            to,
            seen: to,
            lease,
        }
    };
    let early = ledger.save(&page("two", 100 + lasts, 1)).await.unwrap();
    assert_eq!(early, Saved::NotOurs);
    // Late, and then the first owner comes back with the page it had in hand.
    assert_eq!(
        claim("two", 101 + lasts).await,
        Claim::Held { cursor: None }
    );
    let late = ledger.save(&page("one", 101 + lasts, 1)).await.unwrap();
    assert_eq!(late, Saved::NotOurs);
    let ours = ledger.save(&page("two", 101 + lasts, 1)).await.unwrap();
    assert_eq!(ours, Saved::Yes);
    // Saving has renewed the lease.
    assert_eq!(claim("one", 101 + 2 * lasts).await, Claim::Taken);
    assert_eq!(claim("one", 102 + 2 * lasts).await, held(1));
}

pub(super) async fn a_lease_that_is_given_back_is_free_at_once(ledger: &Arc<dyn Ledger>) {
    ledger.claim(&lease("one", 100)).await.unwrap();
    ledger.release("two").await.unwrap();
    let taken = ledger.claim(&lease("two", 100)).await.unwrap();
    assert_eq!(taken, Claim::Taken);
    ledger.release("one").await.unwrap();
    let free = ledger.claim(&lease("two", 100)).await.unwrap();
    assert_eq!(free, Claim::Held { cursor: None });
}

#[tokio::test]
async fn two_that_claim_at_once_do_not_both_get_it() {
    let database = OnPostgres::new().await;
    let ledger = database.ledger();
    let claims = (0..8).map(|n| {
        let ledger = ledger.clone();
        async move {
            let owner = format!("gateway-{n}");
            ledger.claim(&lease(&owner, 100)).await.unwrap()
        }
    });
    let mut together = tokio::task::JoinSet::new();
    claims.for_each(|claim| {
        together.spawn(claim);
    });
    let limit = Duration::from_secs(10);
    let claims = tokio::time::timeout(limit, together.join_all())
        .await
        .unwrap();
    let held = claims.iter().filter(|claim| **claim != Claim::Taken);
    assert_eq!(held.count(), 1);
}
