//! `kapelle join`: makes this machine a worker of a fleet.

use std::io::Read as _;

use clap::Args;
use kapelle_bus::nats::join::{BadToken, JoinError, JoinToken, join};

use super::fleet::machine_name;
use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::joined::Joined;

/// The longest token that is read from standard input.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// What `join` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle join kapelle-join-eyJz…   as `kapelle workers invite` has printed it
  kapelle join - < token            where other users could see the token

The machine makes a key of its own, which never leaves it, and hands the invitation in. After that
`kapelle worker` just starts.")]
pub struct JoinArgs {
    /// The token of the invitation; - reads it from standard input
    #[arg(env = "KAPELLE_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// As which worker; default: the one that the invitation names, else the machine's name
    #[arg(long)]
    name: Option<String>,
    /// The NATS server, where this machine finds it under another address than the coordinator
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
}

impl JoinArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let text = if self.token == "-" { read_token()? } else { self.token };
        let worker = hand_in(app, &text, self.name.as_deref(), self.nats.as_deref()).await?;
        app.console.note(&format!("This machine is worker {worker} now."));
        app.console.hint("kapelle worker");
        Ok(Exit::Ok)
    }
}

fn read_token() -> Result<String, Error> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(Error::Input)?;
    Ok(text)
}

/// Hands an invitation in, and keeps what comes of it. Gives the worker's name.
pub(super) async fn hand_in(
    app: &App,
    text: &str,
    name: Option<&str>,
    nats: Option<&str>,
) -> Result<String, Error> {
    let mut token = JoinToken::parse(text).map_err(|error| {
        let hint = match error {
            BadToken::Other => "paste the line that `kapelle workers invite` has printed",
            BadToken::Damaged => "copy the whole line that `kapelle workers invite` has printed",
        };
        Error::usage(error.to_string(), hint)
    })?;
    if let Some(url) = nats {
        token.lead_to(vec![url.to_owned()]);
    }
    let name = name.or_else(|| token.worker()).map_or_else(|| machine_name(app), str::to_owned);
    let joined = Joined::of(&app.environment)?;
    if let Some(before) = joined.worker() {
        app.console.warn(&format!(
            "this machine is worker {before} already; that is replaced once it is let in"
        ));
    }
    let key = joined.key(&token)?;
    let authorities = joined.authorities(&token)?;
    let now = u64::try_from(app.clock.now() / 1_000).unwrap_or(0);
    match Box::pin(join(&token, &name, &key, authorities, now)).await {
        Ok((worker, credentials)) => {
            joined.keep(&token, &credentials)?;
            Ok(worker.to_string())
        }
        Err(error) => {
            if let JoinError::Expired | JoinError::Unknown { .. } | JoinError::Refused { .. } =
                error
            {
                joined.give_up(&token);
            }
            Err(Error::Join(Box::new(error)))
        }
    }
}
