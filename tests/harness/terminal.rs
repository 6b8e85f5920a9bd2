//! The real program in a terminal of its own: what is typed reaches it as from a keyboard, Ctrl-C
//! included, and what it draws is interpreted as a terminal does.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command as InTerminal, Pty};
use vt100::{Callbacks, Parser, Screen};

use super::project::{LOOK_EVERY, PATIENCE};

/// Lines of the terminal.
const ROWS: NonZeroU16 = NonZeroU16::new(30).expect("some");
/// Cells of a line.
const COLUMNS: NonZeroU16 = NonZeroU16::new(100).expect("some");
/// Lines that have left the screen and are still known.
const SCROLLBACK: usize = 1_000;

/// A program in a terminal; killed with all of its tree when dropped.
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    parser: Arc<Mutex<Parser<Questions>>>,
    reader: Option<JoinHandle<()>>,
}

/// Programs ask where the cursor is, and wait for the answer.
#[derive(Default)]
struct Questions {
    cursor: Option<(u16, u16)>,
}

impl Callbacks for Questions {
    fn unhandled_csi(
        &mut self,
        screen: &mut Screen,
        _: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        command: char,
    ) {
        if command == 'n' && parameters == [&[6_u16][..]] {
            self.cursor = Some(screen.cursor_position());
        }
    }
}

impl Terminal {
    pub(super) fn start(command: Command) -> Self {
        let (pty, side) = pty_process::blocking::open().expect("a terminal");
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).expect("a size");
        let child = InTerminal::from(command)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .spawn(side)
            .expect("the program starts");
        let pty = Arc::new(pty);
        let parser = Parser::new_with_callbacks(ROWS, COLUMNS, SCROLLBACK, Questions::default());
        let parser = Arc::new(Mutex::new(parser));
        let reader = {
            let (pty, parser) = (Arc::clone(&pty), Arc::clone(&parser));
            std::thread::spawn(move || interpret(&pty, &parser))
        };
        Self { child, pty, parser, reader: Some(reader) }
    }

    /// Types something.
    pub fn type_in(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.type_in("\x03");
    }

    /// What is on the screen now.
    pub fn screen(&self) -> String {
        let parser = self.parser.lock().expect("no reader panics");
        // Not its contents, which joins a line that is full with the one below.
        parser.screen().rows(0, COLUMNS.get()).collect::<Vec<_>>().join("\n")
    }

    /// All lines that were printed and not drawn over, from the first one on.
    pub fn history(&self) -> String {
        let mut parser = self.parser.lock().expect("no reader panics");
        let mut lines = Vec::new();
        parser.screen_mut().set_scrollback(SCROLLBACK);
        let above = parser.screen().scrollback();
        for offset in (1..=above).rev() {
            parser.screen_mut().set_scrollback(offset);
            lines.extend(parser.screen().rows(0, COLUMNS.get()).next());
        }
        parser.screen_mut().set_scrollback(0);
        lines.extend(parser.screen().rows(0, COLUMNS.get()));
        lines.join("\n")
    }

    /// Waits until the screen shows something, and gives it as it is then.
    pub fn wait_for(&self, what: &str, shown: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if shown(&screen) {
                return screen;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited {PATIENCE:?} for {what}; the terminal shows:\n{}",
                self.history()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for the end of the program; gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it doesn't end:\n{}", self.history());
            std::thread::sleep(LOOK_EVERY);
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("a reader");
        }
        status.code()
    }
}

/// Reads what the program prints until nobody can print any more.
fn interpret(pty: &Pty, parser: &Mutex<Parser<Questions>>) {
    let mut bytes = [0; 4096];
    let mut pty = pty;
    // Linux ends the other side of a terminal with an error.
    while let Ok(count @ 1..) = pty.read(&mut bytes) {
        let mut parser = parser.lock().expect("no reader panics");
        parser.process(&bytes[..count]);
        if let Some((row, column)) = parser.callbacks_mut().cursor.take() {
            // A program that has ended meanwhile needs no answer.
            write!(pty, "\x1b[{};{}R", row + 1, column + 1).ok();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            super::kill_tree(i32::try_from(self.child.id()).expect("a process id"));
            self.child.wait().ok();
        }
    }
}
