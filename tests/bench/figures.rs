//! Figures by name: one value for each round, shown as the median and the range.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// One row of the table.
#[derive(Debug)]
struct Figure {
    name: String,
    unit: &'static str,
    rounds: Vec<f64>,
}

/// All rows, in the order in which they were measured first.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

/// Ratios that carry over to other machines: name, numerator, denominator.
const RATIOS: &[(&str, &str, &str)] = &[
    ("tasks per append+fdatasync", "tasks", "append_fsync"),
    ("tasks per process spawn, 2 at once", "tasks", "spawn_2"),
    ("idle start p50 per append+fdatasync p50", "idle_start_p50", "append_fsync_p50"),
    ("idle start p99 per append+fdatasync p99", "idle_start_p99", "append_fsync_p99"),
];

impl Figures {
    /// Adds the value of one more round.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.rounds.push(value),
            None => self.0.push(Figure { name, unit, rounds: vec![value] }),
        }
    }

    /// Adds the ratios of what was measured in the same round.
    pub(crate) fn derive_ratios(&mut self) {
        for (name, over, under) in RATIOS {
            let rounds = |wanted| self.0.iter().find(|figure| figure.name == wanted);
            let (Some(over), Some(under)) = (rounds(*over), rounds(*under)) else { continue };
            let rounds = over.rounds.iter().zip(&under.rounds).map(|(over, under)| over / under);
            let rounds = rounds.collect();
            self.0.push(Figure { name: (*name).to_owned(), unit: "ratio", rounds });
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for figure in &self.0 {
            let (min, median, max) = spread(&figure.rounds);
            let (min, median, max) = (short(min), short(median), short(max));
            // Writing to a string can't fail.
            let _ =
                writeln!(text, "{:<58} {median:>9}  [{min} .. {max}] {}", figure.name, figure.unit);
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let row = |figure: &Figure| {
            let (min, median, max) = spread(&figure.rounds);
            let row = json!({ "unit": figure.unit, "median": median, "min": min, "max": max,
                "rounds": figure.rounds });
            (figure.name.clone(), row)
        };
        Value::Object(self.0.iter().map(row).collect::<Map<_, _>>())
    }
}

/// The smallest, the middle and the largest of some values.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

fn short(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// The value that `percent` of the samples don't exceed (nearest rank), in milliseconds.
pub(crate) fn percentile_ms(samples: &mut [Duration], percent: usize) -> f64 {
    samples.sort_unstable();
    let rank = (samples.len() * percent).div_ceil(100).max(1) - 1;
    samples.get(rank).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1_000.0)
}

/// How many per second.
pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    // No count that is measured here comes near the precision of the type.
    count as f64 / took.as_secs_f64()
}
