//! What a service manager such as systemd is told of this process: that it is ready, that it lives,
//! that it ends. Where there is none, nobody is told.
//!
//! Living means that the process answers, not that it gets on: to start it anew because a database
//! or a NATS server is away would end work that outlives that.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The one that started this process, if one did.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    /// How long the process may be silent.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    #[must_use]
    pub fn of(environment: &BTreeMap<OsString, OsString>) -> Self {
        let get = |name: &str| environment.get(OsStr::new(name)).map(OsString::as_os_str);
        let number = |name: &str| get(name)?.to_str()?.parse::<u64>().ok();
        // Set for another process of the same service, it is none of ours.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        Self {
            address: get("NOTIFY_SOCKET").and_then(address),
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// The process does its work from now on.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// The process ends, and may take as long as it may.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// How often it has to be said that the process lives.
    #[must_use]
    pub fn rhythm(&self) -> Option<Duration> {
        self.address.as_ref().and(self.watchdog).map(|silence| silence / 3)
    }

    /// The process lives.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Says that the process lives, for as long as `lives` says so in time. Never returns.
    pub async fn keep_alive(&self, lives: impl AsyncFn() -> bool) {
        let Some(every) = self.rhythm() else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if lives().await {
                self.alive();
            }
        }
    }

    fn say(&self, state: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound()
            .and_then(|socket| socket.send_to_addr(state.as_bytes(), address));
        if let Err(error) = sent {
            tracing::debug!(%error, "the service manager can't be told");
        }
    }
}

/// A path, or a name in the namespace of the kernel's own.
fn address(text: &OsStr) -> Option<SocketAddr> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[tokio::test]
    async fn a_manager_is_told_what_happens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
        let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "30000")];
        let manager = ServiceManager::of(&environment(&variables));
        let mut buffer = [0; 100];
        let mut next = async || {
            let length = socket.recv(&mut buffer).await.unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        manager.ready("leads");
        assert_eq!(next().await, "READY=1\nSTATUS=leads");
        tokio::select! {
            () = manager.keep_alive(async || true) => {}
            said = next() => assert_eq!(said, "WATCHDOG=1"),
        }
        manager.stopping();
        assert_eq!(next().await, "STOPPING=1");
    }

    #[test]
    fn only_what_is_meant_for_this_process_counts() {
        let path = ("NOTIFY_SOCKET", "@kapelle-test");
        let other = [path, ("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")];
        assert_eq!(ServiceManager::of(&environment(&other)).rhythm(), None);
        let ours = [path, ("WATCHDOG_USEC", "3000000")];
        let rhythm = ServiceManager::of(&environment(&ours)).rhythm();
        assert_eq!(rhythm, Some(Duration::from_secs(1)));
        for odd in ["", "0", "-1", "many"] {
            let odd = [path, ("WATCHDOG_USEC", odd)];
            assert_eq!(ServiceManager::of(&environment(&odd)).rhythm(), None);
        }
        let nobody = ServiceManager::of(&environment(&[("NOTIFY_SOCKET", "relative")]));
        nobody.ready("nobody hears it");
        assert_eq!(nobody.rhythm(), None);
    }
}
