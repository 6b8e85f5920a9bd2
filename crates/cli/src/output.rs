//! How things get on the screen: data to standard output, everything else to standard error.
//!
//! What a command shows is a [`Show`]: one value with a form for people, one for programs, and
//! the ids in it. Commands never write to the streams themselves, so that `-o`, `--color`,
//! `--ascii`, `--quiet` and a closed pipe mean the same everywhere.

mod canvas;
mod console;
mod json;
mod sanitize;
mod state;
mod table;
mod words;

use clap::ValueEnum;

pub use canvas::{Canvas, Tone};
pub use console::{Console, Settings};
pub use json::to_json;
pub use kapelle_domain::words::plural;
pub use sanitize::{sanitize, scrub};
pub use state::State;
pub use table::{Align, Table};
pub use words::{age, bar, duration, money, of_one_line, percent, tokens};

/// In what form data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Ndjson,
    /// Only the ids, one per line.
    Name,
}

/// When colors are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment asks for none.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Something that a command can print in every [`Format`].
pub trait Show: serde::Serialize {
    /// For people; ends with a line end unless it is empty.
    fn text(&self, canvas: &Canvas) -> String;

    /// The ids in it.
    fn names(&self) -> Vec<String>;

    /// What `ndjson` prints line by line; the whole in one line unless it is a list.
    fn rows(&self) -> Vec<serde_json::Value> {
        serde_json::to_value(self).into_iter().collect()
    }
}
