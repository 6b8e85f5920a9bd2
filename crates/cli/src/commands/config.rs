//! `kapelle config`: what is configured, and where it comes from.

use clap::{Args, Subcommand};
use kapelle_runtime::config::{self, LOCAL_FILE, PROJECT_FILE, Setting, USER_FILE};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Align, Canvas, Show, Table, Tone, sanitize, to_json};

/// What `config` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kapelle config show --origin
  kapelle config show run.concurrency
  kapelle config path
  kapelle config schema")]
pub struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the values in effect
    Show {
        /// Only this setting, or those below it, such as run or run.concurrency
        key: Option<String>,
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Show which files are read, weakest first
    Path,
    /// Print the JSON Schema of kapelle.yaml
    Schema,
}

impl ConfigArgs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Error> {
        match self.what {
            What::Schema => {
                let schema = to_json(&config::schema(), true).map_err(Error::Encode)?;
                app.console.data(&(schema + "\n"))?;
            }
            What::Path => {
                let project = app.project().await?;
                let user = config::user_config_dir(&app.environment);
                let user = user.map(|directory| directory.join(USER_FILE));
                let files = [PROJECT_FILE, LOCAL_FILE].map(|name| project.root().join(name));
                let files = user
                    .into_iter()
                    .chain(files)
                    .map(|path| File { exists: path.is_file(), path: path.display().to_string() });
                app.console.show(&Files { files: files.collect() })?;
            }
            What::Show { key, origin } => {
                let project = app.project().await?;
                let wanted =
                    |setting: &&Setting| key.as_deref().is_none_or(|key| below(setting, key));
                let settings: Vec<Setting> =
                    project.loaded().settings.iter().filter(wanted).cloned().collect();
                if settings.is_empty() {
                    return Err(Error::Nothing {
                        message: format!("there is no setting {:?}", key.unwrap_or_default()),
                        hint: Some("kapelle config show lists them".to_owned()),
                    });
                }
                app.console.show(&Settings { settings, origin })?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Whether `setting` is `key` or below it.
fn below(setting: &Setting, key: &str) -> bool {
    let rest = setting.key.strip_prefix(key);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Settings {
    settings: Vec<Setting>,
    origin: bool,
}

impl Settings {
    fn row(&self, setting: &Setting) -> Value {
        let origin = setting.origin.to_string();
        json!({ "key": setting.key, "value": setting.value, "origin": origin })
    }
}

impl Serialize for Settings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

impl Show for Settings {
    fn text(&self, canvas: &Canvas) -> String {
        let mut table = Table::new(&[("", Align::Left); 3], 1);
        for setting in &self.settings {
            let value = match &setting.value {
                Value::Null => canvas.paint(Tone::Faint, "not set"),
                Value::String(text) => sanitize(text),
                other => sanitize(&other.to_string()),
            };
            let origin = if self.origin {
                canvas.paint(Tone::Faint, &sanitize(&setting.origin.to_string()))
            } else {
                String::new()
            };
            table.row([sanitize(&setting.key), value, origin]);
        }
        table.render(canvas)
    }

    fn names(&self) -> Vec<String> {
        self.settings.iter().map(|setting| setting.key.clone()).collect()
    }

    fn rows(&self) -> Vec<Value> {
        self.settings.iter().map(|setting| self.row(setting)).collect()
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Files {
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    path: String,
    exists: bool,
}

impl Show for Files {
    fn text(&self, canvas: &Canvas) -> String {
        let mut table = Table::new(&[("", Align::Left); 2], 1);
        for file in &self.files {
            let sign = if file.exists {
                canvas.paint(Tone::Good, canvas.sign("✔", "+"))
            } else {
                canvas.paint(Tone::Faint, canvas.sign("·", "-"))
            };
            table.row([sign, sanitize(&file.path)]);
        }
        table.render(canvas)
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kapelle_runtime::config::Origin;

    fn setting(key: &str, value: Value, origin: Origin) -> Setting {
        Setting { key: key.to_owned(), value, origin }
    }

    #[test]
    fn settings_are_shown_with_their_origins() {
        let file = Origin::File { file: "kapelle.yaml".into(), line: 9, column: 16 };
        let settings = vec![
            setting("run.agent", Value::Null, Origin::Default),
            setting("run.concurrency", json!(5), file),
        ];
        let shown = Settings { settings, origin: true };
        insta::assert_snapshot!(shown.text(&Canvas::plain()), @"
        run.agent        not set  default
        run.concurrency  5        kapelle.yaml:9:16
        ");
        insta::assert_json_snapshot!(shown, @r#"
        [
          {
            "key": "run.agent",
            "origin": "default",
            "value": null
          },
          {
            "key": "run.concurrency",
            "origin": "kapelle.yaml:9:16",
            "value": 5
          }
        ]
        "#);
    }

    #[test]
    fn a_key_chooses_itself_and_what_is_below() {
        let check = |key: &str, expected| {
            let setting = setting("run.concurrency", Value::Null, Origin::Default);
            assert_eq!(below(&setting, key), expected, "{key}");
        };
        check("run", true);
        check("run.concurrency", true);
        check("run.con", false);
        check("ru", false);
    }
}
