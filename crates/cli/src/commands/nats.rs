//! `kapelle nats`: the configuration of the fleet's NATS server, and credentials for its clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kapelle_bus::nats::server::{ServerConfig, ServerTls};
use kapelle_bus::subject::Root;
use kapelle_runtime::config::HumanDuration;

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::authority;
use crate::project::Project;
use crate::secret_file;

/// Storage beside what blobs may take.
const STORE_MORE: u64 = 1 << 30;

/// What `nats` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle nats config --out nats-server.conf && nats-server -c nats-server.conf
  kapelle nats config --tls-cert hub.pem --tls-key hub.key --store /var/lib/nats
  kapelle nats client dashboard --for 30d > dashboard.creds

The configuration says whom the server believes; nothing in it is secret. The secret from which all
keys of the fleet follow is made once and kept beside the project's state: back it up.")]
pub struct NatsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the configuration of the fleet's nats-server
    Config(ConfigArgs),
    /// Print credentials for a person or a program that watches agents over NATS
    Client(ClientArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Where the server listens
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:4222")]
    listen: SocketAddr,
    /// Where the server tells whoever asks how it is, over HTTP; nowhere by default
    #[arg(long, value_name = "ADDRESS")]
    monitor: Option<SocketAddr>,
    /// Where the server keeps its files; default: .kapelle/nats in the project
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The server's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Write it to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ClientArgs {
    /// Whose credentials they are, for the server's lists
    name: String,
    /// Allow to steer agents too
    #[arg(long)]
    steer: bool,
    /// For how long they are good
    #[arg(long = "for", value_name = "TIME", default_value = "90d")]
    good_for: HumanDuration,
    /// Write them to FILE, which only its owner may read, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl NatsArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let project = app.project().await?;
        match self.what {
            What::Config(args) => args.run(app, &project),
            What::Client(args) => args.run(app, &project),
        }
    }
}

impl ConfigArgs {
    fn run(self, app: &App, project: &Project) -> Result<Exit, Error> {
        let (authority, is_new) = authority::make(project)?;
        if is_new {
            let at = project.authority_file();
            app.console.note(&format!("The fleet's secret is {}: back it up.", at.display()));
        }
        let absolute = |path: PathBuf| {
            std::path::absolute(path)
                .map_err(|source| Error::System { action: "find the current directory", source })
        };
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(ServerTls { certificate: absolute(certificate)?, key: absolute(key)? })
            }
            _ => None,
        };
        if tls.is_none() && !self.listen.ip().is_loopback() {
            app.console.warn(
                "without a certificate, connections from other machines can be read on the way",
            );
        }
        let settings = &project.config().nats;
        let store = self.store.unwrap_or_else(|| project.state_directory().join("nats"));
        let config = ServerConfig {
            listen: self.listen,
            monitor: self.monitor,
            store: absolute(store)?,
            store_bytes: settings.blobs_bytes.0.saturating_mul(2).saturating_add(STORE_MORE),
            tls,
        };
        let root = Root::new(settings.root.as_str());
        let root = root.map_err(|error| Error::usage(error.to_string(), "change nats.root"))?;
        let text = config.render(&authority, &root).map_err(|error| {
            Error::usage(
                error.to_string(),
                "give paths without quotes, backslashes and dollar signs",
            )
        })?;
        match self.out {
            Some(path) => std::fs::write(&path, text).map_err(Error::file("write", path))?,
            None => app.console.data(&text)?,
        }
        Ok(Exit::Ok)
    }
}

impl ClientArgs {
    fn run(self, app: &App, project: &Project) -> Result<Exit, Error> {
        let authority = authority::find(project)?.ok_or_else(|| Error::Nothing {
            message: "this project has no secret of a fleet".to_owned(),
            hint: Some("kapelle nats config makes one".to_owned()),
        })?;
        let now = u64::try_from(app.clock.now() / 1_000).unwrap_or(0);
        let until = now.saturating_add(self.good_for.0.as_secs());
        let credentials = authority.client(self.steer, &self.name, now, until);
        let credentials = credentials.ok().and_then(|credentials| credentials.text());
        let text = credentials.ok_or_else(|| Error::usage("nothing can be signed", "try again"))?;
        write_out(app, self.out.as_deref(), text.reveal())?;
        Ok(Exit::Ok)
    }
}

fn write_out(app: &App, out: Option<&Path>, secret: &str) -> Result<(), Error> {
    match out {
        Some(path) => secret_file::write(path, secret).map_err(Error::file("write", path)),
        None => app.console.data(secret),
    }
}
