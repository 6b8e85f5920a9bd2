//! Seeded randomness, so that a failure can be repeated.

/// SplitMix64, see <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The seed in `KAPELLE_TEST_SEED`, else a new one; it is printed either way.
    pub fn from_environment() -> Self {
        let given = std::env::var("KAPELLE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(kapelle_runtime::identity::seed);
        println!("seed: {seed} (repeat with KAPELLE_TEST_SEED={seed})");
        Self(seed)
    }

    /// A number from 0 to `below`, without `below` itself.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }
}
