//! The commands: one file for each group, with what can be typed and what is done.

pub mod config;
pub mod demo;
pub mod doctor;
pub mod events;
pub mod feedback;
pub mod fleet;
pub mod goal;
pub mod health;
mod home;
pub mod init;
pub mod interactive;
pub mod join;
pub mod logs;
pub mod meta;
pub mod nats;
pub mod report;
pub mod resume;
pub mod roadmap;
pub mod run;
pub mod runs;
pub mod server;
pub mod show;
pub mod status;
pub mod steer;
pub mod stop;
pub mod store;
pub mod why;
pub mod workers;

use crate::app::App;
use crate::args::Command;
use crate::error::Error;
use crate::exit::Exit;

/// Does what was typed.
///
/// # Errors
/// Why it could not be done.
pub async fn run(command: Option<Command>, app: &App) -> Result<Exit, Error> {
    let Some(command) = command else {
        return home::run(app).await;
    };
    match command {
        Command::Init(args) => args.run(app).await,
        Command::Demo(args) => args.run(app).await,
        Command::Doctor(args) => args.run(app).await,
        Command::Validate(args) => args.run(app).await,
        Command::Status(args) => args.run(app).await,
        Command::Run(args) => args.run(app).await,
        Command::Parallel(args) => args.run(app).await,
        Command::Batch(args) => args.run(app).await,
        Command::Goal(args) => args.run(app).await,
        Command::Interactive(args) => args.run(app).await,
        Command::Stop(args) => args.run(app).await,
        Command::Feedback(args) => args.run(app).await,
        Command::Restart(args) => args.run(app).await,
        Command::Redirect(args) => args.run(app).await,
        Command::Pause(args) => args.run(app).await,
        Command::Ping(args) => args.run(app).await,
        Command::Workers(args) => args.run(app).await,
        Command::Cordon(args) => args.run(app).await,
        Command::Uncordon(args) => args.run(app).await,
        Command::Drain(args) => args.run(app).await,
        Command::Report(args) => args.run(app).await,
        Command::Logs(args) => args.run(app).await,
        Command::Events(args) => args.run(app).await,
        Command::Why(args) => args.run(app).await,
        Command::Runs(args) => args.run(app).await,
        Command::Show(args) => args.run(app).await,
        Command::Resume(args) => args.run(app).await,
        Command::Config(args) => args.run(app).await,
        Command::Roadmap(args) => args.run(app).await,
        Command::Store(args) => args.run(app).await,
        Command::Up(args) => args.run(app).await,
        Command::Down(args) => args.run(app).await,
        Command::Coordinator(args) => args.run(app).await,
        Command::Worker(args) => args.run(app).await,
        Command::Join(args) => args.run(app).await,
        Command::Nats(args) => args.run(app).await,
        Command::Health(args) => args.run(app).await,
        Command::Completions(args) => args.run(app),
        Command::Man(args) => args.run(app),
        Command::Schema(args) => args.run(app),
        Command::Version(args) => args.run(app),
        Command::Help(args) => args.run(app),
    }
}
