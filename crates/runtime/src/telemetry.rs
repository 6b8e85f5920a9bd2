//! Logs: for people on a terminal, as JSON lines for machines, or into a file.
//!
//! Metrics and traces are not here yet; they will hang on the same subscriber.

use std::error::Error as StdError;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry, fmt as log_format};

use crate::clock::{Clock, wall_rfc3339};

/// A log file larger than this (10 MiB) is put aside when the process starts.
const ROTATE_ABOVE_BYTES: u64 = 10 * 1024 * 1024;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter, usually from `KAPELLE_LOG`, is not one.
    #[error("log filter {filter:?} is not understood (try `info` or `kapelle_store=debug,info`)")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The log file cannot be opened or put aside.
    #[error("cannot open the log file {}", path.display())]
    File {
        /// The file as asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// [`install`] was called before in this process.
    #[error("logging is already set up")]
    Installed,
}

/// Where lines go, and how they look there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To standard error, one readable line for each event.
    Human {
        /// Whether they may be colored.
        color: bool,
    },
    /// To standard error, one JSON object for each event.
    Json,
    /// To the end of this file, as JSON; its directory is made.
    File(PathBuf),
}

/// What to log, where and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to.
    pub target: Target,
    /// What is logged, in `tracing`'s filter language; see [`filter_from`].
    pub filter: String,
    /// Where the time of each line comes from.
    pub clock: Clock,
}

/// The log filter to use: `KAPELLE_LOG`, else `RUST_LOG`, else `default`. Empty counts as unset.
/// `lookup` is the environment.
pub fn filter_from(lookup: impl Fn(&str) -> Option<String>, default: &str) -> String {
    ["KAPELLE_LOG", "RUST_LOG"]
        .into_iter()
        .filter_map(lookup)
        .find(|filter| !filter.is_empty())
        .unwrap_or_else(|| default.to_owned())
}

/// Makes `settings` the logging of this process.
///
/// # Errors
/// [`Error::Filter`], [`Error::File`]; [`Error::Installed`] the second time.
pub fn install(settings: &Settings) -> Result<(), Error> {
    let subscriber = subscriber(settings, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::Installed)
}

fn subscriber<W>(
    settings: &Settings,
    terminal: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|source| Error::Filter { filter: settings.filter.clone(), source })?;
    let time = WallTime(settings.clock.clone());
    let layer = log_format::layer().with_timer(time);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match &settings.target {
        Target::Human { color } => layer.with_ansi(*color).with_writer(terminal).boxed(),
        Target::Json => layer.json().with_writer(terminal).boxed(),
        Target::File(path) => {
            let file =
                open_log(path).map_err(|source| Error::File { path: path.clone(), source })?;
            layer.json().with_writer(file).boxed()
        }
    };
    Ok(tracing_subscriber::registry().with(layer.with_filter(filter)))
}

/// Opens `path` for appending; puts it aside as `….1` first when it has grown too large.
fn open_log(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::metadata(path).is_ok_and(|file| file.len() > ROTATE_ABOVE_BYTES) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
    }
    File::options().create(true).append(true).open(path)
}

/// Stamps log lines with the process's own time, the same that its events carry.
#[derive(Clone, Debug)]
struct WallTime(Clock);

impl FormatTime for WallTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        w.write_str(&wall_rfc3339(self.0.now()))
    }
}

/// Shows an error with all its causes: `cannot start: cannot read kapelle.yaml: no such file`.
///
/// Our errors do not repeat their source in their own text; this is the one place that adds it.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'e>(pub &'e (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
