//! What the store promises, against real databases.
//!
//! Everything goes through [`place::Place`], so that another database needs another place only.

#![expect(clippy::expect_used, reason = "a test that can't go on says where")]
#![expect(clippy::print_stderr, reason = "a test that can't be made says so")]

mod admission;
mod bad_disks;
mod commits;
mod killed;
mod laws;
mod opening;
mod place;
mod reading;
mod stage;
mod upkeep;
