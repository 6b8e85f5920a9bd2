//! A client that is not ours steers and watches a fleet over NATS, by the document alone.

use std::path::Path;
use std::process::Command;

use kapelle_tests::{NatsServer, Project, python, stream};

use crate::fleet;

/// Listens until it is told something, says that it took it, writes it down, and ends when it may.
const AGENT: &str = r#"
while read -r line; do
  case "$line" in *'"type":"feedback"'*) ;; *) continue ;; esac
  id=${line#*'"id":'}
  printf '{"kapelle":1,"type":"ack","id":%s}\n' "${id%%[,\}]*}"
  while ! test -e "$PLACE/$KAPELLE_STREAM"; do sleep 0.05; done
  mkdir -p out && printf '%s\n' "$line" > "out/$KAPELLE_STREAM"
  exit 0
done
exit 1
"#;

#[test]
fn a_foreign_client_steers_and_watches_a_fleet() {
    let nats = NatsServer::start();
    let agents = format!("{}    protocol: lines\n", fleet::agent(AGENT));
    let more = "retry: {backoff_base: 10ms, backoff_max: 50ms}\n\
                nats: {blob_bytes: 64MiB, blobs_bytes: 64MiB}\n";
    let streams: Vec<String> =
        (1..=4).map(|number| stream(&format!("1.{number}"), "Stream", &[])).collect();
    let roadmap = format!("# Roadmap\n\n## Batch 1 (Work)\n\n{}", streams.concat());
    let project = Project::with_files(&[
        ("plans/roadmap.md", &roadmap),
        ("kapelle.yaml", &format!("{agents}{more}")),
    ]);
    let _coordinator = project.start(&["coordinator", "--nats", &nats.url()]);
    fleet::wait_for_coordinator(&project);
    let place = project.around().join("place");
    std::fs::create_dir(&place).expect("a directory");
    let environment = [("PLACE", place.to_str().expect("a plain path"))];
    let worker = |name: &str| {
        let words = fleet::settle_worker_with(&project, &nats.url(), name, &agents);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        project.start_with(&words, &environment)
    };
    let _workers = ["box-1", "box-2"].map(worker);

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = Command::new(python())
        .arg(here.join("e2e/foreign_client.py"))
        .arg(nats.url())
        .arg(here.join("../docs/asyncapi.json"))
        .arg(&place)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("python starts");
    project.wait_for("the client to listen", || place.join("watching").exists().then_some(()));
    let batch = project.start(&["batch", "-n", "3"]);
    let client = client.wait_with_output().expect("the client ends");
    let said = String::from_utf8_lossy(&client.stderr);
    assert!(client.status.success(), "{said}");

    let finished = batch.wait();
    assert_eq!(finished.code, Some(10), "one was stopped: {finished:?}");
    let mut integrated = project.integrated("main");
    integrated.sort();
    assert_eq!(integrated, ["1.2", "1.3", "1.4"]);
    let told = project.git(&["show", "main:out/1.2"]);
    assert!(told.contains("Focus on edge cases"), "{told}");
}
