//! Goals against two roadmaps that share no words, so that nothing can be wired to one of them.

mod bounds;
mod commands;
mod orders;
mod streams;
mod traps;

use std::sync::LazyLock;

use super::*;

/// The index of a software roadmap.
fn software() -> &'static GoalIndex {
    static INDEX: LazyLock<GoalIndex> = LazyLock::new(|| GoalIndex::build(&software_subjects()));
    &INDEX
}

/// The index of a roadmap about a garden and a wedding in it.
fn garden() -> &'static GoalIndex {
    static INDEX: LazyLock<GoalIndex> = LazyLock::new(|| GoalIndex::build(&garden_subjects()));
    &INDEX
}

struct Row {
    id: &'static str,
    name: &'static str,
    tag: &'static str,
    batch: &'static str,
    tasks: &'static [&'static str],
    state: &'static str,
}

fn subjects(rows: &[Row]) -> Vec<GoalSubject> {
    rows.iter()
        .map(|row| GoalSubject {
            id: row.id.to_owned(),
            name: row.name.to_owned(),
            tag: (!row.tag.is_empty()).then(|| row.tag.to_owned()),
            batch: (!row.batch.is_empty()).then(|| row.batch.to_owned()),
            tasks: row.tasks.iter().map(|task| (*task).to_owned()).collect(),
            complete: row.state == "complete",
            available: row.state == "available",
            ..GoalSubject::default()
        })
        .collect()
}

fn row(
    id: &'static str,
    name: &'static str,
    labels: (&'static str, &'static str),
    tasks: &'static [&'static str],
    state: &'static str,
) -> Row {
    Row { id, name, tag: labels.0, batch: labels.1, tasks, state }
}

fn software_subjects() -> Vec<GoalSubject> {
    const ONE: &str = "Batch 1 (Groundwork)";
    const TWO: &str = "Batch 2 (Language)";
    const THREE: &str = "Batch 3 (Storefront - Blocked by Batch 2)";
    subjects(&[
        row("1.1", "Repository Layout", ("bootstrap", ONE), &["Choose folders"], "complete"),
        row("1.2", "Configuration Loader", ("", ONE), &["Merge YAML files"], "available"),
        row("1.9", "Telemetry Exporter", ("", ONE), &["Emit histograms"], "available"),
        row("1.10", "Crash Reporter", ("", ONE), &["Upload minidumps"], "available"),
        row(
            "2.1",
            "Query Parser",
            ("", TWO),
            &["Write the grammar", "Recover from errors"],
            "available",
        ),
        row(
            "2.2",
            "Type Registry and Symbol Table",
            ("priority", TWO),
            &["Intern names"],
            "available",
        ),
        row("2.3", "Stop Words Filter", ("", TWO), &["Load word lists"], "available"),
        row(
            "2.4",
            "Next-Gen Optimizer",
            ("", TWO),
            &["Fold constants", "Push predicates down"],
            "waiting",
        ),
        row("3.1", "Status Page", ("", THREE), &["Show uptime"], "available"),
        row("3.2", "Help Center", ("", THREE), &["Full text lookup"], "waiting"),
        row(
            "3.3",
            "Payment Gateway",
            ("", THREE),
            &["Talk to the bank", "Idempotent refunds"],
            "waiting",
        ),
        row("3.4", "Invoice Gateway", ("", THREE), &["Render PDF invoices"], "available"),
        row("3.5", "TaskBoard Widgets", ("", THREE), &["Drag and drop"], "available"),
    ])
}

fn garden_subjects() -> Vec<GoalSubject> {
    const SOIL: &str = "Spring: soil and beds";
    const PARTY: &str = "The wedding";
    subjects(&[
        row(
            "G-1",
            "Compost Heap",
            ("bootstrap", SOIL),
            &["Buy timber", "Turn weekly"],
            "available",
        ),
        row(
            "G-2",
            "Raised Vegetable Beds",
            ("", SOIL),
            &["Saw planks", "Fill with loam"],
            "available",
        ),
        row("G-3", "Drip Irrigation", ("", SOIL), &["Lay hoses", "Fit the timer"], "waiting"),
        row("G-4", "Greenhouse", ("", SOIL), &["Replace broken panes"], "complete"),
        row("W-1", "Guest List", ("", PARTY), &["Collect addresses"], "available"),
        row(
            "W-2",
            "Cake and Catering",
            ("priority", PARTY),
            &["Taste marzipan", "Vegetarian menu"],
            "available",
        ),
        row("W-3", "All-Hands Rehearsal", ("", PARTY), &["Walk down the aisle"], "waiting"),
        row("W-4", "Who Sits Where Chart", ("", PARTY), &["Keep aunts apart"], "waiting"),
        row("W-5", "String Quartet", ("", PARTY), &["Pick the pieces"], "available"),
        row("W-6", "Rest Area", ("", PARTY), &["Borrow hammocks"], "available"),
    ])
}

/// What a goal must be read as; ids are compared as sets.
#[derive(Debug)]
struct Expected {
    text: &'static str,
    action: Action,
    ids: &'static [&'static str],
    confidence: std::ops::RangeInclusive<f64>,
}

const SURE: std::ops::RangeInclusive<f64> = 0.9..=1.0;
const LIKELY: std::ops::RangeInclusive<f64> = 0.5..=1.0;
const ASKING: std::ops::RangeInclusive<f64> = 0.4..=0.89;
const UNSURE: std::ops::RangeInclusive<f64> = 0.0..=0.49;
/// In place of ids: they are not compared.
const WHATEVER: &[&str] = &["*"];

fn goal(
    text: &'static str,
    action: Action,
    ids: &'static [&'static str],
    confidence: std::ops::RangeInclusive<f64>,
) -> Expected {
    Expected { text, action, ids, confidence }
}

/// Compares all rows and reports every one that differs.
fn check(index: &GoalIndex, rows: &[Expected]) {
    let mut wrong = Vec::new();
    for row in rows {
        let read = index.interpret(row.text);
        let mut ids: Vec<&str> = read.matches.iter().map(|found| found.id.as_str()).collect();
        ids.sort_unstable();
        let mut expected = row.ids.to_vec();
        expected.sort_unstable();
        let same_ids = row.ids == WHATEVER || ids == expected;
        if read.action != row.action || !same_ids || !row.confidence.contains(&read.confidence) {
            wrong.push(format!(
                "{:?}: expected {:?} {:?} {:?}\n    read {:?} {:?} {}: {}",
                row.text,
                row.action,
                row.ids,
                row.confidence,
                read.action,
                ids,
                read.confidence,
                read.explanation,
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
