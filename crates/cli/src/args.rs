//! What can be typed: the commands and the options that all of them share.

use std::path::PathBuf;

use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser as _};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::commands::{
    config, demo, doctor, events, feedback, fleet, goal, health, init, interactive, join, logs,
    meta, nats, report, resume, roadmap, run, runs, server, show, status, steer, stop, store, why,
    workers,
};
use crate::output::{Color, Format, Settings};

/// Conducts fleets of coding agents: from a roadmap to verified, integrated commits.
///
/// Without a command: how things stand, and what to do next.
#[derive(Debug, Parser)]
#[command(
    name = "kapelle",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "`kapelle help COMMAND` says more, `kapelle help exit-codes` what the exit codes mean."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Work on the project in DIR instead of the current directory
    #[arg(short = 'C', long, global = true, value_name = "DIR", hide_short_help = true)]
    pub project: Option<PathBuf>,
    /// How data is printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "KAPELLE_OUTPUT",
        hide_short_help = true,
        hide_env_values = true
    )]
    pub output: Option<Format>,
    /// The same as --output json
    #[arg(long, global = true, hide_short_help = true)]
    pub json: bool,
    /// Print only ids, and no progress
    #[arg(short, long, global = true, hide_short_help = true)]
    pub quiet: bool,
    /// When to use colors
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_short_help = true
    )]
    pub color: Color,
    /// The same as --color never
    #[arg(long, global = true, hide_short_help = true)]
    pub no_color: bool,
    /// Use no signs beyond ASCII
    #[arg(
        long,
        global = true,
        env = "KAPELLE_ASCII",
        action = ArgAction::SetTrue,
        value_parser = FalseyValueParser::new(),
        hide_short_help = true,
        hide_env_values = true
    )]
    pub ascii: bool,
    /// Append what the program logs to FILE, as JSON lines, instead of standard error
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KAPELLE_LOG_FILE",
        // A variable that is set to nothing counts as not set.
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        hide_short_help = true,
        hide_env_values = true
    )]
    pub log_file: Option<PathBuf>,
    /// Answer every question with yes
    #[arg(short, long, global = true, hide_short_help = true)]
    pub yes: bool,
    /// Never ask anything
    #[arg(long, global = true, hide_short_help = true)]
    pub no_input: bool,
}

impl Global {
    /// What they say about output.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let format = match self.output {
            _ if self.json => Format::Json,
            Some(format) => format,
            None if self.quiet => Format::Name,
            None => Format::Table,
        };
        Settings {
            format,
            quiet: self.quiet,
            color: if self.no_color { Color::Never } else { self.color },
            ascii: self.ascii,
            yes: self.yes,
            no_input: self.no_input,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepare a repository for Kapelle
    Init(init::InitArgs),
    /// Watch a whole run in a throw-away repository, with agents that play a script
    Demo(demo::DemoArgs),
    /// Look whether everything is there that Kapelle needs
    Doctor(doctor::DoctorArgs),
    /// Check the configuration and the roadmap, and nothing else
    Validate(doctor::ValidateArgs),
    /// Show how the roadmap stands, what runs, and what can be started
    Status(status::StatusArgs),
    /// Run one work stream, or those that are named
    Run(run::RunArgs),
    /// Run several work streams at once
    Parallel(run::ParallelArgs),
    /// Run all available work, and what it unblocks, to the end
    Batch(run::BatchArgs),
    /// Say in words what you want
    Goal(goal::GoalArgs),
    /// Talk to the orchestrator
    Interactive(interactive::InteractiveArgs),
    /// Stop a task, a run, or everything
    Stop(stop::StopArgs),
    /// Tell something to the agent of a task
    Feedback(feedback::FeedbackArgs),
    /// End an attempt and begin anew, with something to be told
    Restart(steer::RestartArgs),
    /// Take an agent off its work stream and put it on another one
    Redirect(steer::RedirectArgs),
    /// Freeze agents where they stand, or start none
    Pause(steer::PauseArgs),
    /// Ask whether attempts are alive
    Ping(steer::PingArgs),
    /// List the workers, invite machines, revoke workers
    Workers(workers::WorkersArgs),
    /// Give a worker nothing new until further notice
    Cordon(workers::CordonArgs),
    /// Give a worker new work again
    Uncordon(workers::UncordonArgs),
    /// Have a worker finish what it has and leave
    Drain(workers::DrainArgs),
    /// Tell a run from its beginning to its end
    Report(report::ReportArgs),
    /// Show what an agent has printed
    Logs(logs::LogsArgs),
    /// Show what happened, event by event
    Events(events::EventsArgs),
    /// Say why something is not running, or what went wrong
    Why(why::WhyArgs),
    /// List the runs
    Runs(runs::RunsArgs),
    /// Show a run or a task
    Show(show::ShowArgs),
    /// Go on with a run that was interrupted or did not succeed
    Resume(resume::ResumeArgs),
    /// Show the configuration and where it comes from
    Config(config::ConfigArgs),
    /// Read the roadmap: parse, check, graph
    Roadmap(roadmap::RoadmapArgs),
    /// Look after the state database: backup, check, restore, migrate
    Store(store::StoreArgs),
    /// Start a coordinator with a worker, which stay until `kapelle down`
    Up(server::UpArgs),
    /// End the coordinator that stays
    Down(server::DownArgs),
    /// Start a coordinator for workers on other machines
    Coordinator(fleet::CoordinatorArgs),
    /// Run agents on this machine for a coordinator elsewhere
    Worker(fleet::WorkerArgs),
    /// Make this machine a worker of a fleet that has invited it
    Join(join::JoinArgs),
    /// Make the configuration of the fleet's NATS server
    Nats(nats::NatsArgs),
    /// Say whether the coordinator or the worker of this machine does its work
    Health(health::HealthArgs),
    /// Print completions for a shell
    Completions(meta::CompletionsArgs),
    /// Print the manual page
    Man(meta::ManArgs),
    /// Print a schema for programs
    Schema(meta::SchemaArgs),
    /// Print the version
    Version(meta::VersionArgs),
    /// Say more about a command or a topic
    Help(meta::HelpArgs),
}

#[cfg(test)]
mod tests;
