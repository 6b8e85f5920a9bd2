//! Events, one per line.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::output::{Canvas, Tone, of_one_line};
use crate::view::EventView;

/// The time of day of `at`, where the user is: `14:05:07`.
#[must_use]
pub fn clock_time(at: i64) -> String {
    time_in(at, TimeZone::system())
}

fn time_in(at: i64, zone: TimeZone) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(moment) => moment.to_zoned(zone).strftime("%H:%M:%S").to_string(),
        Err(_) => "--:--:--".to_owned(),
    }
}

/// What an event is about: a task, or else a run.
fn subject(event: &EventView) -> Option<&str> {
    event.task.as_deref().or(event.run.as_deref())
}

/// What happened, in one line, without naming again whom it happened to.
#[must_use]
pub fn what(event: &EventView) -> String {
    let named = subject(event).and_then(|subject| event.message.strip_prefix(subject));
    let rest = named.and_then(|rest| rest.strip_prefix(": "));
    of_one_line(rest.unwrap_or(&event.message))
}

/// An event in one line: time, whom it is about, what happened.
#[must_use]
pub fn event_line(canvas: &Canvas, event: &EventView) -> String {
    line(canvas, event, &clock_time(event.at))
}

fn line(canvas: &Canvas, event: &EventView, time: &str) -> String {
    let subject = subject(event).unwrap_or("-");
    let tone = match event.kind.as_str() {
        "task_succeeded" => Tone::Good,
        "task_failed" => Tone::Bad,
        "attempt_suspected" | "retry_scheduled" | "integration_refused" => Tone::Warn,
        _ => Tone::Strong,
    };
    canvas.fit(&format!(
        "{}  {subject:<10}  {:<21}  {}",
        canvas.paint(Tone::Faint, time),
        canvas.paint(tone, &event.kind),
        what(event)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = EventView {
            id: "e.7".to_owned(),
            seq: 7,
            at: 1_772_357_400_000,
            kind: "attempt_started".to_owned(),
            run: Some("r-42".to_owned()),
            task: Some("r-42/1.2".to_owned()),
            message: "r-42/1.2: claude started\non laptop".to_owned(),
            data: serde_json::Value::Null,
        };
        let time = time_in(event.at, TimeZone::UTC);
        insta::assert_snapshot!(line(&Canvas::plain(), &event, &time), @"09:30:00  r-42/1.2    attempt_started        claude started on laptop");
        assert_eq!(time_in(i64::MAX, TimeZone::UTC), "--:--:--");
    }
}
