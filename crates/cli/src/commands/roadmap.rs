//! `kapelle roadmap`: reading the file, and nothing else. No coordinator is involved.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kapelle_domain::roadmap::{Roadmap, Severity, Status};
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Align, Canvas, Show, State, Table, Tone, plural, sanitize};

/// What `roadmap` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle roadmap check
  kapelle roadmap parse plans/roadmap.md -o json
  kapelle roadmap graph --svg roadmap.svg")]
pub struct RoadmapArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the work streams of a file
    Parse {
        /// The file; the roadmap of the project without
        file: Option<PathBuf>,
    },
    /// Show what cannot be read, or does not fit together; fails when something is wrong
    Check {
        /// The file; the roadmap of the project without
        file: Option<PathBuf>,
    },
    /// Draw what depends on what
    Graph {
        /// The file; the roadmap of the project without
        file: Option<PathBuf>,
        /// Draw a picture into FILE instead; - is standard output
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

impl RoadmapArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        match self.what {
            What::Parse { file } => {
                let (_, roadmap) = read(app, file).await?;
                app.console.show(&Parsed(&roadmap))?;
                Ok(Exit::Ok)
            }
            What::Check { file } => {
                let (name, roadmap) = read(app, file).await?;
                app.console.show(&Checked { name: &name, roadmap: &roadmap })?;
                // The one command whose findings are its failure.
                Ok(if roadmap.has_errors() { Exit::Failure } else { Exit::Ok })
            }
            What::Graph { file, svg } => {
                let (_, roadmap) = read(app, file).await?;
                let graph = roadmap.graph();
                match svg {
                    Some(path) if path.as_os_str() == "-" => app.console.data(&graph.to_svg())?,
                    Some(path) => {
                        fs::write(&path, graph.to_svg()).map_err(Error::file("write", &path))?;
                        app.console.note(&format!("drawn into {}", path.display()));
                    }
                    None => app.console.data(&sanitize(&graph.to_text()))?,
                }
                Ok(Exit::Ok)
            }
        }
    }
}

/// Reads a roadmap: the given file, or that of the project. Its name is as the user knows it.
async fn read(app: &App, file: Option<PathBuf>) -> Result<(String, Roadmap), Error> {
    let (name, path) = match file {
        Some(path) => (path.display().to_string(), path),
        None => {
            let project = app.project().await?;
            let relative = project.roadmap()?;
            (relative.display().to_string(), project.root().join(relative))
        }
    };
    Ok((name, read_file(&path)?))
}

/// Reads the roadmap at `path`.
pub(super) fn read_file(path: &Path) -> Result<Roadmap, Error> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    Ok(Roadmap::parse(&bytes))
}

struct Parsed<'r>(&'r Roadmap);

impl Serialize for Parsed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.view().serialize(serializer)
    }
}

impl Show for Parsed<'_> {
    fn text(&self, canvas: &Canvas) -> String {
        let columns = [
            ("id", Align::Left),
            ("status", Align::Left),
            ("name", Align::Left),
            ("effort", Align::Left),
            ("tasks", Align::Right),
            ("after", Align::Left),
        ];
        let mut table = Table::new(&columns, 2);
        for stream in &self.0.streams {
            let done = stream.tasks.iter().filter(|task| task.done).count();
            let after: Vec<String> = stream.depends_on.iter().map(ToString::to_string).collect();
            table.row([
                stream.id.to_string(),
                State::of_stream(stream.status.as_str()).show(canvas),
                sanitize(&stream.name),
                stream.effort.map(|effort| effort.to_string()).unwrap_or_default(),
                format!("{done}/{}", stream.tasks.len()),
                after.join(", "),
            ]);
        }
        let counts = Status::ALL.map(|status| (status, self.0.count(status)));
        let counts = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(status, count)| format!("{count} {}", State::of_stream(status.as_str()).word()));
        let summary = counts.collect::<Vec<_>>().join(", ");
        let streams = plural(self.0.streams.len(), "work stream");
        let findings = plural(self.0.diagnostics.len(), "finding");
        let table = table.render(canvas);
        let gap = if table.is_empty() { "" } else { "\n" };
        let detail = if summary.is_empty() { summary } else { format!(": {summary}") };
        format!("{table}{gap}{streams}{detail}; {findings}\n")
    }

    fn names(&self) -> Vec<String> {
        self.0.streams.iter().map(|stream| stream.id.to_string()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        let view = serde_json::to_value(self.0.view()).unwrap_or_default();
        match view {
            Value::Object(mut fields) => match fields.remove("streams") {
                Some(Value::Array(streams)) => streams,
                Some(_) | None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

struct Checked<'r> {
    name: &'r str,
    roadmap: &'r Roadmap,
}

impl Serialize for Checked<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.roadmap.diagnostics.serialize(serializer)
    }
}

impl Show for Checked<'_> {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = String::new();
        let mut counts = [0_usize; 3];
        for diagnostic in &self.roadmap.diagnostics {
            let (index, tone) = match diagnostic.severity {
                Severity::Error => (0, Tone::Bad),
                Severity::Warning => (1, Tone::Warn),
                Severity::Info => (2, Tone::Faint),
            };
            counts[index] += 1;
            let rendered = diagnostic.render(self.roadmap.source(), self.name);
            let (head, rest) = rendered.split_once('\n').unwrap_or((&rendered, ""));
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "{}\n{rest}", canvas.paint(tone, head));
        }
        let [errors, warnings, infos] = counts;
        let _ = writeln!(
            text,
            "{}: {}, {}, {}, {}",
            sanitize(self.name),
            plural(self.roadmap.streams.len(), "work stream"),
            plural(errors, "error"),
            plural(warnings, "warning"),
            plural(infos, "remark")
        );
        text
    }

    fn names(&self) -> Vec<String> {
        let place = |line: u32, column: u32| format!("{}:{line}:{column}", self.name);
        self.roadmap.diagnostics.iter().map(|found| place(found.line, found.column)).collect()
    }

    fn rows(&self) -> Vec<Value> {
        let diagnostics = self.roadmap.diagnostics.iter();
        diagnostics.filter_map(|found| serde_json::to_value(found).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROADMAP: &str = "\
# Roadmap

## Batch 1

### Phase 1.1: Storage ⭐ BOOTSTRAP
- **Status:** ✅ Complete
- **Tasks:**
  - [x] tables

### Phase 1.2: Parser
- **Status:** ⚪ Not Started
- **Depends On:** Phase 1.1, Phase 9.9
- **Tasks:**
  - [ ] lexer
- **Effort:** M
";

    #[test]
    fn streams_are_listed_with_what_they_wait_for() {
        let roadmap = Roadmap::parse(ROADMAP.as_bytes());
        insta::assert_snapshot!(Parsed(&roadmap).text(&Canvas::plain()), @"
        ID   STATUS         NAME     EFFORT  TASKS  AFTER
        1.1  ✔ complete     Storage            1/1
        1.2  ○ not started  Parser   M         0/1  1.1, 9.9

        2 work streams: 1 complete, 1 not started; 1 finding
        ");
        assert_eq!(Parsed(&roadmap).names(), ["1.1", "1.2"]);
        assert_eq!(Parsed(&roadmap).rows().len(), 2);
    }

    #[test]
    fn findings_come_with_their_line() {
        let roadmap = Roadmap::parse(ROADMAP.as_bytes());
        let checked = Checked { name: "ROADMAP.md", roadmap: &roadmap };
        insta::assert_snapshot!(checked.text(&Canvas::plain()), @"
        error[unknown-dependency]: there is no work stream 9.9 in this file
          --> ROADMAP.md:12:36
           |
        12 | - **Depends On:** Phase 1.1, Phase 9.9
           |                                    ^^^

        ROADMAP.md: 2 work streams, 1 error, 0 warnings, 0 remarks
        ");
        assert_eq!(checked.names(), ["ROADMAP.md:12:36"]);
    }

    #[test]
    fn the_json_has_the_promised_fields() {
        let roadmap = Roadmap::parse(ROADMAP.as_bytes());
        insta::assert_json_snapshot!(Parsed(&roadmap), @r#"
        {
          "streams": [
            {
              "id": "1.1",
              "name": "Storage",
              "batch": "1",
              "tag": "bootstrap",
              "status": "complete",
              "assigned_to": null,
              "depends_on": [],
              "depends_text": null,
              "effort": null,
              "done_when": null,
              "tasks": [
                {
                  "text": "tables",
                  "done": true,
                  "depth": 0
                }
              ],
              "line": 5
            },
            {
              "id": "1.2",
              "name": "Parser",
              "batch": "1",
              "tag": null,
              "status": "not_started",
              "assigned_to": null,
              "depends_on": [
                "1.1",
                "9.9"
              ],
              "depends_text": "Phase 1.1, Phase 9.9",
              "effort": "M",
              "done_when": null,
              "tasks": [
                {
                  "text": "lexer",
                  "done": false,
                  "depth": 0
                }
              ],
              "line": 10
            }
          ],
          "diagnostics": [
            {
              "severity": "error",
              "code": "unknown-dependency",
              "message": "there is no work stream 9.9 in this file",
              "line": 12,
              "column": 36
            }
          ]
        }
        "#);
    }
}
