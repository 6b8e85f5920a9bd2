//! Where lines come from: an editor with history and completion, or a pipe.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::sync::mpsc::SyncSender;

use kapelle_runtime::clock::Clock;
use reedline::{
    ColumnarMenu, DefaultCompleter, Emacs, ExternalPrinter, FileBackedHistory, KeyCode,
    KeyModifiers, MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, default_emacs_keybindings,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use super::said::WORDS;
use crate::app::App;
use crate::error::Error;
use crate::output::Canvas;

/// Lines that history keeps.
const HISTORY_MAX: usize = 1_000;
/// Lines that may wait to be printed above the prompt; more are dropped, the log has them.
const PENDING_MAX: usize = 256;
const MENU: &str = "completion";

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    /// An empty line, or one that was given up.
    Nothing,
    End,
}

/// Reads lines.
pub(super) enum Editor {
    Terminal { editor: Box<Reedline>, pending: SyncSender<String> },
    Pipe(Lines<BufReader<Stdin>>),
}

impl Editor {
    /// An editor when there is a terminal to edit on. `words` can be completed.
    pub(super) async fn new(app: &App, words: Vec<String>) -> Result<Self, Error> {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if !terminal {
            return Ok(Self::Pipe(BufReader::new(tokio::io::stdin()).lines()));
        }
        let printer = ExternalPrinter::new(PENDING_MAX);
        let pending = printer.sender();
        let words = words.into_iter().chain(WORDS.map(str::to_owned));
        // Ids have signs that would otherwise end a word.
        let mut completer = DefaultCompleter::with_inclusions(&['.', '-', '/', '@']);
        completer.insert(words.collect());
        let mut keys = default_emacs_keybindings();
        let complete = ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu(MENU.to_owned()),
            ReedlineEvent::MenuNext,
        ]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
        let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
        let mut editor = Reedline::create()
            .with_ansi_colors(app.console.out().color)
            .with_completer(Box::new(completer))
            .with_menu(menu)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_external_printer(printer);
        if let Some(history) = history(app).await {
            editor = editor.with_history(history);
        }
        Ok(Self::Terminal { editor: Box::new(editor), pending })
    }

    /// Whether somebody types.
    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Terminal { .. } => true,
            Self::Pipe(_) => false,
        }
    }

    /// The next line.
    pub(super) async fn read(&mut self) -> Result<Line, Error> {
        let text = match self {
            Self::Terminal { editor, .. } => {
                let signal = tokio::task::block_in_place(|| editor.read_line(&OurPrompt));
                match signal.map_err(Error::Input)? {
                    Signal::Success(text) => text,
                    Signal::CtrlD => return Ok(Line::End),
                    // Also what a newer editor may signal: nothing that we understand.
                    _ => return Ok(Line::Nothing),
                }
            }
            Self::Pipe(lines) => match lines.next_line().await.map_err(Error::Input)? {
                Some(text) => text,
                None => return Ok(Line::End),
            },
        };
        let text = text.trim();
        Ok(if text.is_empty() { Line::Nothing } else { Line::Text(text.to_owned()) })
    }

    /// Prints lines without disturbing the one that is being edited.
    pub(super) fn announcer(&self, app: &App) -> Announcer {
        let pending = match self {
            Self::Terminal { pending, .. } => Some(pending.clone()),
            Self::Pipe(_) => None,
        };
        Announcer { pending, canvas: app.console.out(), clock: app.clock.clone() }
    }
}

/// Without a place for it, history lasts as long as the conversation.
async fn history(app: &App) -> Option<Box<FileBackedHistory>> {
    let project = app.project().await.ok()?;
    let file = project.state_directory().join("history");
    FileBackedHistory::with_file(HISTORY_MAX, file).ok().map(Box::new)
}

/// Says what happens while nobody types.
#[derive(Debug)]
pub(super) struct Announcer {
    pending: Option<SyncSender<String>>,
    canvas: Canvas,
    clock: Clock,
}

impl Announcer {
    pub(super) fn canvas(&self) -> Canvas {
        Canvas { now: self.clock.now(), ..self.canvas }
    }

    pub(super) fn say(&self, line: String) {
        if let Some(pending) = &self.pending {
            // When the queue is full or its reader gone, `kapelle events` still has the line.
            let _ = pending.try_send(line);
        }
    }
}

struct OurPrompt;

impl Prompt for OurPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "kapelle".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "| ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search {}) ", search.term).into()
    }
}
