//! Counts in words, for everything that people read.

use std::fmt::Display;

/// `1 task`, `3 tasks`, `0 retries`.
#[must_use]
pub fn plural<N: Display + PartialEq + From<u8>>(count: N, word: &str) -> String {
    match word.strip_suffix('y') {
        _ if count == N::from(1) => format!("{count} {word}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(plural(1_u32, "task"), "1 task");
        assert_eq!(plural(0_usize, "retry"), "0 retries");
        assert_eq!(plural(2_u64, "day"), "2 days");
        assert_eq!(plural(3_u32, "work stream"), "3 work streams");
    }
}
