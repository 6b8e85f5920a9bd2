//! `kapelle logs`.

use std::time::Duration;

use clap::Args;

use crate::app::App;
use crate::client::Client;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Need;
use crate::output::{Canvas, Format, Tone};
use crate::render::clock_time;
use crate::view::LogLine;

/// Lines that are asked for at once.
const PAGE: u32 = 1_000;
/// How long an answer may wait for the first line.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `logs` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle logs 1.2             the newest attempt
  kapelle logs r-42/1.2 -f     until the attempt is over
  kapelle logs 1.2 --attempt 1 -t
  kapelle logs 1.2 -o ndjson | jq -r .text")]
pub struct LogsArgs {
    /// The task, or an attempt such as r-42/1.2#1
    id: String,
    /// Go on until the attempt is over
    #[arg(short, long)]
    follow: bool,
    /// Which try, from 1; the newest without
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Show when each line came
    #[arg(short, long)]
    timestamps: bool,
}

impl LogsArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        app.with(Need::Read, async |client: &Client| self.print(app, client).await).await
    }

    async fn print(&self, app: &App, client: &Client) -> Result<Exit, Error> {
        let mut id = match self.attempt {
            Some(attempt) => format!("{}#{attempt}", self.id),
            None => self.id.clone(),
        };
        let wait = if self.follow { PATIENCE } else { Duration::ZERO };
        let mut after = 0;
        // One document has to be complete before it can be printed.
        let mut document = Vec::new();
        loop {
            let page = client.logs(&id, after, PAGE, wait).await?;
            let finished = page.complete || (!self.follow && page.lines.is_empty());
            match app.console.format() {
                Format::Json => document.extend(page.lines),
                Format::Ndjson => {
                    page.lines.iter().try_for_each(|line| app.console.row(line))?;
                }
                Format::Table | Format::Name => {
                    let canvas = app.console.out();
                    let lines = page.lines.iter().map(|line| self.line(&canvas, line));
                    app.console.data(&lines.collect::<String>())?;
                }
            }
            if finished || app.console.is_closed() {
                break;
            }
            after = page.next;
            // A newer attempt must not continue the transcript of this one.
            if after > 0 {
                id = page.attempt;
            }
        }
        if app.console.format() == Format::Json {
            app.console.row(&document)?;
        }
        Ok(Exit::Ok)
    }

    fn line(&self, canvas: &Canvas, line: &LogLine) -> String {
        let mut text = String::new();
        if self.timestamps {
            text.push_str(&canvas.paint(Tone::Faint, &clock_time(line.at)));
            text.push_str("  ");
        }
        match line.lane.as_str() {
            "stderr" => text.push_str(&canvas.paint(Tone::Warn, &line.text)),
            "worker" => {
                let sign = canvas.sign("▸", ">");
                text.push_str(&canvas.paint(Tone::Faint, &format!("{sign} {}", line.text)));
            }
            _ => text.push_str(&line.text),
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_lines_are_told_apart_from_ours() {
        let args = LogsArgs { id: "1".to_owned(), follow: false, attempt: None, timestamps: false };
        let line =
            |lane: &str| LogLine { n: 1, at: 0, lane: lane.to_owned(), text: "x".to_owned() };
        assert_eq!(args.line(&Canvas::plain(), &line("stdout")), "x\n");
        assert_eq!(args.line(&Canvas::plain(), &line("worker")), "▸ x\n");
    }
}
