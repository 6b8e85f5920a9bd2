//! The program as its users run it: whole runs, kills, second terminals, bad input.

mod adoption;
mod bad_input;
mod claims;
mod deploy;
mod faults;
mod fleet;
mod foreign;
mod hostile;
mod integration;
mod join;
mod kills;
mod progress;
mod runs;
mod screen;
mod spool;
mod steering;
mod store;
mod terminals;
