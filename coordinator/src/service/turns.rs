//! Turns: requests with the same name are handled one after the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::sync::Mutex;

/// How many requests may be handled at once; those with different names rarely meet.
const TURNS: u64 = 64;

/// Who holds the lock of a request's name has the turn.
#[derive(Debug)]
pub(super) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// The lock of a name; some names share one.
    pub(super) fn of(&self, name: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        // The remainder of a division by the length is a place in the list.
        let place = usize::try_from(hasher.finish() % TURNS).unwrap_or(0);
        &self.0[place]
    }
}
