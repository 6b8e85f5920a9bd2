//! On a terminal: what is drawn while a run goes on, what Ctrl-C does, and talking.

use kapelle_tests::{Project, Terminal, living_in, stream};

/// Waits until the test lets it go.
const PATIENT: &str =
    "until [ -e \"$HOME/go\" ]; do sleep 0.05; done; mkdir -p out; echo x > out/$KAPELLE_STREAM";

fn project(streams: u32) -> Project {
    let streams: Vec<String> =
        (1..=streams).map(|number| stream(&format!("1.{number}"), "Part", &[])).collect();
    Project::with_streams(&streams, PATIENT, "")
}

fn let_go(project: &Project) {
    std::fs::write(project.around().join("home/go"), "").expect("a file");
}

/// The lines of running tasks, and the one with the bar, as they are drawn last.
fn drawn(screen: &str) -> (Vec<&str>, Option<&str>) {
    let bar = |line: &&str| line.contains("done") && line.contains(['█', '░']);
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let running = lines.iter().filter(|line| line.starts_with("● 1.")).copied().collect();
    (running, lines.into_iter().rfind(bar))
}

fn agents(project: &Project) -> usize {
    living_in(&project.root().join(".kapelle/work")).len()
}

fn wait_for_agents(project: &Project, terminal: &Terminal, count: usize) {
    terminal.wait_for("running agents", |screen| drawn(screen).0.len() >= count);
    project.wait_for("their processes", || (agents(project) >= count).then_some(()));
}

#[test]
fn progress_is_a_bar_and_at_most_eight_lines() {
    let project = project(12);
    let mut terminal = project.in_terminal(&["batch", "-n", "12"]);
    let screen = terminal.wait_for("all agents", |screen| screen.contains("● 12 working"));
    let (running, bar) = drawn(&screen);
    assert_eq!(running.len(), 7, "{screen}");
    assert!(running[0].contains("Part") && running[0].contains("worker@local"), "{screen}");
    assert!(screen.contains("  and 5 more"), "{screen}");
    assert!(bar.expect("a bar").contains("r-1 0/12 done"), "{screen}");
    // Lines are redrawn in their places, not printed again.
    let later = terminal.wait_for("time to go by", |screen| {
        let took = |screen| drawn(screen).0.first().map(|line| (*line).to_owned());
        took(screen) != running.first().map(|line| (*line).to_owned())
    });
    assert_eq!(later.matches("and 5 more").count(), 1, "{later}");
    assert_eq!(drawn(&later).0.len(), 7, "{later}");

    let_go(&project);
    assert_eq!(terminal.wait(), Some(0), "{}", terminal.history());
    let history = terminal.history();
    assert_eq!(history.matches("  done, in ").count(), 12, "one line for each end: {history}");
    assert!(history.contains("✔ 12 succeeded"), "{history}");
    assert_eq!(drawn(&history).0, [""; 0], "what was redrawn is gone: {history}");
}

#[test]
fn ctrl_c_lets_agents_finish_and_starts_nothing_new() {
    let project = project(3);
    let mut terminal = project.in_terminal(&["batch", "-n", "1"]);
    wait_for_agents(&project, &terminal, 1);
    terminal.interrupt();
    let screen = terminal.wait_for("an answer", |screen| screen.contains("Nothing new is started"));
    assert!(screen.contains("1 agent at work may finish. Ctrl-C again"), "{screen}");
    assert!(agents(&project) > 0, "the agent goes on");
    let_go(&project);
    assert_eq!(terminal.wait(), Some(130), "{}", terminal.history());
    assert!(terminal.history().contains("kapelle resume r-1"), "{}", terminal.history());
    assert_eq!(project.integrated("main"), ["1.1"]);
    let resumed = project.kapelle(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(project.integrated("main").len(), 3);
}

#[test]
fn ctrl_c_twice_stops_agents_and_loses_nothing() {
    let project = project(2);
    let mut terminal = project.in_terminal(&["batch", "-n", "2"]);
    wait_for_agents(&project, &terminal, 2);
    terminal.interrupt();
    terminal.wait_for("an answer", |screen| screen.contains("2 agents at work may finish"));
    terminal.interrupt();
    assert_eq!(terminal.wait(), Some(130), "{}", terminal.history());
    assert!(terminal.history().contains("Stopping the agents now"), "{}", terminal.history());
    assert!(living_in(project.around()).is_empty(), "{:?}", living_in(project.around()));
    assert!(project.integrated("main").is_empty());
    let_go(&project);
    let resumed = project.kapelle(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(project.integrated("main").len(), 2);
}

#[test]
fn ctrl_c_in_a_second_terminal_leaves_the_run_alone() {
    let project = project(1);
    let mut first = project.in_terminal(&["run"]);
    wait_for_agents(&project, &first, 1);
    let mut second = project.in_terminal(&["resume"]);
    second.wait_for("the run", |screen| drawn(screen).0.len() == 1);
    second.interrupt();
    second.wait_for("an answer", |screen| screen.contains("r-1 goes on without this terminal"));
    assert_eq!(second.wait(), Some(130), "{}", second.history());
    let_go(&project);
    assert_eq!(first.wait(), Some(0), "{}", first.history());
    assert_eq!(project.integrated("main"), ["1.1"]);
}

#[test]
fn one_can_talk_about_goals_and_stop_and_quit() {
    let project = project(2);
    let mut terminal = project.in_terminal(&["interactive"]);
    let says = |what: &str, words: &str| {
        terminal.wait_for(what, |screen| screen.contains(words));
    };
    let prompted = || {
        terminal.wait_for("the prompt", |screen| {
            screen.lines().rfind(|line| !line.trim().is_empty()).map(str::trim_end)
                == Some("kapelle>")
        });
    };
    prompted();
    terminal.type_in("status\r");
    says("the status", "2 can start now");
    prompted();
    terminal.type_in("do 1.2\r");
    says("a question", "Start this? [y/N]");
    terminal.type_in("y\r");
    says("the run", "r-1 do 1.2: 1 task");
    project.wait_for("the agent", || (agents(&project) > 0).then_some(()));
    // What happens meanwhile is told above the prompt.
    says("an event", "attempt_started");
    prompted();
    terminal.type_in("redirect 1.2 to 1.1 it waits\r");
    says("the refusal", "there is no task 1.1");
    prompted();
    terminal.type_in("stop r-1\r");
    says("the answer", "Told 1 task to stop:");
    says("its end", "task_cancelled");
    prompted();
    // A line that is given up is no command, and Ctrl-C ends nothing.
    terminal.type_in("everything");
    says("what is typed", "kapelle> everything");
    terminal.interrupt();
    prompted();
    terminal.type_in("quit\r");
    assert_eq!(terminal.wait(), Some(0), "{}", terminal.history());
    assert!(living_in(project.around()).is_empty(), "{:?}", living_in(project.around()));
    let runs = project.json(&["runs", "--json"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!(runs["runs"][0]["state"], "cancelled", "{runs}");
    assert!(project.read(".kapelle/history").contains("do 1.2"));
}
