//! W3C trace context, version 00: taken over from the caller when it is valid, minted otherwise, so
//! that every saga can be followed.

use std::fmt;

/// `version-trace id-parent id-flags`, of which the version must be one that exists.
const LENGTH: usize = 55;

/// The caller's trace context, or a fresh one.
pub(crate) fn adopt(callers: Option<&str>) -> String {
    match callers {
        Some(text) if is_valid(text) => text.to_owned(),
        _ => Fresh(rand::random::<u128>().max(1), rand::random::<u64>().max(1)).to_string(),
    }
}

struct Fresh(u128, u64);

impl fmt::Display for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.0, self.1)
    }
}

/// A later version may carry more after what version 00 has; that much must be as in version 00.
fn is_valid(text: &str) -> bool {
    let Some((known, more)) = text.split_at_checked(LENGTH) else {
        return false;
    };
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    let hex = |part: &str, length| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.len() == length && part.bytes().all(digit)
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let whole = if version == "00" {
        more.is_empty()
    } else {
        // It goes into an AMQP header and a JSON text: nothing longer than a header line may be.
        more.is_empty() || (more.starts_with('-') && more.len() <= LENGTH)
    };
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2)
        && whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_trace_context_is_taken_over_and_a_fresh_one_is_valid() {
        assert_eq!(adopt(Some(VALID)), VALID);
        assert!(is_valid(&VALID.replacen("00", "01", 1)));
        assert!(is_valid(&format!("{}-more", VALID.replacen("00", "cc", 1))));
        assert!(is_valid(&adopt(None)));
        assert_ne!(adopt(None), adopt(None));
    }

    #[test]
    fn an_invalid_trace_context_is_replaced() {
        for invalid in [
            "",
            "00",
            &VALID.to_uppercase(),
            &VALID.replacen("00", "ff", 1),
            &format!("{VALID}-more"),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replace('-', "_"),
            &"é".repeat(40),
        ] {
            assert_ne!(adopt(Some(invalid)), invalid);
        }
    }
}
