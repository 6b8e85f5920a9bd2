//! Each route, in the course of one small run.

use std::time::Duration;

use axum::Router;
use kapelle_domain::attempt::Outcome;
use serde_json::{Value, json};

use super::{get, over_socket, post};
use crate::tests::Project;

async fn submit(router: &Router) -> Value {
    let answer = post(router, "/api/v1/runs", json!({"select": {"kind": "batch"}})).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    assert_eq!(answer.header("location"), Some("/api/v1/runs/r-1"));
    answer.json()
}

async fn get_json(router: &Router, path: &str) -> Value {
    let answer = get(router, path).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    answer.json()
}

#[tokio::test]
async fn the_project_is_shown_before_anything_runs() {
    let project = Project::start().await;
    let router = over_socket(&project);

    let health = get_json(&router, "/health").await;
    assert_eq!(health["pid"], std::process::id());
    assert_eq!(health["role"], "run");
    assert_eq!(get_json(&router, "/ready").await, json!({"status": "ok"}));

    let status = get_json(&router, "/api/v1/status").await;
    assert_eq!((&status["roadmap"], &status["available"]), (&json!("ROADMAP.md"), &json!(1)));
    let roadmap = get_json(&router, "/api/v1/roadmap").await;
    assert_eq!(roadmap["streams"][1]["id"], "1.2");
    assert_eq!(get_json(&router, "/api/v1/workers").await, json!([]));
    assert_eq!(get_json(&router, "/api/v1/runs").await, json!({"runs": [], "next": null}));

    let goal = post(&router, "/api/v1/goal", json!({"text": "serve the soup"})).await;
    assert_eq!(goal.status, 200);
    assert_eq!(goal.json()["matches"][0]["id"], "1.2");
    let why = get_json(&router, "/api/v1/tasks/1.2/why").await;
    assert_eq!((&why["id"], &why["task"]), (&json!("1.2"), &Value::Null));
}

#[tokio::test]
async fn a_dry_run_starts_nothing_and_a_repeated_request_starts_nothing_twice() {
    let project = Project::start().await;
    let router = over_socket(&project);

    let dry = json!({"select": {"kind": "next"}, "dry_run": true});
    let answer = post(&router, "/api/v1/runs", dry).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (200, None));
    let plan = answer.json();
    assert_eq!((&plan["run"], &plan["tasks"][0]["key"]), (&Value::Null, &json!("1.1")));

    let key = "01933b5e-7f00-7000-8000-000000000001";
    let wet = json!({"select": {"kind": "next"}, "key": key});
    for _ in 0..2 {
        let answer = post(&router, "/api/v1/runs", wet.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (201, Some("/api/v1/runs/r-1"))
        );
    }
    let runs = get_json(&router, "/api/v1/runs?limit=10").await;
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_a_goal_rules_out_is_left_out_of_the_batch() {
    let project = Project::start().await;
    let router = over_socket(&project);
    let goal = post(&router, "/api/v1/goal", json!({"text": "everything except 1.2"})).await.json();
    assert_eq!((&goal["action"], &goal["excluded"]), (&json!("run_batch"), &json!(["1.2"])));
    let ids = |tasks: &Value, field: &str| -> Vec<Value> {
        tasks.as_array().into_iter().flatten().map(|task| task[field].clone()).collect()
    };
    assert_eq!(ids(&goal["matches"], "id"), [json!("1.1")]);

    let batch = |exclude: Value| {
        let select = json!({"kind": "batch", "exclude": exclude});
        post(&router, "/api/v1/runs", json!({"select": select, "dry_run": true}))
    };
    let plan = batch(goal["excluded"].clone()).await.json();
    assert_eq!(ids(&plan["tasks"], "key"), [json!("1.1")]);
    assert_eq!(batch(json!(["9.9"])).await.status, 404);
    assert_eq!(batch(json!(["nothing"])).await.status, 422);
}

#[tokio::test]
async fn a_run_is_seen_from_its_start_to_its_end() {
    let project = Project::start().await;
    let router = over_socket(&project);
    assert_eq!(submit(&router).await["run"]["id"], "r-1");
    assert_eq!(get_json(&router, "/api/v1/runs/r-1").await["tasks"][1]["id"], "r-1/1.2");
    let by_id = get_json(&router, "/api/v1/tasks/r-1%2F1.1").await;
    assert_eq!(by_id["id"], "r-1/1.1");
    assert_eq!(get_json(&router, "/api/v1/tasks/1.1").await["id"], "r-1/1.1");

    let said = post(&router, "/api/v1/tasks/1.1/feedback", json!({"text": "use linen"})).await;
    assert_eq!(said.status, 202, "{:?}", said.body);
    assert_eq!(said.json()["task"], "r-1/1.1");
    let commands = get_json(&router, "/api/v1/tasks/1.1/commands").await;
    assert_eq!(commands[0]["text"], "use linen");

    let holder = project.start_attempt().await;
    let attempts = get_json(&router, "/api/v1/tasks/1.1/attempts").await;
    assert_eq!(
        (&attempts[0]["id"], &attempts[0]["phase"]),
        (&json!("r-1/1.1#1"), &json!("running"))
    );
    assert_eq!(get_json(&router, "/api/v1/workers").await[0]["held"], 1);

    project.fail(holder, Outcome::Unrunnable).await;
    let run = get_json(&router, "/api/v1/runs/@last").await;
    assert_eq!(run["run"]["state"], "failed", "{run}");
    let report = get_json(&router, "/api/v1/runs/r-1/report").await;
    assert_eq!(report["tasks"][0]["attempts"][0]["summary"], "the soup is cold");

    let resumed = post(&router, "/api/v1/runs/r-1/resume", Value::Null).await;
    assert_eq!(
        (resumed.status.as_u16(), &resumed.json()["run"]["state"]),
        (200, &json!("running"))
    );
    let stopped = post(&router, "/api/v1/stop", json!({"id": "r-1", "reason": "enough"})).await;
    assert_eq!(stopped.status, 202);
    assert_eq!(stopped.json()["tasks"][0], "r-1/1.1");
    for (what, body) in
        [("tasks/1.1/feedback", json!({"text": "x"})), ("stop", json!({"id": "1.1"}))]
    {
        let late = post(&router, &format!("/api/v1/{what}"), body).await;
        let problem = late.check_problem(409, "task_ended");
        assert!(problem.detail.contains("r-1/1.1"), "{}", problem.detail);
    }
}

#[tokio::test]
async fn who_waits_for_output_gets_it_when_it_comes() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    let holder = project.start_attempt().await;

    let waiting = get_json(&router, "/api/v1/tasks/r-1%2F1.1%231/logs?wait_ms=20000");
    let speaking = async {
        project.say(&holder, 1, "the cloth is found").await;
    };
    let both = async { tokio::join!(waiting, speaking) };
    let (page, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("a line");
    assert_eq!(page["lines"][0]["text"], "the cloth is found");
    assert_eq!((&page["next"], &page["complete"]), (&json!(1), &json!(false)));
    let page = get_json(&router, "/api/v1/tasks/1.1/logs?after=1&limit=5").await;
    assert_eq!(page["lines"], json!([]));
}

#[tokio::test]
async fn the_end_of_the_process_can_be_asked_for() {
    let project = Project::start().await;
    let answer = post(&over_socket(&project), "/api/v1/shutdown", Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    assert!(project.shutdown.is_cancelled());
}

/// Whoever ends takes nothing that it won't do, and says why what it has isn't started.
#[tokio::test]
async fn a_coordinator_that_drains_takes_no_work_and_says_so() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    assert_eq!(get_json(&router, "/health").await["status"], "ok");
    assert_eq!(get_json(&router, "/api/v1/status").await["draining"], false);
    project.shutdown.cancel();
    let events = get_json(&router, "/api/v1/events").await;
    let wanted = json!({"select": {"kind": "streams", "ids": ["1.1"]}});
    post(&router, "/api/v1/runs", wanted).await.check_problem(409, "claimed");
    let refused = post(&router, "/api/v1/runs/r-1/resume", Value::Null).await;
    refused.check_problem(503, "draining");
    assert_eq!(get_json(&router, "/api/v1/events").await, events, "nothing was recorded");
    assert_eq!(get_json(&router, "/health").await["status"], "draining");
    assert_eq!(get_json(&router, "/api/v1/status").await["draining"], true);
    let why = get_json(&router, "/api/v1/tasks/1.1/why").await;
    assert_eq!(why["answer"], "ready: the coordinator is draining: nothing new is started");
    assert_eq!(why["hints"], json!(["kapelle resume r-1, when it has ended"]));
}

/// The same for what is new to it.
#[tokio::test]
async fn a_coordinator_that_drains_starts_no_run() {
    let project = Project::start().await;
    let router = over_socket(&project);
    project.shutdown.cancel();
    let wanted = json!({"select": {"kind": "next"}});
    post(&router, "/api/v1/runs", wanted).await.check_problem(503, "draining");
    assert_eq!(get_json(&router, "/api/v1/events").await["events"], json!([]));
}

#[tokio::test]
async fn everything_stops_but_what_is_spared() {
    let project = Project::start().await;
    let router = over_socket(&project);
    submit(&router).await;
    // 1.2 waits for 1.1: it would be lost without it.
    let but = |id: &str| post(&router, "/api/v1/stop", json!({"except": [id]}));
    but("1.2").await.check_problem(409, "nothing_matches");
    let stopped = but("1.1").await;
    assert_eq!((stopped.status.as_u16(), stopped.json()), (202, json!({"tasks": ["r-1/1.2"]})));
    let tasks = get_json(&router, "/api/v1/runs/r-1").await["tasks"].clone();
    assert_eq!((&tasks[0]["state"], &tasks[1]["state"]), (&json!("ready"), &json!("cancelled")));
    but("r-1/7.7").await.check_problem(404, "unknown_task");
}
