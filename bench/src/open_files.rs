//! Whether this process, and the gateway that it starts, may have as many connections as are to be
//! measured. Better told before than by a measurement that fails.

use std::fs;

use crate::failure::BenchError;

/// What a process has open besides its connections to callers.
const OTHERS: usize = 100;

/// Where the limit is not known, the measurement will show it.
pub(crate) fn check(connections: usize) -> Result<(), BenchError> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let needed = connections + OTHERS;
    match soft_limit(&limits) {
        Some(allowed) if allowed < needed => Err(BenchError::OpenFiles {
            connections,
            allowed,
            needed,
        }),
        _ => Ok(()),
    }
}

/// `Max open files  <soft>  <hard>  files`
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_counts_and_unlimited_is_none() {
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024   524288   files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files  unlimited  unlimited  files"),
            None
        );
    }
}
