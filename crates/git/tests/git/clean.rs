//! What attributes and configuration make of an agent's files on their way in.

use std::fs;
use std::path::Path;

use kapelle_git::{AgentCommit, Unfiltered};

use crate::fixture::{Fixture, git, write};

/// Contents whose line ends are a question, and names that attributes tell apart.
fn write_all(tree: &Path) {
    let crlf = "a\r\nb\r\nc\r\n";
    for name in ["lf.txt", "crlf.md", "new.txt", "new.md", "raw.bin", "run.sh", "old.bas", "x.bat"]
    {
        write(&tree.join(name), crlf);
    }
    write(&tree.join("sub/new.md"), crlf);
    write(&tree.join("mixed.txt"), "a\r\nb\n\r\r\n");
    write(&tree.join("lone.md"), "a\rb\r\n");
    write(&tree.join("nul.txt"), "a\r\n\0");
    write(&tree.join("odd.md"), "\x01\x02\r\n");
    write(&tree.join("empty.txt"), "");
}

const ATTRIBUTES: &str = "*.txt text\n*.bin -text\n*.sh text eol=lf\n*.bat eol=crlf\n*.bas crlf\n";

#[tokio::test]
async fn line_ends_are_stored_as_git_add_would() {
    let own = "* text=auto\nnew.md -text\n";
    let mut seen = Vec::new();
    for (attributes, agents) in [
        (None, None),
        (Some("* text=auto\n"), None),
        (Some("* text=auto eol=crlf\n"), None),
        (Some(ATTRIBUTES), None),
        (None, Some(own)),
        (Some(ATTRIBUTES), Some(own)),
    ] {
        let fixture = Fixture::with(&[("lf.txt", "a\nb\n"), ("crlf.md", "a\r\n")]).await;
        if let Some(attributes) = attributes {
            write(&fixture.root.join(".gitattributes"), attributes);
            fixture.git(&["add", ".gitattributes"]);
            fixture.git(&["commit", "-q", "-m", "attributes"]);
        }
        let plain = fixture.path("plain.git");
        git(fixture.root.parent().unwrap(), &["clone", "-q", "--bare", "project", "plain.git"]);
        git(&plain, &["config", "core.bare", "false"]);
        for auto in ["false", "true", "input"] {
            fixture.git(&["config", "core.autocrlf", auto]);
            let workspace = fixture.clone_at(auto, &fixture.head()).await;
            write_all(&workspace.tree);
            if let Some(agents) = agents {
                write(&workspace.tree.join(".gitattributes"), agents);
            }
            git(&workspace.tree, &["add", "-A"]);
            git(&workspace.tree, &["commit", "-q", "-m", "mine"]);
            let snapshot = fixture.snapshot(&workspace).await;
            let tree = workspace.tree.to_str().unwrap();
            let by_git = |arguments: &[&str]| {
                let place = ["--git-dir=.", "--work-tree", tree, "-c"];
                let auto = format!("core.autocrlf={auto}");
                git(&plain, &[&place[..], &[auto.as_str()], arguments].concat())
            };
            by_git(&["read-tree", fixture.head().as_str()]);
            by_git(&["add", "-A"]);
            let (expected, story) = (by_git(&["write-tree"]), format!("{attributes:?} {agents:?}"));
            let differ = ["diff-tree", "-r", "--name-only", snapshot.tree.as_str(), &expected];
            if snapshot.tree.as_str() != expected {
                let result = workspace.directory.join("result");
                let alternate = format!("{}\n", result.join("objects").display());
                write(&plain.join("objects/info/alternates"), alternate);
                panic!("{story} autocrlf={auto}: {}", by_git(&differ));
            }
            // The agent's own commit has its own bytes.
            assert_eq!(snapshot.agent_committed, AgentCommit::Clean, "{story}");
            assert_eq!(snapshot.unfiltered, [], "{story}");
            seen.push(expected);
        }
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 6, "the cases differ: {seen:?}");
}

/// The result comes into the user's working copy, which is as clean as before.
#[tokio::test]
async fn line_ends_alone_are_no_change() {
    let fixture = Fixture::with(&[("a.txt", "1\n2\n"), (".gitattributes", "* text\n")]).await;
    let workspace = fixture.workspace().await;
    write(&workspace.tree.join("a.txt"), "1\r\n2\r\n");
    let snapshot = fixture.snapshot(&workspace).await;
    assert!(snapshot.is_empty() && snapshot.changed.is_empty(), "{snapshot:?}");
    assert_eq!(snapshot.tree.as_str(), fixture.tree_of(&fixture.head()));
}

#[tokio::test]
async fn filters_are_named_and_never_run() {
    let attributes = "*.up filter=shout\n*.other filter=unknown\n*.raw -filter\n";
    let fixture =
        Fixture::with(&[(".gitattributes", attributes), ("old.up", "OLD\n"), ("kept.up", "K\n")])
            .await;
    let trace = fixture.path("ran");
    let filter = format!("touch {}; tr a-z A-Z", trace.display());
    for half in ["clean", "smudge"] {
        fixture.git(&["config", &format!("filter.shout.{half}"), &filter]);
    }
    let workspace = fixture.workspace().await;
    let tree = &workspace.tree;
    fs::create_dir(tree.join("sub")).unwrap();
    fs::rename(tree.join("old.up"), tree.join("sub/moved.up")).unwrap();
    for name in ["new.up", "kept.up", "x.other", "x.raw"] {
        write(&tree.join(name), "new\n");
    }
    drop(fs::remove_file(&trace));
    let snapshot = fixture.snapshot(&workspace).await;
    let named = |path: &str| Unfiltered { path: path.into(), filter: "shout".to_owned() };
    assert_eq!(snapshot.unfiltered, [named("kept.up"), named("new.up")]);
    assert!(!trace.exists(), "the filter ran");
}
