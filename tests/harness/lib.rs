//! What system tests share: a throw-away project, the real program, and looking at processes.
//!
//! Everything is real: git, the program as it is built, child processes, the file system. Nothing
//! here knows how the program works inside.

mod foreign;
mod nats;
mod network;
mod processes;
mod project;
mod random;
mod terminal;

pub use foreign::python;
pub use nats::{NatsConfig, NatsServer, nats_server};
pub use network::Machine;
pub use processes::{descendants, kill_tree, living_in, states_in};
pub use project::{Finished, Project, Running, Words, stream};
pub use random::Random;
pub use terminal::Terminal;
