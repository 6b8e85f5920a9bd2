//! What a rendering may count on: width, color, signs, and the present moment.

use anstyle::{AnsiColor, Style};

/// The meaning of a color. State is always told by a sign and a word too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Well done.
    Good,
    /// Not well.
    Bad,
    /// Worth a look.
    Warn,
    /// Going on now.
    Live,
    /// Beside the point.
    Faint,
    /// A heading.
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Live => AnsiColor::Cyan.on_default(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// What a rendering may count on.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// Whether escape sequences for color may be used.
    pub color: bool,
    /// Whether only ASCII may be used for our own signs.
    pub ascii: bool,
    /// How many cells a line may have; no limit when the output isn't a terminal.
    pub width: Option<usize>,
    /// The present moment, in Unix milliseconds.
    pub now: i64,
}

impl Canvas {
    /// `text` in the color of `tone`.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.color && !text.is_empty() {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// `unicode`, or `ascii` where only that may be used.
    #[must_use]
    pub fn sign(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    /// `line` cut to the width, with a sign that something is missing.
    #[must_use]
    pub fn fit(&self, line: &str) -> String {
        match self.width {
            Some(width) => self.cut(line, width),
            None => line.to_owned(),
        }
    }

    /// `line` cut to `width` cells, with a sign that something is missing.
    #[must_use]
    pub fn cut(&self, line: &str, width: usize) -> String {
        console::truncate_str(line, width, self.sign("…", ".")).into_owned()
    }
}

#[cfg(test)]
impl Canvas {
    /// Without color, 80 cells wide, at a fixed moment.
    pub(crate) fn plain() -> Self {
        Self { color: false, ascii: false, width: Some(80), now: 1_772_357_400_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_added_only_where_it_may_be() {
        let plain = Canvas::plain();
        assert_eq!(plain.paint(Tone::Good, "ok"), "ok");
        let colored = Canvas { color: true, ..plain };
        assert_eq!(colored.paint(Tone::Good, "ok"), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(colored.paint(Tone::Good, ""), "");
    }

    #[test]
    fn lines_are_cut_by_cells_not_by_bytes() {
        let canvas = Canvas { width: Some(5), ..Canvas::plain() };
        assert_eq!(canvas.fit("übergroß"), "über…");
        assert_eq!(canvas.fit("漢字漢字"), "漢字…");
        assert_eq!(Canvas { ascii: true, ..canvas }.fit("abcdefg"), "abcd.");
        assert_eq!(Canvas { width: None, ..canvas }.fit("abcdefg"), "abcdefg");
    }
}
