//! Small quantities in words: durations, ages, money, tokens.

use super::canvas::Canvas;

/// `45s`, `1m02s`, `3h07m`, `2d04h`.
#[must_use]
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0 if ms > 0 => "<1s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago `at` was: `3m20s ago`.
#[must_use]
pub fn age(canvas: &Canvas, at: i64) -> String {
    match canvas.now - at {
        ..1_000 => "just now".to_owned(),
        elapsed => format!("{} ago", duration(elapsed)),
    }
}

/// Money in millionths of a US dollar: `$1.84`. Nothing is said when it isn't known.
#[must_use]
pub fn money(microusd: Option<u64>) -> Option<String> {
    let micro = microusd?;
    // Below a cent two digits would hide that it was anything at all.
    Some(if micro != 0 && micro < 10_000 {
        format!("${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
    } else {
        format!("${}.{:02}", micro / 1_000_000, micro % 1_000_000 / 10_000)
    })
}

/// `980`, `12.3k`, `4.5M` tokens.
#[must_use]
pub fn tokens(count: u64) -> String {
    match count {
        ..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}.{}k", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// A share from 0 to 1 as `87%`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0)
}

/// A bar of `width` cells, filled in proportion to `done` of `all`.
#[must_use]
pub fn bar(canvas: &Canvas, done: usize, all: usize, width: usize) -> String {
    let filled = (done * width).checked_div(all).unwrap_or(0).min(width);
    let full = canvas.sign("█", "#").repeat(filled);
    let empty = canvas.sign("░", "-").repeat(width - filled);
    format!("{full}{empty}")
}

/// `text` with every line end and run of blanks as one blank.
#[must_use]
pub fn of_one_line(text: &str) -> String {
    if text.contains(['\n', '\r']) {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_exact_enough() {
        let check = |ms, expected: &str| assert_eq!(duration(ms), expected);
        check(-5, "0s");
        check(0, "0s");
        check(300, "<1s");
        check(45_999, "45s");
        check(62_000, "1m02s");
        check(11_220_000, "3h07m");
        check(187_200_000, "2d04h");
    }

    #[test]
    fn money_never_rounds_to_nothing() {
        let check = |micro, expected: Option<&str>| assert_eq!(money(micro).as_deref(), expected);
        check(None, None);
        check(Some(0), Some("$0.00"));
        check(Some(1_840_000), Some("$1.84"));
        check(Some(9_630), Some("$0.0096"));
    }

    #[test]
    fn counts_are_put_into_words() {
        assert_eq!(tokens(980), "980");
        assert_eq!(tokens(12_345), "12.3k");
        assert_eq!(tokens(4_560_000), "4.5M");
        assert_eq!(percent(0.874), "87%");
        assert_eq!(bar(&Canvas::plain(), 1, 4, 8), "██░░░░░░");
        assert_eq!(bar(&Canvas::plain(), 1, 0, 2), "░░");
    }
}
