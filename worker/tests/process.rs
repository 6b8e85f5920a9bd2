//! The laws of supervised processes, with real processes, for every kind of containment that this
//! machine allows.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "functions shared by tests fail as tests do"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kapelle_worker::process::{
    Containment, Ended, Error, Exit, GapReason, MARKER_VARIABLE, Output, OutputStream, Process,
    ProcessSpec, Stdin, StopLadder, StopMode, Supervisor, sweep_strays,
};
use pretty_assertions::assert_eq;
use tokio::time::timeout;

const HOST: &str = env!("CARGO_BIN_EXE_kapelle-agent-host");
const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes, shorter than anyone waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A name that no other process on this machine carries.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}-{name}/1", std::process::id())
}

fn shell(script: &str, marker: &str) -> ProcessSpec {
    let mut spec = ProcessSpec::new("sh", "/", marker);
    spec.args = vec!["-c".into(), script.into()];
    spec.env.insert("PATH".into(), std::env::var_os("PATH").unwrap());
    spec
}

/// Those kinds of containment that the kernel grants here.
async fn available() -> Vec<Supervisor> {
    let mut supervisors = Vec::new();
    for kind in Containment::ALL {
        let supervisor = Supervisor::new(HOST).require(kind);
        match supervisor.spawn(shell("exit 0", &unique("probe"))).await {
            Ok(mut process) => {
                assert_eq!(end(&mut process).await.containment, kind);
                supervisors.push(supervisor);
            }
            Err(Error::Refused { containment, step, source }) => {
                assert_ne!(kind, Containment::Subreaper);
                eprintln!("not tested here: {containment} is refused at {step}: {source}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    supervisors
}

async fn end(process: &mut Process) -> Exit {
    timeout(PATIENCE, process.wait()).await.expect("the process ends")
}

/// All output and the end.
async fn collect(mut process: Process) -> (Vec<Output>, Exit) {
    let exit = end(&mut process).await;
    let mut output = Vec::new();
    while let Some(piece) = process.output.recv().await {
        output.push(piece);
    }
    (output, exit)
}

fn text_of(output: &[Output], wanted: OutputStream) -> String {
    output
        .iter()
        .filter_map(|piece| match piece {
            Output::Line { stream, text, .. } if *stream == wanted => Some(format!("{text}\n")),
            Output::Line { .. } => None,
            Output::Gap { .. } => panic!("a gap in {output:?}"),
        })
        .collect()
}

async fn next_line(process: &mut Process) -> String {
    match timeout(PATIENCE, process.output.recv()).await.expect("the process prints") {
        Some(Output::Line { text, .. }) => text,
        other => panic!("no line but {other:?}"),
    }
}

/// How many living processes carry `marker`, or have it on their command line.
fn living(marker: &str) -> usize {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter(|pid| pid.to_str().is_some_and(|pid| pid.parse::<u32>().is_ok()))
        .filter(|pid| pid.to_str() != Some(&std::process::id().to_string()))
        .filter(|pid| {
            let holds = |file| {
                let content = fs::read(Path::new("/proc").join(pid).join(file)).unwrap_or_default();
                String::from_utf8_lossy(&content).contains(marker)
            };
            holds("environ") || holds("cmdline")
        })
        .count()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let polling = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, polling).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn the_end_is_reported_as_it_was() {
    for supervisor in available().await {
        for (script, expected) in [
            ("exit 0", Ended::Code(0)),
            ("exit 7", Ended::Code(7)),
            ("exit 127", Ended::Code(127)),
            ("exit 137", Ended::Code(137)),
            ("kill -TERM $$", Ended::Signal(15)),
            ("kill -KILL $$", Ended::Signal(9)),
            ("kill -40 $$", Ended::Signal(40)),
        ] {
            let process = supervisor.spawn(shell(script, &unique("end"))).await.unwrap();
            let (_, exit) = collect(process).await;
            assert_eq!(exit.ended, expected, "{script} in {:?}", exit.containment);
            assert_eq!((exit.stopped, exit.survivors_killed), (None, 0));
            assert_eq!(exit.probably_out_of_memory(), expected == Ended::Signal(9));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_told_apart_from_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain.txt");
    fs::write(&plain, "not a program").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    for supervisor in available().await {
        let start = async |change: &dyn Fn(&mut ProcessSpec)| {
            let mut spec = shell("exit 0", &unique("start"));
            change(&mut spec);
            supervisor.spawn(spec).await.unwrap_err()
        };
        let missing = start(&|spec| spec.program = "no-such-program".into()).await;
        assert!(
            matches!(&missing, Error::SpawnFailed { source, .. } if source.kind() == ErrorKind::NotFound)
        );
        assert_eq!(missing.to_string(), "cannot start no-such-program");
        let forbidden = start(&|spec| spec.program = plain.clone().into()).await;
        assert!(
            matches!(forbidden, Error::SpawnFailed { source, .. } if source.kind() == ErrorKind::PermissionDenied)
        );
        let nul = start(&|spec| spec.args.push("a\0b".into())).await;
        assert!(matches!(nul, Error::SpawnFailed { .. }), "{nul:?}");
        let nowhere = start(&|spec| spec.cwd = "/no/such/dir".into()).await;
        assert!(
            matches!(nowhere, Error::WorkingDirectory { source, .. } if source.kind() == ErrorKind::NotFound)
        );
        let a_file = start(&|spec| spec.cwd = plain.clone()).await;
        assert!(
            matches!(a_file, Error::WorkingDirectory { source, .. } if source.kind() == ErrorKind::NotADirectory)
        );
    }
    let spec = shell("exit 0", &unique("supervisor"));
    let error = Supervisor::new("/no/such/kapelle").spawn(spec.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Supervisor { .. }));
    let error = Supervisor::new("/bin/true").spawn(spec).await.unwrap_err();
    assert!(matches!(error, Error::SupervisorLost { .. }));
}

#[tokio::test]
async fn a_process_gets_what_its_spec_says_and_nothing_else() {
    for supervisor in available().await {
        let marker = unique("inherits");
        let mut spec = ProcessSpec::new("/usr/bin/env", "/", marker.as_str());
        spec.env.insert("ONE".into(), "1".into());
        let (output, _) = collect(supervisor.spawn(spec).await.unwrap()).await;
        let text = text_of(&output, OutputStream::Stdout);
        let env: BTreeSet<&str> = text.lines().collect();
        assert_eq!(env, BTreeSet::from(["ONE=1", &format!("{MARKER_VARIABLE}={marker}")]));

        let mut script = shell("pwd; cat; echo done >&2", &marker);
        script.cwd = "/usr".into();
        script.stdin = Stdin::Bytes(b"line 1\nline 2".to_vec());
        let (output, _) = collect(supervisor.spawn(script).await.unwrap()).await;
        assert_eq!(text_of(&output, OutputStream::Stdout), "/usr\nline 1\nline 2\n");
        assert_eq!(text_of(&output, OutputStream::Stderr), "done\n");

        let closed = shell("cat; echo end", &marker);
        let (output, _) = collect(supervisor.spawn(closed).await.unwrap()).await;
        assert_eq!(text_of(&output, OutputStream::Stdout), "end\n");
    }
}

#[tokio::test]
async fn a_process_starts_clean_and_sees_itself_truly() {
    let script = r#"
        read -r pid name state ppid pgrp session tty rest < /proc/$$/stat
        echo "own group: $([ "$pgrp" = "$$" ] && echo yes), terminal: $tty"
        ulimit -c; id -u; id -g
        ls /proc/self/fd | wc -l
    "#;
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    for supervisor in available().await {
        let process = supervisor.spawn(shell(script, &unique("clean"))).await.unwrap();
        let (output, _) = collect(process).await;
        // Descriptors: the three of every process, and the directory that `ls` reads.
        let expected = format!("own group: yes, terminal: 0\n0\n{uid}\n{gid}\n4\n");
        assert_eq!(text_of(&output, OutputStream::Stdout), expected);

        // Without a shell, which has a mask of its own while it waits.
        let mut spec = ProcessSpec::new("/usr/bin/grep", "/", unique("clean"));
        spec.args = ["-E", "Sig(Blk|Ign)", "/proc/self/status"].map(Into::into).to_vec();
        let (output, _) = collect(supervisor.spawn(spec).await.unwrap()).await;
        // Ignored are only the two that the C library keeps to itself.
        let expected = format!("SigBlk:\t{:016x}\nSigIgn:\t{:016x}\n", 0, 3_u64 << 31);
        assert_eq!(text_of(&output, OutputStream::Stdout), expected);
    }
}

#[tokio::test]
async fn nothing_outlives_the_agent() {
    for supervisor in available().await {
        for (name, script) in [
            ("background", "sleep 600 & echo on"),
            ("session", "setsid sh -c 'echo on; exec sleep 600' &"),
            ("double fork", "(setsid sh -c 'sleep 600 & sleep 600 & echo on' &)"),
            ("deaf", "(trap '' TERM INT HUP; echo on; sleep 600) &"),
            ("stopped", "setsid sh -c 'echo on; kill -STOP $$; sleep 600' &"),
            ("nameless", "setsid env -i /bin/sh -c 'echo on; exec /bin/sleep 600' &"),
        ] {
            let marker = unique(name);
            let script = format!(": {marker}; {script}\nread -r go; exit 3");
            let mut spec = shell(&script, &marker);
            spec.stdin = Stdin::Piped;
            let mut process = supervisor.spawn(spec).await.unwrap();
            assert_eq!(next_line(&mut process).await, "on");
            process.stdin.take().unwrap().line("go").await.unwrap();
            let exit = end(&mut process).await;
            assert_eq!(exit.ended, Ended::Code(3), "{name}");
            assert!(exit.survivors_killed >= 1, "{name}: {exit:?}");
            assert_eq!(exit.survivors_left, 0, "{name}");
            assert_eq!(living(&marker), 0, "{name} in {:?}", exit.containment);
            // They held the output open until they died.
            assert_eq!(process.output.recv().await, None, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_climbs_the_ladder_only_as_far_as_needed() {
    let patient = StopLadder { kill_after: PATIENCE, ..StopLadder::KILL };
    let interrupt = StopLadder { interrupt_after: Some(Duration::ZERO), ..patient };
    let both = StopLadder { terminate_after: Some(SECOND / 100), ..interrupt };
    let all = StopLadder { kill_after: SECOND / 20, ..both };
    for supervisor in available().await {
        for (script, ladder, expected, mode) in [
            (
                "trap 'exit 5' INT; echo on; while :; do sleep 0.01; done",
                interrupt,
                Ended::Code(5),
                StopMode::Interrupt,
            ),
            (
                "trap '' INT; trap 'exit 6' TERM; echo on; while :; do sleep 0.01; done",
                both,
                Ended::Code(6),
                StopMode::Terminate,
            ),
            (
                "trap '' INT TERM; echo on; while :; do sleep 0.01; done",
                all,
                Ended::Signal(9),
                StopMode::Kill,
            ),
            ("trap '' INT; echo on; exec sleep 600", both, Ended::Signal(15), StopMode::Terminate),
            (
                "trap '' INT; echo on; kill -STOP $$; sleep 600",
                both,
                Ended::Signal(15),
                StopMode::Terminate,
            ),
            (
                "trap '' INT TERM; echo on; kill -STOP $$; sleep 600",
                all,
                Ended::Signal(9),
                StopMode::Kill,
            ),
            (
                "setsid sleep 600 & echo on; wait",
                StopLadder::KILL,
                Ended::Signal(9),
                StopMode::Kill,
            ),
        ] {
            let marker = unique("stop");
            let mut process = supervisor.spawn(shell(script, &marker)).await.unwrap();
            assert_eq!(next_line(&mut process).await, "on");
            process.stop(ladder);
            let exit = end(&mut process).await;
            assert_eq!((exit.ended, exit.stopped), (expected, Some(mode)), "{script}");
            assert!(!exit.probably_out_of_memory());
            assert_eq!(living(&marker), 0, "{script}");
        }
    }
}

#[tokio::test]
async fn a_stop_can_be_hastened_from_elsewhere() {
    let supervisor = Supervisor::new(HOST);
    let mut process = supervisor.spawn(shell("sleep 600", &unique("hasten"))).await.unwrap();
    process.stop(StopLadder {
        terminate_after: None,
        kill_after: 100 * PATIENCE,
        ..StopLadder::KILL
    });
    let stopper = process.stopper();
    stopper.stop(StopLadder::KILL);
    stopper.stop(StopLadder::default());
    assert_eq!(end(&mut process).await.stopped, Some(StopMode::Kill));
    stopper.stop(StopLadder::KILL);
    assert_eq!(end(&mut process).await.ended, Ended::Signal(9));
}

#[tokio::test]
async fn a_fork_bomb_is_ended() {
    let script = "bomb() { [ $1 -eq 0 ] && exec sleep 600; \
                  for i in 1 2 3; do bomb $(($1 - 1)) & done; wait; }; bomb 4 & echo on; wait";
    for supervisor in available().await {
        let marker = unique("bomb");
        let mut process = supervisor.spawn(shell(script, &marker)).await.unwrap();
        assert_eq!(next_line(&mut process).await, "on");
        until("the bomb has gone off", || living(&marker) > 100).await;
        process.stop(StopLadder::KILL);
        let exit = end(&mut process).await;
        assert_eq!((exit.ended, exit.survivors_left), (Ended::Signal(9), 0));
        assert_eq!(living(&marker), 0);
    }
}

#[tokio::test]
async fn dropping_a_process_kills_its_tree() {
    for supervisor in available().await {
        let marker = unique("drop");
        let mut process =
            supervisor.spawn(shell("setsid sleep 600 & echo on; wait", &marker)).await.unwrap();
        assert_eq!(next_line(&mut process).await, "on");
        assert!(living(&marker) >= 3);
        drop(process);
        until("the tree is gone", || living(&marker) == 0).await;
    }
}

#[tokio::test]
async fn a_killed_worker_takes_its_trees_along() {
    for supervisor in available().await {
        let containment = supervisor.containment().unwrap();
        let marker = unique("worker");
        let mut worker = Command::new(HOST)
            .args(["supervise", containment.as_str(), &marker, "sh", "-c"])
            .arg("setsid sleep 600 & (trap '' TERM; sleep 600) & echo on; wait")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(worker.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "on\n");
        worker.kill().unwrap();
        worker.wait().unwrap();
        until("the tree is gone", || living(&marker) == 0).await;
    }
}

#[tokio::test]
async fn a_killed_supervisor_is_noticed_and_its_tree_cleared_away() {
    for supervisor in available().await {
        let marker = unique("shim");
        let mut process =
            supervisor.spawn(shell("setsid sleep 600 & echo on; wait", &marker)).await.unwrap();
        assert_eq!(next_line(&mut process).await, "on");
        let shim = i32::try_from(process.supervisor_id().unwrap()).unwrap();
        let shim = nix::unistd::Pid::from_raw(shim);
        nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
        let exit = end(&mut process).await;
        assert_eq!((exit.ended, exit.survivors_left), (Ended::Lost, 0));
        assert_eq!(living(&marker), 0);
    }
}

#[tokio::test]
async fn a_flood_passes_in_bounded_memory_and_its_end_is_kept() {
    const LINES: u64 = 20_000_000;
    let script = format!("yes 123456789 | head -n {LINES}; echo last; echo also >&2");
    let supervisor = Supervisor::new(HOST);
    let mut spec = shell(&script, &unique("flood"));
    spec.output_limit = 1024 * 1024;
    // Nobody reads before the end, which must not stop the process.
    let (output, exit) = collect(supervisor.spawn(spec).await.unwrap()).await;
    assert_eq!(exit.ended, Ended::Code(0));
    let stdout: Vec<_> = output
        .iter()
        .filter(|piece| !matches!(piece, Output::Line { stream: OutputStream::Stderr, .. }))
        .collect();
    let (mut kept, mut dropped, mut gaps) = (0, 0, 0);
    for piece in &stdout {
        match piece {
            Output::Line { .. } => kept += 1,
            Output::Gap { stream, bytes, lines, reason } => {
                assert_eq!((*stream, *reason), (OutputStream::Stdout, GapReason::OverLimit));
                assert_eq!(*bytes, lines * 10);
                gaps += 1;
                dropped += lines;
            }
        }
    }
    assert_eq!((kept + dropped, gaps), (LINES + 1, 1));
    assert!(matches!(stdout.last(), Some(Output::Line { text, .. }) if text == "last"));
    let peak = fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 150 * 1024, "{peak_kib} KiB");
}

#[tokio::test]
async fn lines_can_be_written_while_it_runs() {
    let supervisor = Supervisor::new(HOST);
    let mut spec =
        shell("while read -r line; do echo \"got $line\"; done; echo end", &unique("in"));
    spec.stdin = Stdin::Piped;
    let mut process = supervisor.spawn(spec).await.unwrap();
    let stdin = process.stdin.take().unwrap();
    for word in ["one", "two"] {
        stdin.line(word).await.unwrap();
        assert_eq!(next_line(&mut process).await, format!("got {word}"));
    }
    drop(stdin);
    assert_eq!(next_line(&mut process).await, "end");
    assert_eq!(end(&mut process).await.ended, Ended::Code(0));
}

#[tokio::test]
async fn writing_to_a_process_that_has_ended_fails() {
    let supervisor = Supervisor::new(HOST);
    let mut spec = shell("exit 0", &unique("in"));
    spec.stdin = Stdin::Piped;
    let mut process = supervisor.spawn(spec).await.unwrap();
    let stdin = process.stdin.take().unwrap();
    end(&mut process).await;
    let failing = async { while stdin.line("anyone?").await.is_ok() {} };
    assert!(timeout(PATIENCE, failing).await.is_ok());
    assert!(matches!(stdin.line("no").await, Err(Error::StdinClosed)));
}

#[tokio::test]
async fn strays_are_found_by_their_mark() {
    let (ours, others) = (unique("stray"), unique("other"));
    let start = |mark: &str| {
        // Its parent is gone, as that of a real stray.
        let script = "setsid sleep 600 < /dev/null > /dev/null 2>&1 &";
        let status = Command::new("sh").args(["-c", script]).env(MARKER_VARIABLE, mark).status();
        assert!(status.unwrap().success());
    };
    start(&ours);
    start(&format!("{ours}-second"));
    start(&others);
    until("all have started", || living(&ours) == 2 && living(&others) == 1).await;
    let swept = sweep_strays(&ours).unwrap();
    assert_eq!((swept.killed, swept.left), (2, 0));
    assert_eq!((living(&ours), living(&others)), (0, 1));
    assert_eq!(sweep_strays(&others).unwrap().killed, 1);
    assert_eq!(sweep_strays(&others).unwrap().killed, 0);
}

#[tokio::test]
async fn the_strongest_containment_is_found_by_itself() {
    let strongest = available().await.first().and_then(Supervisor::containment).unwrap();
    let supervisor = Supervisor::new(HOST);
    assert_eq!(supervisor.containment(), None);
    let mut process = supervisor.spawn(shell("exit 0", &unique("auto"))).await.unwrap();
    assert_eq!(process.containment(), strongest);
    assert_eq!(end(&mut process).await.containment, strongest);
    assert_eq!(supervisor.containment(), Some(strongest));
}

#[tokio::test]
async fn without_privileges_the_agent_keeps_its_identity() {
    if !nix::unistd::geteuid().is_root() {
        return; // Then the other tests have shown it.
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let host = dir.path().join("host");
    // By another process: as long as this one has a program open for writing, a child that another
    // test is just starting may hold it open too, and then nobody can run it.
    assert!(Command::new("cp").arg(HOST).arg(&host).status().unwrap().success());
    for (containment, works) in [
        (Containment::PidNamespace, false),
        (Containment::UserPidNamespace, true),
        (Containment::Subreaper, true),
    ] {
        let marker = unique("nobody");
        let output = Command::new(&host)
            .args(["supervise", containment.as_str(), &marker, "sh", "-c"])
            .arg("id -u; id -g; setsid sleep 600 & exit 4")
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if works || output.status.success() {
            assert!(stdout.starts_with("65534\n65534\n"), "{containment}: {stdout}{stderr}");
            assert!(stdout.contains("Code(4)"), "{containment}: {stdout}");
        } else {
            assert!(stderr.contains("refuses pid_namespace containment"), "{stderr}");
        }
        assert_eq!(living(&marker), 0);
    }
}

#[tokio::test]
async fn many_at_once_do_not_mix() {
    let supervisor = Supervisor::new(HOST);
    let mut running = Vec::new();
    for number in 0..40 {
        let script = format!("echo {number}; exit {number}");
        running.push((number, supervisor.spawn(shell(&script, &unique("many"))).await.unwrap()));
    }
    for (number, process) in running {
        let (output, exit) = collect(process).await;
        assert_eq!(exit.ended, Ended::Code(number));
        assert_eq!(text_of(&output, OutputStream::Stdout), format!("{number}\n"));
    }
}
