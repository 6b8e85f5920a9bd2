use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_typed_is_understood_or_refused() {
    let check = |line: &str, understood: bool| {
        let parsed = Cli::try_parse_from(line.split_whitespace());
        assert_eq!(parsed.is_ok(), understood, "{line}: {:?}", parsed.err().map(|e| e.to_string()));
    };
    // What people know from the scripts that came before.
    for line in [
        "kapelle status",
        "kapelle run",
        "kapelle run 1.2",
        "kapelle run --dry-run",
        "kapelle run --no-verify",
        "kapelle parallel",
        "kapelle parallel -n 5",
        "kapelle batch",
        "kapelle batch -n 3",
        "kapelle goal everything --auto",
        "kapelle goal start --dry-run",
        "kapelle interactive",
        "kapelle stop",
        "kapelle report",
        "kapelle report --json",
    ] {
        check(line, true);
    }
    for line in [
        "kapelle",
        "kapelle -C /tmp status -w --color never",
        "kapelle status -o ndjson",
        "kapelle run 1.2 1.3 --agent codex --detach",
        "kapelle stop r-42/1.2 --reason because",
        "kapelle stop --all",
        "kapelle feedback 1.2 use the lexer",
        "kapelle feedback 1.2 -",
        "kapelle report @last --markdown",
        "kapelle logs 1.2 -f --attempt 2",
        "kapelle events -f --run r-1 --after 3.7 --json",
        "kapelle roadmap parse plans/roadmap.md -o json",
        "kapelle roadmap graph --svg out.svg",
        "kapelle config show --origin",
        "kapelle config path",
        "kapelle schema openapi",
        "kapelle schema config",
        "kapelle help exit-codes",
        "kapelle completions zsh",
        "kapelle up",
        "kapelle down",
        "kapelle doctor --json",
        "kapelle init --yes --dry-run",
        "kapelle demo --dir kit",
        "kapelle version",
    ] {
        check(line, true);
    }
    for line in [
        "kapelle parallel -n 0",
        "kapelle batch -n 1001",
        "kapelle stop r-1 --all",
        "kapelle run --detach --dry-run",
        "kapelle feedback 1.2",
        "kapelle goal",
        "kapelle logs 1.2 --attempt 0",
        "kapelle status -o yaml",
        "kapelle schema nonsense",
        "kapelle config",
        "kapelle redirect 1.2",
        "kapelle pause",
        "kapelle pause 1.2 --all",
        "kapelle cordon",
    ] {
        check(line, false);
    }
}

#[test]
fn the_form_of_output_follows_the_flags() {
    let check = |line: &str, format: Format, quiet: bool| {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("it is understood");
        let settings = cli.global.settings();
        assert_eq!((settings.format, settings.quiet), (format, quiet), "{line}");
    };
    check("kapelle runs", Format::Table, false);
    check("kapelle runs --json", Format::Json, false);
    check("kapelle runs -q", Format::Name, true);
    check("kapelle runs -q -o json", Format::Json, true);
    check("kapelle runs -o name --json", Format::Json, false);
}

/// The names and purposes of all commands: what `kapelle --help` shows.
#[test]
fn the_commands_are_these() {
    let commands: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            format!("{:<12} {about}", command.get_name())
        })
        .collect();
    insta::assert_snapshot!(commands.join("\n"), @"
    init         Prepare a repository for Kapelle
    demo         Watch a whole run in a throw-away repository, with agents that play a script
    doctor       Look whether everything is there that Kapelle needs
    validate     Check the configuration and the roadmap, and nothing else
    status       Show how the roadmap stands, what runs, and what can be started
    run          Run one work stream, or those that are named
    parallel     Run several work streams at once
    batch        Run all available work, and what it unblocks, to the end
    goal         Say in words what you want
    interactive  Talk to the orchestrator
    stop         Stop a task, a run, or everything
    feedback     Tell something to the agent of a task
    restart      End an attempt and begin anew, with something to be told
    redirect     Take an agent off its work stream and put it on another one
    pause        Freeze agents where they stand, or start none
    ping         Ask whether attempts are alive
    workers      List the workers, invite machines, revoke workers
    cordon       Give a worker nothing new until further notice
    uncordon     Give a worker new work again
    drain        Have a worker finish what it has and leave
    report       Tell a run from its beginning to its end
    logs         Show what an agent has printed
    events       Show what happened, event by event
    why          Say why something is not running, or what went wrong
    runs         List the runs
    show         Show a run or a task
    resume       Go on with a run that was interrupted or did not succeed
    config       Show the configuration and where it comes from
    roadmap      Read the roadmap: parse, check, graph
    store        Look after the state database: backup, check, restore, migrate
    up           Start a coordinator with a worker, which stay until `kapelle down`
    down         End the coordinator that stays
    coordinator  Start a coordinator for workers on other machines
    worker       Run agents on this machine for a coordinator elsewhere
    join         Make this machine a worker of a fleet that has invited it
    nats         Make the configuration of the fleet's NATS server
    health       Say whether the coordinator or the worker of this machine does its work
    completions  Print completions for a shell
    man          Print the manual page
    schema       Print a schema for programs
    version      Print the version
    help         Say more about a command or a topic
    ");
}

/// The usage line and examples of every command; the options are documented beside their fields.
#[test]
fn every_command_shows_examples() {
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        if name == "version" {
            continue;
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  kapelle "), "{name}: {help:?}");
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            let width = line.chars().count();
            assert!(width <= 80, "{name}: {width} cells: {line}");
        }
    }
}

#[test]
fn the_short_help_of_a_command_stays_short() {
    let mut program = Cli::command().term_width(80);
    program.build();
    let run = program.find_subcommand_mut("run").expect("there is such a command");
    insta::assert_snapshot!(run.render_help().to_string(), @"
    Run one work stream, or those that are named

    Usage: kapelle run [OPTIONS] [IDS]...

    Arguments:
      [IDS]...  Which work streams; without, as run.mode in kapelle.yaml says: the
                next one

    Options:
          --agent <NAME>        Use this agent instead of the configured one
          --needs <CONSTRAINT>  What workers must be like: gpu, 'memory_gb>=16'
          --no-verify           Leave out the checks
          --dry-run             Only say what would be run
          --detach              Start it in the background and return at once
      -h, --help                Print help (see more with '--help')

    Examples:
      kapelle run                  the next available work stream
      kapelle run 1.2
      kapelle run 1.2 1.3 --agent codex
      kapelle run --dry-run
    ");
}

#[test]
fn agents_and_workers_can_be_steered() {
    for line in [
        "kapelle redirect 1.2 1.3 --reason blocked",
        "kapelle pause 1.2",
        "kapelle pause --worker big --wait 0s",
        "kapelle pause --label gpu",
        "kapelle resume 1.2",
        "kapelle restart 1.2 begin with the tests",
        "kapelle ping --all",
        "kapelle workers -o json",
        "kapelle cordon big",
        "kapelle uncordon big",
        "kapelle drain big",
    ] {
        let parsed = Cli::try_parse_from(line.split_whitespace());
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|error| error.to_string()));
    }
}

/// Every command line that the files for deployment have, and those of the documents on it.
#[test]
fn what_is_deployed_with_can_be_typed() {
    let mut lines = 0;
    for text in [
        include_str!("../../../../docker-compose.yml"),
        include_str!("../../../../deploy/compose/setup.sh"),
        include_str!("../../../../deploy/compose/invite.sh"),
        include_str!("../../../../deploy/systemd/kapelle-coordinator.service"),
        include_str!("../../../../deploy/systemd/kapelle-nats.service"),
        include_str!("../../../../deploy/systemd/kapelle-worker.service"),
        include_str!("../../../../deploy/Dockerfile"),
        include_str!("../../../../docs/fleet.md"),
    ] {
        for command in commands(&text.replace("\\\n", " ")) {
            let parsed = Cli::try_parse_from(&command);
            assert!(parsed.is_ok(), "{command:?}: {:?}", parsed.err().map(|e| e.to_string()));
            lines += 1;
        }
    }
    assert!(lines > 20, "only {lines} command lines were found");
}

/// The command lines of the program in a shell script, a unit, a compose file or a document.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        // A list: `command: ["coordinator"]`, or `["CMD", "kapelle", "health"]`.
        if let Some(list) = line.split_once('[').and_then(|(before, list)| {
            let is_ours = before.trim() == "command:" && !list.contains("-c\"");
            (is_ours || list.contains("\"kapelle\", ")).then_some(list)
        }) {
            let words =
                list.trim_end_matches(']').split(',').map(|word| word.trim().trim_matches('"'));
            let words = words.filter(|word| !["CMD", "kapelle"].contains(word)).map(str::to_owned);
            found.push(std::iter::once("kapelle".to_owned()).chain(words).collect());
            continue;
        }
        let starts = ["kapelle ", "$ kapelle ", "ExecStart=/usr/bin/kapelle "];
        let after = |marker: &str| line.find(marker).map(|at| &line[at + marker.len()..]);
        let command = (starts.iter().find_map(|start| line.strip_prefix(start)))
            .or_else(|| after("exec coordinator kapelle "))
            .or_else(|| after("config kapelle "))
            .or_else(|| after("#   kapelle "));
        if let Some(command) = command {
            let ends = [" > ", " < ", " && ", " | ", "  "];
            let end =
                ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
            let words = command[..end].split_whitespace().map(str::to_owned);
            found.push(std::iter::once("kapelle".to_owned()).chain(words).collect());
        }
    }
    found
}
