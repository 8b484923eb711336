//! Dropping many messages. The record keeps them.

use tokio_util::sync::CancellationToken;

use super::{Choice, DeadLetterError, DeadLetters, Deed, Parked, Selection};

/// So many are in memory at a time.
const STEP: usize = 1_000;

/// Drops what is selected, and shows what was dropped, some at a time. Goes no further once it is asked
/// to stop.
pub async fn discard(
    letters: &mut dyn DeadLetters,
    selection: &Selection,
    deed: &Deed,
    stop: &CancellationToken,
    report: &mut (dyn FnMut(&[Parked]) + Send),
) -> Result<(), DeadLetterError> {
    for queue in selection.queues(letters.queues())? {
        loop {
            let mut taken = 0;
            let mut choose = |parked: &Parked| {
                if taken == STEP || stop.is_cancelled() {
                    return Choice::Stop;
                }
                if !selection.has(parked) {
                    return Choice::Leave;
                }
                taken += 1;
                Choice::Take
            };
            let dropped = letters.act(&queue, deed, &mut choose).await?;
            let were_last = taken < STEP;
            report(&dropped);
            // Fewer than chosen, where another command was faster.
            if were_last {
                break;
            }
        }
    }
    Ok(())
}
