//! `kapelle workers`, `workers invite`, `workers revoke`, `cordon`, `uncordon` and `drain`.

use clap::{Args, Subcommand};
use kapelle_runtime::config::HumanDuration;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::plural;
use crate::render::{Invitation, Revocation, Workers};
use crate::view::{InvitationRequest, WorkerDuty};

/// What `workers` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle workers
  kapelle workers -o json
  kapelle workers invite       prints one line to paste on another machine
  kapelle workers revoke big   its connections end, and it doesn't come back")]
pub struct WorkersArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a line that makes another machine a worker
    Invite(InviteArgs),
    /// Shut a worker out of the fleet
    Revoke {
        /// The worker
        worker: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle workers invite
  kapelle workers invite big --nats nats://hub.example.com:4222 --for 10m
  kapelle workers invite --uses 20 --quiet > token   for machines made alike

The line holds a secret. Whoever has it can become a worker, until it is used or expires.")]
struct InviteArgs {
    /// As which worker; default: the machine chooses
    worker: Option<String>,
    /// Where the machine finds the NATS server; default: where the coordinator finds it
    #[arg(long, value_name = "URL")]
    nats: Vec<String>,
    /// For how long the invitation is good
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    good_for: HumanDuration,
    /// For how many machines
    #[arg(long, default_value_t = 1)]
    uses: u32,
}

/// What `cordon` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle cordon big

What it has goes on. `kapelle uncordon` gives it new work again.")]
pub struct CordonArgs {
    /// The worker
    worker: String,
}

/// What `uncordon` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle uncordon big")]
pub struct UncordonArgs {
    /// The worker
    worker: String,
}

/// What `drain` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle drain big            it finishes what it has, and ends")]
pub struct DrainArgs {
    /// The worker
    worker: String,
}

impl WorkersArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        match self.what {
            None => {}
            Some(What::Invite(args)) => return args.run(app).await,
            Some(What::Revoke { worker }) => return revoke(app, &worker).await,
        }
        let workers = app.with(Need::Read, async |client: &Client| client.workers().await).await?;
        app.console.show(&Workers(workers))?;
        Ok(Exit::Ok)
    }
}

impl InviteArgs {
    async fn run(self, app: &App) -> Result<Exit, Error> {
        let uses = usize::try_from(self.uses).unwrap_or(usize::MAX);
        let request = InvitationRequest {
            worker: self.worker,
            seconds: self.good_for.0.as_secs(),
            uses: self.uses,
            servers: self.nats,
        };
        let invite = async |client: &Client| client.invite(&request).await;
        let invitation = Invitation(app.with(Need::Write, invite).await?);
        if invitation.servers().all(is_loopback) {
            app.console.warn("only this machine finds the server there; give another --nats URL");
        }
        app.console.note(&format!(
            "Paste this on the other machine within {}; it is good for {}, and a secret until then:",
            self.good_for,
            plural(uses, "machine")
        ));
        app.console.show_one(&invitation)?;
        Ok(Exit::Ok)
    }
}

/// Whether no other machine can reach the server at this address.
fn is_loopback(server: &str) -> bool {
    let address = server.split_once("://").map_or(server, |(_, address)| address);
    address.starts_with("127.") || address.starts_with("[::1]") || address.starts_with("localhost")
}

async fn revoke(app: &App, worker: &str) -> Result<Exit, Error> {
    let revoke = async |client: &Client| client.revoke(worker).await;
    let view = app.with(Need::Write, revoke).await?;
    if let Some(reason) = &view.untold {
        app.console.warn(&format!("the NATS server doesn't know it yet: {reason}"));
    }
    app.console.show_one(&Revocation(view))?;
    Ok(Exit::Ok)
}

impl CordonArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Cordoned).await
    }
}

impl UncordonArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Active).await
    }
}

impl DrainArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        set_duty(app, &self.worker, WorkerDuty::Draining).await
    }
}

async fn set_duty(app: &App, worker: &str, duty: WorkerDuty) -> Result<Exit, Error> {
    let view =
        app.with(Need::Write, async |client: &Client| client.set_duty(worker, duty).await).await?;
    app.console.show(&Workers(vec![view]))?;
    Ok(Exit::Ok)
}
