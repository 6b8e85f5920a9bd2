//! The two streams of the program, and the person in front of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use kapelle_runtime::clock::Clock;
use serde::Serialize;

use super::canvas::{Canvas, Tone};
use super::json::to_json;
use super::sanitize::sanitize;
use super::{Color, Format, Show};
use crate::error::{Error, Problem};

/// Cells of a line where nobody knows better.
const USUAL_WIDTH: usize = 80;

/// What the flags and the environment say about output.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--output`.
    pub format: Format,
    /// `--quiet`: nothing on standard error but errors.
    pub quiet: bool,
    /// `--color`.
    pub color: Color,
    /// `--ascii`.
    pub ascii: bool,
    /// `--yes`.
    pub yes: bool,
    /// `--no-input`.
    pub no_input: bool,
}

/// The streams of the program.
#[derive(Debug)]
pub struct Console {
    settings: Settings,
    out: Canvas,
    err: Canvas,
    live: bool,
    clock: Clock,
    /// Whoever read our standard output has gone.
    closed: AtomicBool,
}

impl Console {
    /// Looks at the streams and at `environment`.
    #[must_use]
    pub fn new(
        settings: Settings,
        environment: &BTreeMap<OsString, OsString>,
        clock: Clock,
    ) -> Self {
        let says = |name: &str| environment.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let dumb = says("TERM").is_some_and(|term| term == "dumb");
        let out = console::Term::stdout();
        let err = console::Term::stderr();
        let canvas = |terminal: bool, term: &console::Term| Canvas {
            color: colored(settings.color, terminal, dumb, says),
            ascii: settings.ascii,
            width: terminal.then(|| width(term, says("COLUMNS"))),
            now: 0,
        };
        Self {
            out: canvas(io::stdout().is_terminal(), &out),
            err: canvas(io::stderr().is_terminal(), &err),
            live: io::stderr().is_terminal() && !dumb && !settings.quiet,
            clock,
            closed: AtomicBool::new(false),
            settings,
        }
    }

    /// In what form data is printed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.settings.format
    }

    /// Whether programs read the output.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.settings.format, Format::Json | Format::Ndjson)
    }

    /// Whether nothing but data and errors is wanted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.settings.quiet
    }

    /// Whether lines on standard error can be redrawn.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether there is somebody to ask.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        !self.settings.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether every question is to be answered with yes.
    #[must_use]
    pub fn says_yes(&self) -> bool {
        self.settings.yes
    }

    /// Whether whoever read our standard output has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// What data may look like now.
    #[must_use]
    pub fn out(&self) -> Canvas {
        Canvas { now: self.clock.now(), ..self.out }
    }

    /// What messages may look like now.
    #[must_use]
    pub fn err(&self) -> Canvas {
        Canvas { now: self.clock.now(), ..self.err }
    }

    /// Prints data in the form that was asked for.
    ///
    /// # Errors
    /// When standard output can't be written; that nobody reads it any more is no error.
    pub fn show<S: Show + ?Sized>(&self, data: &S) -> Result<(), Error> {
        let mut text = String::new();
        match self.settings.format {
            Format::Table => text = data.text(&self.out()),
            Format::Json => {
                text = to_json(data, true).map_err(Error::Encode)?;
                text.push('\n');
            }
            Format::Ndjson => {
                for row in data.rows() {
                    text.push_str(&to_json(&row, false).map_err(Error::Encode)?);
                    text.push('\n');
                }
            }
            Format::Name => {
                for name in data.names() {
                    text.push_str(&sanitize(&name));
                    text.push('\n');
                }
            }
        }
        self.data(&text)
    }

    /// Prints one thing as one document, also where lists are printed line by line.
    ///
    /// # Errors
    /// Like [`Self::show`].
    pub fn show_one<S: Show + ?Sized>(&self, data: &S) -> Result<(), Error> {
        if self.settings.format == Format::Ndjson { self.row(data) } else { self.show(data) }
    }

    /// Prints one document of a stream, in one line.
    ///
    /// # Errors
    /// Like [`Self::show`].
    pub fn row<T: Serialize + ?Sized>(&self, row: &T) -> Result<(), Error> {
        let mut line = to_json(row, false).map_err(Error::Encode)?;
        line.push('\n');
        self.data(&line)
    }

    /// Prints `text`, as it is, to standard output.
    ///
    /// # Errors
    /// Like [`Self::show`].
    pub fn data(&self, text: &str) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            written => written.map_err(Error::Output),
        }
    }

    /// Tells the person something beside the data, in one or more lines. Not when quiet.
    pub fn note(&self, text: &str) {
        if !self.settings.quiet {
            self.message(text);
        }
    }

    /// `hint: …`
    pub fn hint(&self, text: &str) {
        let label = self.err.paint(Tone::Live, "hint:");
        self.note(&format!("{label} {text}"));
    }

    /// `warning: …`
    pub fn warn(&self, text: &str) {
        let label = self.err.paint(Tone::Warn, "warning:");
        self.note(&format!("{label} {text}"));
    }

    /// Tells what went wrong: for people in lines, for programs as a problem object.
    pub fn fail(&self, error: &Error) {
        if self.is_json() {
            let problem: Problem = error.problem();
            if let Ok(json) = to_json(&problem, self.settings.format == Format::Json) {
                self.message(&json);
                return;
            }
        }
        self.message(&error.render(&self.err));
    }

    /// When even standard error is gone there is nobody left to tell.
    fn message(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = writeln!(err, "{text}").and_then(|()| err.flush());
    }

    /// Asks a question that is answered with yes or no. Without anybody to ask it is `None`.
    ///
    /// # Errors
    /// When the answer can't be read.
    pub fn confirm(&self, question: &str) -> Result<Option<bool>, Error> {
        if self.settings.yes {
            return Ok(Some(true));
        }
        let answer = self.ask(&format!("{question} [y/N]"))?;
        Ok(answer.map(|answer| matches!(answer.to_lowercase().as_str(), "y" | "yes")))
    }

    /// Asks for a line of text. Without anybody to ask it is `None`.
    ///
    /// # Errors
    /// When the answer can't be read.
    pub fn ask(&self, question: &str) -> Result<Option<String>, Error> {
        if !self.can_ask() {
            return Ok(None);
        }
        let mut err = io::stderr().lock();
        let _ = write!(err, "{question} ").and_then(|()| err.flush());
        drop(err);
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(Error::Input)?;
        Ok(Some(line.trim().to_owned()))
    }
}

/// The width of a terminal. Some don't know theirs; then the environment may.
fn width(term: &console::Term, columns: Option<&OsString>) -> usize {
    let known = term.size_checked().map(|(_, columns)| usize::from(columns));
    let told = || columns?.to_str()?.parse().ok().filter(|columns| *columns > 0);
    known.or_else(told).unwrap_or(USUAL_WIDTH)
}

/// Whether colors are used, by the conventions of the terminal world.
fn colored<'e>(
    wanted: Color,
    terminal: bool,
    dumb: bool,
    says: impl Fn(&str) -> Option<&'e OsString>,
) -> bool {
    let off = |name: &str| says(name).is_some_and(|value| value == "0");
    match wanted {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if says("NO_COLOR").is_some() => false,
        Color::Auto if says("CLICOLOR_FORCE").is_some() && !off("CLICOLOR_FORCE") => true,
        Color::Auto => terminal && !dumb && !off("CLICOLOR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_follows_the_flags_then_the_environment_then_the_terminal() {
        let check = |wanted, terminal, variables: &[(&str, &str)], expected: bool| {
            let environment: BTreeMap<OsString, OsString> =
                variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let settings = Settings { color: wanted, ..Settings::default() };
            let says =
                |name: &str| environment.get(OsStr::new(name)).filter(|value| !value.is_empty());
            let dumb = says("TERM").is_some_and(|term| term == "dumb");
            let found = colored(settings.color, terminal, dumb, says);
            assert_eq!(found, expected, "{wanted:?} {terminal} {variables:?}");
        };
        check(Color::Auto, true, &[], true);
        check(Color::Auto, false, &[], false);
        check(Color::Auto, true, &[("NO_COLOR", "1")], false);
        check(Color::Auto, true, &[("NO_COLOR", "")], true);
        check(Color::Auto, true, &[("TERM", "dumb")], false);
        check(Color::Auto, true, &[("CLICOLOR", "0")], false);
        check(Color::Auto, false, &[("CLICOLOR_FORCE", "1")], true);
        check(Color::Auto, false, &[("CLICOLOR_FORCE", "0")], false);
        check(Color::Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
        check(Color::Always, false, &[("NO_COLOR", "1")], true);
        check(Color::Never, true, &[("CLICOLOR_FORCE", "1")], false);
    }
}
