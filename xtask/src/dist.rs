//! `cargo xtask dist`: the archive that is published for one release and one target, with its
//! checksum.
//!
//! Only programs that every Debian has are used beside the toolchain (tar, gzip, sha256sum, and
//! strip, which comes with the C compiler). File order, owners and times inside the archive are
//! fixed, so that two builds of one commit can be compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::subprocess;
use crate::workspace::Workspace;

/// Files of the repository that go into the archive as they are.
const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Texts that the program prints about itself: where they go, and how to ask for them.
const PRINTED: &[(&str, &[&str])] = &[
    ("man/kapelle.1", &["man"]),
    ("completions/kapelle.bash", &["completions", "bash"]),
    ("completions/_kapelle", &["completions", "zsh"]),
    ("completions/kapelle.fish", &["completions", "fish"]),
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    subprocess::run(subprocess::cargo(&workspace.root).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "kapelle-cli",
        "--bin",
        "kapelle",
    ]))?;
    let version = &workspace.package("kapelle-cli")?.version;
    let name = format!("kapelle-{version}-{}", host_target()?);
    let dist = workspace.target.join("dist");
    let content = dist.join(&name);
    assemble(workspace, &content)?;
    let archive = pack(&dist, &name, source_date(workspace)?)?;
    println!("{}", archive.display());
    Ok(())
}

/// Fills `content` with everything that goes into the archive.
fn assemble(workspace: &Workspace, content: &Path) -> Result<()> {
    if content.exists() {
        std::fs::remove_dir_all(content)
            .with_context(|| format!("cannot empty {}", content.display()))?;
    }
    let program = content.join("kapelle");
    copy(&workspace.kapelle("release"), &program)?;
    subprocess::run(Command::new("strip").arg(&program))
        .context("strip is part of the Debian package binutils, which gcc installs")?;
    for document in DOCUMENTS {
        copy(&workspace.root.join(document), &content.join(document))?;
    }
    for (path, arguments) in PRINTED {
        let text = subprocess::capture(Command::new(&program).args(*arguments))?;
        if text.is_empty() {
            bail!("`kapelle {}` printed nothing for {path}", arguments.join(" "));
        }
        let path = content.join(path);
        make_parent(&path)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Packs `dist/name` and writes the checksum beside the archive; returns the archive's path. Every
/// entry is dated `modified_at`, in seconds since 1970.
fn pack(dist: &Path, name: &str, modified_at: u64) -> Result<PathBuf> {
    let archive = format!("{name}.tar.gz");
    subprocess::run(
        Command::new("tar")
            .current_dir(dist)
            .args(["--create", "--file", &archive])
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            // The modes that git keeps, whatever the umask of this machine.
            .arg("--mode=u+rw,go+r,go-w,a+X")
            .arg(format!("--mtime=@{modified_at}"))
            .arg("--use-compress-program=gzip --no-name -9")
            .arg(name),
    )?;
    let checksum = subprocess::capture(Command::new("sha256sum").current_dir(dist).arg(&archive))?;
    let checksum_path = dist.join(format!("{archive}.sha256"));
    std::fs::write(&checksum_path, checksum)
        .with_context(|| format!("cannot write {}", checksum_path.display()))?;
    Ok(dist.join(archive))
}

/// The moment, in seconds since 1970, that every file of the archive carries: SOURCE_DATE_EPOCH
/// when a packager sets it, else the time of the commit.
fn source_date(workspace: &Workspace) -> Result<u64> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(std::env::VarError::NotPresent) => {
            subprocess::capture_text(Command::new("git").current_dir(&workspace.root).args([
                "log",
                "-1",
                "--format=%ct",
            ]))?
        }
        Err(error) => return Err(error).context("SOURCE_DATE_EPOCH"),
    };
    seconds.parse().with_context(|| format!("not a time in seconds: {seconds:?}"))
}

fn host_target() -> Result<String> {
    let version = subprocess::capture_text(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    std::fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::pack;
    use crate::subprocess;

    #[test]
    fn equal_content_gives_equal_archives_with_a_checksum_that_holds() {
        let archive_of = |order: [&str; 2]| {
            let dist = tempfile::tempdir().unwrap();
            for name in order {
                let path = dist.path().join("kapelle-1").join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, name).unwrap();
            }
            let archive = pack(dist.path(), "kapelle-1", 1_000_000_000).unwrap();
            let check = ["--check", "kapelle-1.tar.gz.sha256"];
            subprocess::run(Command::new("sha256sum").current_dir(dist.path()).args(check))
                .unwrap();
            let listed =
                subprocess::capture_text(Command::new("tar").arg("--list").arg("-f").arg(&archive));
            (fs::read(archive).unwrap(), listed.unwrap())
        };
        let (first, listed) = archive_of(["kapelle", "man/kapelle.1"]);
        let (second, _) = archive_of(["man/kapelle.1", "kapelle"]);
        assert!(first == second, "the archives differ");
        let entries: Vec<_> = listed.lines().collect();
        let expected =
            ["kapelle-1/", "kapelle-1/kapelle", "kapelle-1/man/", "kapelle-1/man/kapelle.1"];
        assert_eq!(entries, expected);
    }
}
