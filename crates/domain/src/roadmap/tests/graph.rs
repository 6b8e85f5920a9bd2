//! The graph's critical path, and what its drawings say.

use pretty_assertions::assert_eq;

use super::{CIRCLE, ORCHARD};
use crate::roadmap::{Graph, Roadmap};

#[track_caller]
fn check_path(text: &str, expected: &[&str], points: u64) {
    let graph = Roadmap::parse(text.as_bytes()).graph();
    let path: Vec<&str> = graph.critical_path().into_iter().map(|id| id.as_str()).collect();
    assert_eq!((path.as_slice(), graph.critical_points()), (expected, points), "{text}");
}

/// Counts tags, so that what is opened is known to be closed.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (inside, _) = tag.split_once('>').unwrap();
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !inside.ends_with('/') {
            open.push(inside.split(' ').next().unwrap());
        }
    }
    assert_eq!(open, [""; 0]);
    assert!(!svg.contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn the_critical_path_is_the_heaviest_chain_that_is_left() {
    let fork = "# 1.1: a\n- Effort: S\n# 1.2: b\n- Effort: XL\n- Depends On: 1.1\n\
                # 1.3: c\n- Effort: L\n- Depends On: 1.1\n# 1.4: d\n- Depends On: 1.3\n";
    check_path(fork, &["1.1", "1.2"], 18);
    // No effort counts as M.
    check_path(&fork.replace("XL", "L"), &["1.1", "1.3", "1.4"], 14);
    // What is complete counts nothing.
    check_path(
        &fork.replace("- Effort: XL", "- Effort: XL\n- Status: Done"),
        &["1.1", "1.3", "1.4"],
        14,
    );
    check_path("# 1.1: a\n- Status: Done\n", &[], 0);
    check_path("", &[], 0);
    // A circle has no first; its members count one by one.
    check_path("# 1.1: a\n- Depends On: 1.2\n# 1.2: b\n- Depends On: 1.1\n", &["1.1"], 4);
}

#[test]
fn the_text_says_status_dependencies_and_path() {
    insta::assert_snapshot!(Roadmap::parse(ORCHARD).graph().to_text(), @r#"
    6 work streams, 5 dependencies

    Level 1
      ✅ Complete     1.1   Survey the plots (S)
      ⚪ Not Started  2.10  Gauges

    Level 2
      🔄 In Progress  1.2   Dig the trenches (L)  needs 1.1
    * 🔴 Blocked      2.2   Pump house (XL)  needs 1.1

    Level 3
      🔴 Blocked      2.1   Lay the pipes (M)  needs 1.2, 1.1

    Level 4
      ⚪ Not Started  2.9   Valves  needs 2.1

    * Critical path, 16 points: 2.2
    "#);
    insta::assert_snapshot!(Roadmap::parse(CIRCLE).graph().to_text(), @r#"
    4 work streams, 4 dependencies

    Level 1
    * ⚪ Not Started  1.1  Hen  needs 1.2 (in a circle)
      ⚪ Not Started  1.2  Egg  needs 1.1 (in a circle), 4.4 (unknown)
      ⚪ Not Started  1.3  Fox

    Level 2
      ✅ Complete     1.4  Hedge  needs 1.1

    * Critical path, 4 points: 1.1
    "#);
}

#[test]
fn the_picture_is_one_escaped_document() {
    let text = "# 1.1: <script>alert(\"&\")</script> \u{1b}[31m\u{FFFF}\n- Status: 🔄 In Progress\n\
                # 1.2: b\n- Depends On: 1.1\n- Status: 🔴 Blocked\n# 1.3: c\n- Status: Done\n";
    let svg = Roadmap::parse(text.as_bytes()).graph().to_svg();
    assert_well_formed(&svg);
    assert!(!svg.contains("<script") && !svg.contains("href") && !svg.contains("url(http"));
    for said in ["In Progress", "Blocked", "Complete", "critical path", "prefers-color-scheme"] {
        assert!(svg.contains(said), "{said}");
    }
    for bytes in [ORCHARD, CIRCLE, b""] {
        assert_well_formed(&Roadmap::parse(bytes).graph().to_svg());
    }
}

#[test]
fn a_long_chain_is_drawn() {
    let stream = |at: usize| {
        format!("# Phase {at}.1: s\n- Depends On: Phase {}.1, Phase 1.1\n", at.max(2) - 1)
    };
    let text: String = (1..3_000).map(stream).collect();
    let graph: Graph = Roadmap::parse(text.as_bytes()).graph();
    assert_eq!(graph.nodes().last().map(|node| node.level), Some(2_998));
    assert!(graph.to_text().contains("Level 2999"));
    assert_well_formed(&graph.to_svg());
}
