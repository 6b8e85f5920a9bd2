//! What would be run on machines of several kinds; nothing is installed here.

use super::{Apt, Machine, Needed, PARTS, Source};

const GIT: Source = Source::Debian(&["git"]);
const C: Source = Source::Debian(&["gcc", "libc6-dev"]);
const CLIPPY: Source = Source::Rustup("clippy");

fn commands(sources: &[Source], apt: Apt, has_rustup: bool) -> Option<Vec<String>> {
    let commands = Needed::from_sources(sources).commands(&Machine { apt, has_rustup })?;
    Some(commands.iter().map(|words| words.join(" ")).collect())
}

#[test]
fn packages_are_installed_together_as_root() {
    let expected =
        ["apt-get update", "apt-get install -y --no-install-recommends git gcc libc6-dev"];
    assert_eq!(commands(&[GIT, C], Apt::AsRoot, false).unwrap(), expected);
}

#[test]
fn sudo_gets_the_environment_it_would_drop() {
    let expected = [
        "sudo -n DEBIAN_FRONTEND=noninteractive apt-get update",
        "sudo -n DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git",
    ];
    assert_eq!(commands(&[GIT], Apt::BySudo, false).unwrap(), expected);
}

#[test]
fn components_come_from_rustup_and_need_no_rights() {
    let expected = ["rustup component add clippy"];
    assert_eq!(commands(&[CLIPPY], Apt::No, true).unwrap(), expected);
}

#[test]
fn python_packages_need_no_rights_and_come_after_python_itself() {
    let alone = commands(&[Source::Pypi], Apt::No, false).unwrap();
    assert_eq!(alone.len(), 2, "{alone:?}");
    assert!(alone[0].starts_with("python3 -m venv "), "{alone:?}");
    assert!(alone[1].contains(" --require-hashes "), "{alone:?}");
    let with_python = commands(&[Source::Pypi, Source::Debian(&["python3"])], Apt::AsRoot, false);
    assert_eq!(with_python.unwrap()[2..], alone);
}

#[test]
fn nothing_is_started_when_not_everything_can_be_had() {
    assert_eq!(commands(&[GIT, CLIPPY], Apt::No, true), None);
    assert_eq!(commands(&[GIT, CLIPPY], Apt::AsRoot, false), None);
}

#[test]
fn the_command_for_a_person_is_complete() {
    assert_eq!(
        Needed::from_sources(&[GIT, C, CLIPPY]).by_hand(),
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends git gcc libc6-dev \
         && rustup component add clippy"
    );
}

#[test]
fn every_part_is_here_while_the_tests_run() {
    for part in PARTS {
        assert_eq!((part.probe)(), Ok(()), "{}", part.name);
    }
}
