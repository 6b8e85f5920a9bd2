//! A real nats-server with a port and a store of its own.
//!
//! The tests of `crates/bus` use this file too.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often one looks whether it has.
const GLANCE: Duration = Duration::from_millis(5);

/// What a server is like, beside its port and its store.
#[derive(Debug, Clone, Default)]
pub struct NatsConfig {
    /// More of its configuration, such as accounts.
    pub more: String,
    /// Whether it goes without JetStream.
    pub without_jetstream: bool,
    /// Whether other machines reach it too.
    pub everywhere: bool,
    /// All of its configuration but where it listens, in place of ours.
    pub whole: Option<String>,
}

/// A nats-server. It is killed when this is dropped, and when the test that started it dies.
#[derive(Debug)]
pub struct NatsServer {
    directory: TempDir,
    config: NatsConfig,
    port: u16,
    running: Option<Child>,
}

impl NatsServer {
    /// Starts a server with JetStream that lets everybody do everything.
    pub fn start() -> Self {
        Self::start_with(NatsConfig::default())
    }

    /// Starts a server.
    pub fn start_with(config: NatsConfig) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut server = Self { directory, config, port: 0, running: None };
        server.run();
        server
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").id()
    }

    /// Where files of the test may lie that the configuration names.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it, as a machine that loses power would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().expect("the server is killed");
            child.wait().expect("the server has ended");
        }
    }

    /// Deletes everything that it has stored. It must not run.
    pub fn wipe(&mut self) {
        assert!(self.running.is_none(), "the store of a running server is not deleted");
        let store = self.directory.path().join("store");
        if store.exists() {
            fs::remove_dir_all(&store).expect("the store is deleted");
        }
    }

    /// Starts it again, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server runs");
        self.run();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn run(&mut self) {
        let directory = self.directory.path();
        let ports = directory.join("ports");
        drop(fs::remove_dir_all(&ports));
        fs::create_dir(&ports).expect("a directory");
        let config = directory.join("nats.conf");
        fs::write(&config, self.config_text()).expect("the configuration is written");
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        let host = if self.config.everywhere { "0.0.0.0" } else { "127.0.0.1" };
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program())
            .arg("--config")
            .arg(&config)
            // What is said here goes before what the configuration says.
            .args(["--addr", host, "--port", &port.to_string()])
            .arg("--ports_file_dir")
            .arg(&ports)
            .arg("--log")
            .arg(directory.join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv starts; it belongs to util-linux, see `cargo xtask test`");
        for _ in 0..PATIENCE.as_millis() / GLANCE.as_millis() {
            if let Some(port) = self.listens(&ports) {
                self.port = port;
                self.running = Some(child);
                return;
            }
            if let Some(status) = child.try_wait().expect("its state is known") {
                panic!("nats-server ended with {status}:\n{}", self.log());
            }
            std::thread::sleep(GLANCE);
        }
        drop(child.kill());
        panic!("nats-server did not start within {PATIENCE:?}:\n{}", self.log());
    }

    /// The port, once the server greets who connects to it.
    fn listens(&self, ports: &Path) -> Option<u16> {
        let port = if self.port == 0 { announced(ports)? } else { self.port };
        let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut greeting = [0; 4];
        connection.read_exact(&mut greeting).ok()?;
        (&greeting == b"INFO").then_some(port)
    }

    fn config_text(&self) -> String {
        if let Some(whole) = &self.config.whole {
            return whole.clone();
        }
        let directory = self.directory.path().display();
        let mut text = "server_name: test\n".to_owned();
        if !self.config.without_jetstream {
            writeln!(text, "jetstream {{ store_dir: \"{directory}/store\" }}").expect("a string");
        }
        text.push_str(&self.config.more);
        text
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port that a server has written into its file, once it is whole.
fn announced(ports: &Path) -> Option<u16> {
    let file = fs::read_dir(ports).ok()?.next()?.ok()?.path();
    let text = fs::read_to_string(file).ok()?;
    // With TLS it says `tls://`.
    let (_, after) = text.split_once("\"nats\":[\"")?.1.split_once("://")?;
    let (address, _) = after.split_once('"')?;
    address.rsplit(':').next()?.parse().ok()
}

/// The program of the servers.
pub fn nats_server() -> PathBuf {
    program()
}

/// The program: the one that `KAPELLE_NATS_SERVER` names, or the one that `cargo xtask test` gets.
fn program() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let usual = "target/parts/python/bin/nats-server";
    let found = std::env::var_os("KAPELLE_NATS_SERVER").map(PathBuf::from).or_else(|| {
        here.ancestors().map(|above| above.join(usual)).find(|program| program.exists())
    });
    let missing = "nats-server is missing: run `cargo xtask test`, which gets it, or set \
                   KAPELLE_NATS_SERVER to one";
    let found = found.expect(missing);
    assert!(found.exists(), "{} does not exist; {missing}", found.display());
    found
}
