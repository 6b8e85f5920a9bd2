use super::*;
use std::sync::{Arc, Mutex};

use pretty_assertions::assert_eq;
use serde_json::Value;

/// A stand-in for standard error that the test can read.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("logs are text")
    }
}

impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Screen {
    type Writer = Self;
    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn settings(target: Target) -> Settings {
    let (clock, _) = Clock::manual(1_772_357_400_250);
    Settings { target, filter: "info".into(), clock }
}

fn log_something(settings: &Settings) -> String {
    let screen = Screen::default();
    let subscriber = subscriber(settings, screen.clone()).expect("good settings");
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(task = "1.2", "attempt started");
        tracing::debug!("not wanted");
    });
    screen.text()
}

#[test]
fn human_lines_carry_our_time_level_and_fields() {
    let text = log_something(&settings(Target::Human { color: false }));
    assert_eq!(
        text,
        "2026-03-01T09:30:00.250Z  INFO kapelle_runtime::telemetry::tests: attempt started task=\"1.2\"\n"
    );
}

#[test]
fn json_goes_to_the_screen_or_to_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs/kapelle.log");
    let text = log_something(&settings(Target::Json));
    assert_eq!(log_something(&settings(Target::File(path.clone()))), "");

    let line: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(line["timestamp"], "2026-03-01T09:30:00.250Z");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["fields"]["message"], "attempt started");
    assert_eq!(line["fields"]["task"], "1.2");
    assert_eq!(fs::read_to_string(path).expect("the log"), text);
}

#[test]
fn a_grown_log_is_put_aside_and_a_small_one_continued() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kapelle.log");
    let aside = directory.path().join("kapelle.log.1");

    fs::write(&path, "before\n").expect("write");
    log_something(&settings(Target::File(path.clone())));
    assert!(!aside.exists());
    assert!(fs::read_to_string(&path).expect("the log").starts_with("before\n{"));

    File::options()
        .write(true)
        .open(&path)
        .expect("open")
        .set_len(ROTATE_ABOVE_BYTES + 1)
        .expect("grow");
    log_something(&settings(Target::File(path.clone())));
    assert_eq!(fs::metadata(&aside).expect("put aside").len(), ROTATE_ABOVE_BYTES + 1);
    assert!(fs::read_to_string(&path).expect("the log").starts_with('{'));
}

#[test]
fn bad_settings_are_errors_that_name_the_culprit() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut bad_filter = settings(Target::Json);
    bad_filter.filter = "kapelle=loud".into();
    let error = subscriber(&bad_filter, io::sink).err().expect("no such level");
    assert!(error.to_string().contains("kapelle=loud"), "{error}");

    let bad_file = settings(Target::File(directory.path().to_owned()));
    let error = subscriber(&bad_file, io::sink).err().expect("a directory is not a log file");
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
}

#[test]
fn the_filter_comes_from_kapelle_log_then_rust_log() {
    let check = |environment: &[(&str, &str)], expected: &str| {
        let lookup = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(filter_from(lookup, "warn"), expected);
    };
    check(&[], "warn");
    check(&[("RUST_LOG", "debug")], "debug");
    check(&[("RUST_LOG", "debug"), ("KAPELLE_LOG", "trace")], "trace");
    check(&[("RUST_LOG", "debug"), ("KAPELLE_LOG", "")], "debug");
}

#[test]
fn a_chain_shows_every_cause_once() {
    let error = Error::File {
        path: "/x/kapelle.log".into(),
        source: io::Error::new(io::ErrorKind::PermissionDenied, "permission denied"),
    };
    assert_eq!(
        Chain(&error).to_string(),
        "cannot open the log file /x/kapelle.log: permission denied"
    );
}
