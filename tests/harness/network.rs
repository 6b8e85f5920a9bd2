//! Machines of their own on a network of their own: network namespaces, each with one cable to
//! this machine that can be pulled.
//!
//! Only the network is separate: processes and files are this machine's, so that a test can look
//! at them. Making namespaces takes root's rights, which is said where they are missing.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// How many machines this process has made.
static MADE: AtomicU8 = AtomicU8::new(0);

/// A machine on the network. It is unplugged and its processes are killed when this is dropped.
#[derive(Debug)]
pub struct Machine {
    namespace: String,
    /// This end of its cable.
    plug: String,
    subnet: String,
}

impl Machine {
    /// Sets up a machine, with its cable plugged in.
    pub fn new() -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Two runs of the tests at once must not get into each other's way.
        let process = std::process::id();
        let machine = Self {
            namespace: format!("kapelle-{process}-{number}"),
            plug: format!("kp{process}-{number}"),
            subnet: format!(
                "10.{}.{}.{}",
                64 + process % 128,
                process / 128 % 256,
                number % 64 * 4
            ),
        };
        let (namespace, plug) = (machine.namespace.as_str(), machine.plug.as_str());
        ip(&["netns", "add", namespace]);
        ip(&["link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
        ip(&["addr", "add", &format!("{}/30", machine.here()), "dev", plug]);
        ip(&["link", "set", plug, "up"]);
        let there = format!("{}/30", machine.address(2));
        ip(&["-n", namespace, "addr", "add", &there, "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        machine
    }

    /// Under which address this machine, where the tests run, is reached from there.
    pub fn here(&self) -> String {
        self.address(1)
    }

    /// The words that come before those of a program that is to run there.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    /// Pulls the cable: nothing gets through, and nobody is told.
    pub fn cut(&self) {
        ip(&["link", "set", &self.plug, "down"]);
    }

    /// Plugs the cable in again.
    pub fn mend(&self) {
        ip(&["link", "set", &self.plug, "up"]);
    }

    /// The processes that run there.
    pub fn processes(&self) -> Vec<i32> {
        let listed = ip(&["netns", "pids", &self.namespace]);
        listed.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    fn address(&self, host: u32) -> String {
        let (network, last) = self.subnet.rsplit_once('.').expect("an address has dots");
        let last: u32 = last.parse().expect("it ends with a number");
        format!("{network}.{}", last + host)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test that has failed must not fail here again.
        let run = |args: &[&str]| Command::new("ip").args(args).output();
        if let Ok(listed) = run(&["netns", "pids", &self.namespace]) {
            for pid in String::from_utf8_lossy(&listed.stdout).lines() {
                if let Ok(pid) = pid.trim().parse() {
                    super::kill_tree(pid);
                }
            }
        }
        run(&["netns", "del", &self.namespace]).ok();
        run(&["link", "del", &self.plug]).ok();
    }
}

/// Runs `ip`, which must succeed. Returns what it printed.
fn ip(args: &[&str]) -> String {
    let output = Command::new("ip")
        .args(args)
        .output()
        .expect("ip starts; it belongs to iproute2, which `cargo xtask test` gets");
    assert!(
        output.status.success(),
        "ip {}: {}making network namespaces takes root's rights: run the tests as root",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
