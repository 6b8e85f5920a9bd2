//! `kapelle feedback`.

use std::io::Read as _;

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;

/// What `feedback` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle feedback 1.2 'use the existing tokenizer'
  kapelle feedback r-42/1.2 - < notes.txt

An agent that can listen while it works is told at once; otherwise its next try is told.")]
pub struct FeedbackArgs {
    /// The task
    id: String,
    /// What to say; - reads it from standard input
    #[arg(required = true, num_args = 1..)]
    text: Vec<String>,
}

impl FeedbackArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        let mut text = self.text.join(" ");
        if text == "-" {
            text.clear();
            std::io::stdin().read_to_string(&mut text).map_err(Error::Input)?;
        }
        let told = app
            .with(Need::Write, async |client: &Client| client.feedback(&self.id, &text).await)
            .await?;
        app.console.show(&told)?;
        Ok(Exit::Ok)
    }
}
