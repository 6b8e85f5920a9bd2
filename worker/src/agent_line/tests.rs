use super::*;

#[test]
fn lines_survive_the_way_there_and_back() {
    let text = || "line 1\nline \"2\" ⭐".to_owned();
    let end = |outcome, kind, text| AgentLine::Other(Activity::End { outcome, kind, text });
    let usage = Usage { input_tokens: 3, output_tokens: 4, cost_microusd: Some(5) };
    for line in [
        AgentLine::Message { text: text() },
        AgentLine::Usage(usage),
        AgentLine::Ack { id: u64::MAX },
        AgentLine::Other(Activity::Thought { text: text() }),
        AgentLine::Other(Activity::ToolCall { tool: "run".to_owned(), text: text() }),
        AgentLine::Other(Activity::FileChange { path: "a b".to_owned(), change: Change::Created }),
        AgentLine::Other(Activity::Plan { entries: vec![PlanEntry { text: text(), done: true }] }),
        AgentLine::Other(Activity::Question { id: 1, text: text() }),
        end(EndOutcome::Failed, Some(FailureKind::RateLimited), Some(text())),
        end(EndOutcome::Completed, None, None),
    ] {
        let written = line.to_line();
        assert!(!written.contains('\n'));
        assert_eq!(AgentLine::parse(&written).unwrap(), Some(line));
    }
    for line in [
        WorkerLine::Prompt { id: PROMPT_ID, text: "x".repeat(2 * LINE_BYTES_MAX) },
        WorkerLine::Feedback { id: 1, text: text() },
        WorkerLine::Answer { id: 2, question: 1, text: text() },
        WorkerLine::Redirect { id: 3, text: text() },
        WorkerLine::Interrupt { id: 4 },
    ] {
        assert_eq!(WorkerLine::parse(&line.to_line()).unwrap(), Some(line));
    }
}

#[test]
fn the_form_is_the_documented_one() {
    let check = |line: &str, expected: AgentLine| {
        assert_eq!(AgentLine::parse(line).unwrap(), Some(expected), "{line}");
    };
    let message = AgentLine::Message { text: "hi".to_owned() };
    check(r#"{"kapelle":1,"type":"message","text":"hi"}"#, message);
    let later = r#"  {"type":"ack", "id":7, "kapelle":1, "later":{"more":[1]}}  "#;
    check(later, AgentLine::Ack { id: 7 });
    let usage = Usage { input_tokens: 1, output_tokens: 2, cost_microusd: None };
    let line = r#"{"kapelle":1,"type":"usage","input_tokens":1,"output_tokens":2}"#;
    check(line, AgentLine::Usage(usage));
    assert_eq!(feedback(7, "hi"), r#"{"kapelle":1,"type":"feedback","id":7,"text":"hi"}"#);
}

#[test]
fn what_is_no_agent_line_is_plain_output() {
    for line in [
        "",
        "hello",
        "{",
        "{}",
        "[1]",
        r#"{"type":"message"}"#,
        r#"{"nested":{"kapelle":1}}"#,
        r#"{"say":"\"kapelle\""#,
    ] {
        assert_eq!(AgentLine::parse(line).unwrap(), None, "{line}");
    }
}

#[test]
fn what_only_calls_itself_an_agent_line_is_an_error() {
    let check = |line: &str, expected: &str| {
        assert_eq!(AgentLine::parse(line).unwrap_err().to_string(), expected, "{line}");
    };
    let malformed = "not an agent line of version 1";
    check(r#"{"kapelle":1,"type":"dance"}"#, malformed);
    check(r#"{"kapelle":1,"type":"message"}"#, malformed);
    check(r#"{"kapelle":1,"type":"ack","id":-1}"#, malformed);
    check(r#"{"kapelle":1,"type":"mess"#, malformed);
    let other_version = "agent lines of version 2; this worker reads version 1";
    check(r#"{"kapelle":2,"type":"message"}"#, other_version);
    let text = "x".repeat(LINE_BYTES_MAX);
    let long = AgentLine::Message { text }.to_line();
    let expected =
        format!("an agent line of {} bytes; at most {LINE_BYTES_MAX} are read", long.len());
    check(&long, &expected);
}
