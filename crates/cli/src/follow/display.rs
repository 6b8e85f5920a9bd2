//! Where the lines go while a run is followed: redrawn on a terminal, one by one elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::picture::Picture;
use crate::output::{Canvas, Console, bar};

/// Cells of the bar.
const BAR: usize = 20;

/// The display of one run.
#[derive(Debug)]
pub(super) struct Display<'c> {
    console: &'c Console,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    multi: MultiProgress,
    /// One for each running line.
    lines: Vec<ProgressBar>,
    footer: ProgressBar,
}

impl<'c> Display<'c> {
    pub(super) fn new(console: &'c Console) -> Self {
        let live = console.is_live().then(|| {
            let multi = MultiProgress::new();
            let footer = multi.add(plain_line());
            Live { multi, lines: Vec::new(), footer }
        });
        Self { console, live }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn canvas(&self) -> Canvas {
        self.console.err()
    }

    /// Prints a line that stays.
    pub(super) fn line(&self, line: &str) {
        match &self.live {
            // A terminal that can't be written has gone; the run goes on.
            Some(live) => drop(live.multi.println(line)),
            None => self.console.note(line),
        }
    }

    /// Brings the running lines up to date.
    pub(super) fn draw(&mut self, picture: &Picture) {
        let canvas = self.canvas();
        let Some(live) = &mut self.live else { return };
        let lines = picture.running_lines(&canvas);
        while live.lines.len() > lines.len() {
            if let Some(line) = live.lines.pop() {
                line.finish_and_clear();
                live.multi.remove(&line);
            }
        }
        while live.lines.len() < lines.len() {
            live.lines.push(live.multi.insert_before(&live.footer, plain_line()));
        }
        for (line, text) in live.lines.iter().zip(lines) {
            say(line, text);
        }
        let (done, all) = picture.progress();
        let footer = format!("{}  {}", bar(&canvas, done, all, BAR), picture.footer(&canvas));
        say(&live.footer, canvas.fit(&footer));
    }

    /// Clears what is redrawn.
    pub(super) fn finish(self) {
        if let Some(live) = self.live {
            // As above.
            let _ = live.multi.clear();
        }
    }
}

/// Every message is drawn, so the same one is not said again.
fn say(line: &ProgressBar, text: String) {
    if line.message() != text {
        line.set_message(text);
    }
}

fn plain_line() -> ProgressBar {
    let line = ProgressBar::new_spinner();
    // The template has no placeholders that could be misspelled.
    line.set_style(
        ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    line
}
