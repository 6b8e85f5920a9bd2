//! The project of the demonstration: its files, and the repository that holds them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kapelle_git::{Identity, Repository, git_version};

use crate::app::App;
use crate::error::Error;
use crate::project::{Project, STATE_DIRECTORY};

/// How many work streams its roadmap has.
pub(super) const STREAMS: u32 = 10;
/// The roadmap.
pub(super) const ROADMAP: &str = "plans/roadmap.md";
/// Where the agent that is given advice keeps it.
pub(super) const ADVICE: &str = "lib/greeting.txt";
/// What the agents play.
pub(super) const SCRIPT: &str = "demo-agent.yaml";

const FILES: [(&str, &str); 9] = [
    ("README.md", include_str!("project/README.md")),
    ("check.sh", include_str!("project/check.sh")),
    ("commands/help.sh", include_str!("project/help.sh")),
    ("expect.sh", include_str!("project/expect.sh")),
    ("kapelle.yaml", include_str!("project/kapelle.yaml")),
    ("kit.sh", include_str!("project/kit.sh")),
    ("tests/help.sh", include_str!("project/help_test.sh")),
    (ROADMAP, include_str!("project/roadmap.md")),
    (SCRIPT, include_str!("project/demo-agent.yaml")),
];

/// Makes the repository, in `wanted` or where temporary files go, and commits the files.
pub(super) async fn create(app: &App, wanted: Option<PathBuf>) -> Result<Repository, Error> {
    git_version().await.map_err(|source| {
        Error::usage(source.to_string(), "`kapelle demo` needs git and a shell, and nothing else")
    })?;
    let root = match wanted {
        Some(path) => empty(app.directory.join(path))?,
        None => temporary(app)?,
    };
    for (name, content) in FILES {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        }
        fs::write(&path, content).map_err(Error::file("write", &path))?;
    }
    let failed = |source| Error::Project { path: root.clone(), source };
    let author = Identity::new("Kapelle demo", "demo@localhost").map_err(failed)?;
    let repository = Repository::create(&root, "main", &author).await.map_err(failed)?;
    repository.commit_all("chore: a toolbox, and a roadmap for it").await.map_err(failed)?;
    Ok(repository)
}

/// Opens it without what the user has configured elsewhere: the demonstration is to be the same
/// everywhere.
pub(super) fn open(app: &App, root: &Path) -> Result<Project, Error> {
    let mut environment = app.environment.clone();
    environment.retain(|name, _| !name.as_encoded_bytes().starts_with(b"KAPELLE_"));
    let nowhere = root.join(STATE_DIRECTORY).join("no-user-configuration");
    environment.insert(OsString::from("XDG_CONFIG_HOME"), nowhere.into());
    Project::at(root.to_owned(), environment)
}

/// A directory that only this user can look into.
fn temporary(app: &App) -> Result<PathBuf, Error> {
    let id = app.identity.mint().simple().to_string();
    let short = id.get(id.len() - 8..).unwrap_or(&id);
    let path = std::env::temp_dir().join(format!("kapelle-demo-{short}"));
    DirBuilder::new().mode(0o700).create(&path).map_err(Error::file("create", &path))?;
    Ok(path)
}

/// `path` as a directory without anything in it.
fn empty(path: PathBuf) -> Result<PathBuf, Error> {
    match fs::create_dir_all(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => created.map_err(Error::file("create", &path))?,
    }
    let mut entries = fs::read_dir(&path).map_err(Error::file("read", &path))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", path.display());
        return Err(Error::usage(message, "name a directory that is empty or doesn't exist yet"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("a/b");
        assert_eq!(empty(new.clone()).unwrap(), new);
        assert_eq!(empty(new.clone()).unwrap(), new);
        fs::write(new.join("file"), "").unwrap();
        assert!(matches!(empty(new.clone()), Err(Error::Usage { .. })));
        assert!(matches!(empty(new.join("file")), Err(Error::File { .. })));
    }

    #[test]
    fn roadmap_script_and_configuration_belong_together() {
        use kapelle_domain::roadmap::Roadmap;
        use kapelle_worker::scripted::Script;
        let text = |name| FILES.iter().find(|file| file.0 == name).unwrap().1;
        let roadmap = Roadmap::parse(text(ROADMAP).as_bytes());
        let script = Script::parse(text(SCRIPT)).unwrap();
        let ids: Vec<String> =
            roadmap.view().streams.iter().map(|stream| stream.id.to_string()).collect();
        assert_eq!(ids.len(), STREAMS as usize);
        assert!(ids.iter().eq(script.streams.keys()));
        assert!(ids.iter().any(|id| id == super::super::FEEDBACK.0));
    }
}
