//! The only place that mints identifiers and random seeds. Everyone else gets them handed in.

use std::sync::Mutex;

use uuid::{ContextV7, Timestamp, Uuid};

use crate::clock::Clock;

/// Mints UUIDv7s that sort in the order in which this process made them.
#[derive(Debug)]
pub struct Identity {
    clock: Clock,
    context: Mutex<ContextV7>,
}

impl Identity {
    /// Takes the time part of its identifiers from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, context: Mutex::new(ContextV7::new()) }
    }

    /// A new UUIDv7, greater than every earlier one of this `Identity`.
    #[must_use]
    pub fn mint(&self) -> Uuid {
        let now_ms = u64::try_from(self.clock.now()).unwrap_or(0);
        // The remainder of a division by 1,000 is small enough for any integer.
        let nanos = u32::try_from(now_ms % 1_000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(&self.context, now_ms / 1_000, nanos))
    }
}

/// A random seed from the operating system, to be printed and recorded where it is used.
#[must_use]
pub fn seed() -> u64 {
    // A v4 UUID has six fixed bits, at different places in its two halves; the exclusive or
    // of the halves has none.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high ^ low
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn identifiers_are_v7_of_the_clocks_time_and_strictly_increase() {
        let (clock, manual) = Clock::manual(1_772_357_400_250);
        let identity = Identity::new(clock);
        let mut minted = Vec::new();
        for _ in 0..1_000 {
            minted.push(identity.mint());
        }
        manual.advance(Duration::from_millis(1));
        minted.push(identity.mint());

        assert!(minted.is_sorted_by(|a, b| a < b));
        assert!(minted.iter().all(|id| id.get_version_num() == 7));
        let (seconds, nanos) = minted[0].get_timestamp().expect("a v7 carries its time").to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_772_357_400, 250));
    }

    #[test]
    fn seeds_differ_and_use_all_their_bits() {
        let seeds: HashSet<u64> = (0..256).map(|_| seed()).collect();
        assert_eq!(seeds.len(), 256);
        assert_eq!(seeds.iter().fold(0, |all, seed| all | seed), u64::MAX);
        assert_eq!(seeds.iter().fold(u64::MAX, |all, seed| all & seed), 0);
    }
}
