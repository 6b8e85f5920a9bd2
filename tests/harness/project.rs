//! A throw-away project, and the real program in it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Machine, Terminal};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A project in a directory of its own, with a home of its own.
#[derive(Debug)]
pub struct Project {
    directory: TempDir,
    root: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed as errors and progress.
    pub stderr: String,
}

/// A program that runs; killed with all of its tree when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

/// What a program prints as errors and progress, line by line.
#[derive(Debug)]
pub struct Words {
    lines: std::sync::mpsc::Receiver<String>,
    heard: String,
}

/// The text of one work stream of a roadmap.
pub fn stream(id: &str, name: &str, depends_on: &[&str]) -> String {
    let depends: Vec<String> = depends_on.iter().map(|id| format!("Phase {id}")).collect();
    let depends = match depends.as_slice() {
        [] => String::new(),
        some => format!("- **Depends On:** {}\n", some.join(", ")),
    };
    format!(
        "### Phase {id}: {name}\n\n- **Status:** ⚪ Not Started\n{depends}- **Tasks:**\n  - [ ] Do {name}\n\
         - **Effort:** S\n- **Done When:** {name} works\n\n"
    )
}

fn program() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/kapelle");
    let path = std::env::var_os("KAPELLE_BIN").map_or(beside, PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p kapelle-cli`, or run `cargo xtask test`",
        path.display()
    );
    path.canonicalize().expect("the program's path")
}

impl Project {
    /// An empty directory.
    pub fn bare_directory() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("its path").join("project");
        fs::create_dir(&root).expect("a directory");
        fs::create_dir(root.parent().expect("a parent").join("home")).expect("a directory");
        Self { directory, root }
    }

    /// A repository on `main` with these files committed.
    pub fn with_files(files: &[(&str, &str)]) -> Self {
        let project = Self::bare_directory();
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        for (name, content) in files {
            project.write(name, content);
        }
        project.git(&["add", "-A"]);
        project.git(&["commit", "--quiet", "--allow-empty", "-m", "start"]);
        project
    }

    /// A repository with a roadmap of these work streams and an agent that runs `script` in a
    /// shell. `more` is added to the configuration.
    pub fn with_streams(streams: &[String], script: &str, more: &str) -> Self {
        let roadmap = format!("# Roadmap\n\n## Batch 1 (Work)\n\n{}", streams.concat());
        let script = serde_json::to_string(script).expect("a text");
        let config = format!(
            "version: 1\nagents:\n  worker:\n    command: [sh, -c, {script}]\n\
             retry: {{backoff_base: 10ms, backoff_max: 50ms}}\n{more}"
        );
        Self::with_files(&[("plans/roadmap.md", &roadmap), ("kapelle.yaml", &config)])
    }

    /// The project's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory around the project, which is the test's.
    pub fn around(&self) -> &Path {
        self.root.parent().unwrap_or(self.directory.path())
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs git, which must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(["-c", "user.name=User", "-c", "user.email=user@example.org"])
            .args(args)
            .env("HOME", self.around().join("home"))
            .output()
            .expect("git runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.settled(Command::new(program()), args)
    }

    fn settled(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .current_dir(&self.root)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.around().join("home"))
            .env("TMPDIR", std::env::temp_dir())
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn kapelle(&self, args: &[&str]) -> Finished {
        self.start(args).wait()
    }

    /// Runs the program with further environment variables.
    pub fn kapelle_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Finished {
        self.start_with(args, environment).wait()
    }

    /// Runs the program, which must succeed, and reads what it printed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let finished = self.kapelle(args);
        assert_eq!(finished.code, Some(0), "{args:?}: {finished:?}");
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {finished:?}"))
    }

    /// Starts the program with further environment variables.
    pub fn start_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = self.command(args);
        command.envs(environment.iter().copied());
        Running::start(command)
    }

    /// Starts the program.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// Starts the program on another machine.
    pub fn start_on(&self, machine: &Machine, args: &[&str]) -> Running {
        let [first, others @ ..] = machine.prefix();
        let mut command = Command::new(first);
        command.args(others).arg(program());
        Running::start(self.settled(command, args))
    }

    /// Starts the program in a terminal of its own.
    pub fn in_terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(args))
    }

    /// Waits until `ready` gives something, and gives that.
    pub fn wait_for<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(value) = ready() {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The keys of integrated work streams, in the order of their commits on `branch`.
    pub fn integrated(&self, branch: &str) -> Vec<String> {
        let format = "--format=%(trailers:key=Kapelle-Task,valueonly)";
        let keys = self.git(&["log", "--reverse", format, branch]);
        keys.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Self { child: command.spawn().expect("the program starts") }
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// Kills it and all its descendants.
    pub fn kill_tree(mut self) {
        super::kill_tree(self.id());
        self.child.wait().expect("its end");
    }

    /// What it prints as errors and progress, from now on heard here.
    pub fn words(&mut self) -> Words {
        let stderr = self.child.stderr.take().expect("nobody has listened yet");
        let (send, lines) = std::sync::mpsc::channel();
        // To the end, so that the program never waits for us.
        let listen = move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        };
        std::thread::spawn(listen);
        Words { lines, heard: String::new() }
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn terminate(self) -> Finished {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.id()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .expect("it runs");
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Finished {
        let stderr = self.child.stderr.take();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            stderr.map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut text)).map(|_| text)
        });
        let mut stdout = Vec::new();
        self.child.stdout.take().expect("a pipe").read_to_end(&mut stdout).expect("its output");
        let stderr = errors.join().expect("a reader").expect("its errors");
        let status = self.child.wait().expect("its end");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Finished { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Words {
    /// Waits until a further line has these words.
    pub fn wait_for(&mut self, words: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("never said: {words}; but:\n{}", self.heard));
            self.heard.push_str(&line);
            self.heard.push('\n');
            if line.contains(words) {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            super::kill_tree(self.id());
            self.child.wait().ok();
        }
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}
