//! The only reader of clocks. Everyone else gets time handed in.
//!
//! Wall time is read once, at the start; after that only elapsed time is added. So the time a
//! process sees never steps back or jumps when the host's clock is set, and it keeps counting
//! while the machine is suspended (a lease must not look fresh after a closed lid).
//!
//! Values are milliseconds since the Unix epoch as `i64`; callers wrap them in their own types.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};

/// A cheap handle to the time of this process, or of a test.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { wall_at_start_ms: i64, elapsed_at_start_ms: i64 },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The host's time, anchored now. Take one per process and clone it.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System {
            wall_at_start_ms: read_ms(ClockId::Realtime),
            elapsed_at_start_ms: read_ms(ELAPSED),
        })
    }

    /// A clock that stands still at `unix_ms` until its [`ManualClock`] is moved.
    #[must_use]
    pub fn manual(unix_ms: i64) -> (Self, ManualClock) {
        let now = Arc::new(AtomicI64::new(unix_ms));
        (Self(Source::Manual(Arc::clone(&now))), ManualClock(now))
    }

    /// Milliseconds since the Unix epoch. Never less than an earlier answer of the same clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        match &self.0 {
            Source::System { wall_at_start_ms, elapsed_at_start_ms } => {
                wall_at_start_ms + (read_ms(ELAPSED) - elapsed_at_start_ms)
            }
            Source::Manual(now) => now.load(Ordering::SeqCst),
        }
    }
}

/// Moves the clock that [`Clock::manual`] returned with it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Moves time forward by `by`, in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

/// The clock that counts elapsed time, suspension included where the system can tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ELAPSED: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ELAPSED: ClockId = ClockId::Monotonic;

fn read_ms(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

/// `unix_ms` as RFC 3339 in UTC with milliseconds: `2026-03-01T09:30:00.250Z`.
/// A moment outside the years -9999 to 9999 is written as the nearest one inside.
#[must_use]
pub fn wall_rfc3339(unix_ms: i64) -> String {
    format!("{:.3}", timestamp(unix_ms))
}

/// The calendar date of `unix_ms` in the system's time zone: `2026-03-01`.
/// This is what people expect in a roadmap's `Completed` field.
#[must_use]
pub fn local_date(unix_ms: i64) -> String {
    date_in(unix_ms, TimeZone::system())
}

fn date_in(unix_ms: i64, zone: TimeZone) -> String {
    timestamp(unix_ms).to_zoned(zone).date().to_string()
}

fn timestamp(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or(if unix_ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz;
    use proptest::prelude::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_all_its_copies_agree() {
        let (clock, manual) = Clock::manual(1_000);
        let copy = clock.clone();
        assert_eq!(clock.now(), 1_000);
        manual.advance(Duration::from_millis(250));
        assert_eq!((clock.now(), copy.now()), (1_250, 1_250));
    }

    #[test]
    fn the_system_clock_agrees_with_the_host_and_never_goes_back() {
        let clock = Clock::system();
        let host_ms = Timestamp::now().as_millisecond();
        assert!((clock.now() - host_ms).abs() < 60_000);
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        let check = |ms, expected: &str| assert_eq!(wall_rfc3339(ms), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_772_357_400_250, "2026-03-01T09:30:00.250Z");
        check(-1, "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn the_date_is_that_of_the_zone_not_of_utc() {
        let late_evening_utc = 1_772_407_800_000; // 2026-03-01T23:30Z
        let zone = |hours| tz::TimeZone::fixed(tz::offset(hours));
        assert_eq!(date_in(late_evening_utc, zone(0)), "2026-03-01");
        assert_eq!(date_in(late_evening_utc, zone(1)), "2026-03-02");
        assert_eq!(date_in(late_evening_utc - 86_400_000, zone(-8)), "2026-02-28");
    }

    proptest! {
        #[test]
        fn any_number_can_be_written(ms: i64) {
            prop_assert!(wall_rfc3339(ms).ends_with('Z'));
            prop_assert!(!local_date(ms).is_empty());
        }
    }
}
