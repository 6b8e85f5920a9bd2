//! Whether a NATS server is new enough.

use super::error::Error;

/// The oldest server that works: older ones ignore filters and times to live without a word.
const LEAST: Version = Version { major: 2, minor: 11, patch: 0 };

/// The oldest servers without weaknesses that are known, for each line that is still maintained.
/// Anything between two lines counts as the older one.
const ADVISED: &[Version] =
    &[Version { major: 2, minor: 12, patch: 12 }, Version { major: 2, minor: 14, patch: 3 }];

/// A version of nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Reads `2.15.1`, with or without `v` before it and `-RC.1` after it.
    fn read(text: &str) -> Option<Self> {
        let numbers = text.trim_start_matches('v').split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (major, minor, patch) = (next()?, next()?, next()?);
        Some(Self { major, minor, patch })
    }

    fn is_advised(self) -> bool {
        ADVISED.iter().any(|advised| {
            let same_line = (advised.major, advised.minor) == (self.major, self.minor);
            same_line && self.patch >= advised.patch
        }) || ADVISED
            .last()
            .is_some_and(|newest| (self.major, self.minor) > (newest.major, newest.minor))
    }
}

/// Whether a server is new enough. What is no reason to refuse it comes back as advice.
pub(super) fn judge(servers: &str, version: &str) -> Result<Option<String>, Error> {
    let found = Version::read(version).filter(|found| *found >= LEAST);
    let found = found.ok_or_else(|| Error::TooOld {
        servers: servers.to_owned(),
        found: version.to_owned(),
        least: "2.11.0",
    })?;
    let advice = "has known weaknesses; 2.12.12, 2.14.3 and everything newer has none of them";
    Ok((!found.is_advised()).then(|| format!("nats-server {version} {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str) -> Result<Option<String>, Error> {
        judge("nats://here:4222", version)
    }

    #[test]
    fn old_servers_are_refused() {
        for version in ["", "dev", "2", "2.9.10", "2.10.29", "v2.10.0", "1.4.1", "2.x.1"] {
            let error = check(version).unwrap_err();
            assert!(matches!(error, Error::TooOld { .. }), "{version}: {error}");
            assert!(error.to_string().contains("needs 2.11.0 or newer"), "{error}");
            assert!(error.hint().contains("2.15"), "{}", error.hint());
        }
    }

    #[test]
    fn servers_with_weaknesses_are_taken_with_advice() {
        for version in ["2.11.0", "2.11.16", "2.12.11", "2.13.0", "2.14.2", "2.12.0-RC.1"] {
            let advice = check(version).unwrap().expect(version);
            assert!(advice.contains("2.14.3"), "{advice}");
        }
        for version in ["2.12.12", "2.14.3", "2.14.6", "2.15.0", "2.15.1", "2.16.0-dev", "3.0.0"] {
            assert_eq!(check(version).unwrap(), None, "{version}");
        }
    }
}
