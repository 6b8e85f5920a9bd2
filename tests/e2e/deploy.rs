//! What is deployed with: what its own tools say of the files in `deploy`, and what they ask of the
//! program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kapelle_tests::Project;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{error}");
    said + &error
}

#[test]
fn compose_takes_the_file() {
    let shown = succeeds(
        Command::new("docker-compose")
            .args(["-f", "docker-compose.yml", "config"])
            .current_dir(root()),
    );
    for service in ["setup:", "nats:", "postgres:", "coordinator:", "invite:", "worker:"] {
        assert!(shown.contains(service), "{service} is missing:\n{shown}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut units = Vec::new();
    for entry in fs::read_dir(root().join("deploy/systemd")).expect("units").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        // It looks whether the programs are there.
        let text = read(&format!("deploy/systemd/{name}"))
            .replace("=/usr/bin/kapelle ", "=/bin/true ")
            .replace("=/usr/bin/nats-server ", "=/bin/true ");
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file");
        units.push(path);
    }
    assert_eq!(units.len(), 3);
    let said = succeeds(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    let about_ours = |line: &&str| line.contains("kapelle");
    assert_eq!(said.lines().filter(about_ours).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn nats_server_takes_the_configuration() {
    let project = Project::with_files(&[]);
    let config = project.around().join("nats-server.conf");
    let path = config.to_str().expect("a plain path");
    let monitored = ["nats", "config", "--monitor", "127.0.0.1:8222", "--out", path];
    let made = project.kapelle(&monitored);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stderr.contains("without a certificate"), "{made:?}");
    succeeds(Command::new(kapelle_tests::nats_server()).args(["-t", "-c", path]));
}

#[test]
fn clients_get_credentials_of_their_own() {
    let project = Project::with_files(&[]);
    let nothing = project.kapelle(&["nats", "client", "ann"]);
    assert_eq!(nothing.code, Some(3), "{nothing:?}");
    assert_eq!(project.kapelle(&["nats", "config"]).code, Some(0));
    let printed = project.kapelle(&["nats", "client", "ann", "--steer", "--for", "1d"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.stdout.contains("BEGIN USER NKEY SEED"), "{printed:?}");
}

/// The settings that the compose file gives by the environment, with other values.
#[test]
fn compose_sets_what_can_be_set() {
    let compose = read("docker-compose.yml");
    let names = compose.lines().filter_map(|line| line.trim().split_once(':'));
    let names: Vec<&str> =
        names.map(|(name, _)| name).filter(|name| name.starts_with("KAPELLE__")).collect();
    assert_eq!(names, ["KAPELLE__NATS__SERVERS", "KAPELLE__STORE__URL"]);
    let project = Project::with_files(&[]);
    let values = ["[\"nats://me:s3cr3t@nats:4222\"]", "sqlite:other.db"];
    let environment: Vec<(&str, &str)> = names.into_iter().zip(values).collect();
    let shown = project.kapelle_with(&["config", "show", "--origin"], &environment);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("KAPELLE__NATS__SERVERS"), "{shown:?}");
    assert!(!shown.stdout.contains("s3cr3t"), "no password is shown: {shown:?}");
}
