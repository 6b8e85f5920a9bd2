//! An agent's line as it stands in JSON: one flat list of types, without the distinction between
//! what the worker acts upon and what it passes on.

use kapelle_domain::attempt::Usage;
use serde::{Deserialize, Serialize};

use super::{Activity, AgentLine, Change, EndOutcome, FailureKind, PlanEntry};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    Message {
        text: String,
    },
    Thought {
        text: String,
    },
    ToolCall {
        tool: String,
        #[serde(default)]
        text: String,
    },
    FileChange {
        path: String,
        change: Change,
    },
    Plan {
        entries: Vec<PlanEntry>,
    },
    Usage {
        input_tokens: u64,
        output_tokens: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_microusd: Option<u64>,
    },
    Question {
        id: u64,
        text: String,
    },
    End {
        outcome: EndOutcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<FailureKind>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Ack {
        id: u64,
    },
}

impl From<Line> for AgentLine {
    fn from(line: Line) -> Self {
        Self::Other(match line {
            Line::Message { text } => return Self::Message { text },
            Line::Usage { input_tokens, output_tokens, cost_microusd } => {
                return Self::Usage(Usage { input_tokens, output_tokens, cost_microusd });
            }
            Line::Ack { id } => return Self::Ack { id },
            Line::Thought { text } => Activity::Thought { text },
            Line::ToolCall { tool, text } => Activity::ToolCall { tool, text },
            Line::FileChange { path, change } => Activity::FileChange { path, change },
            Line::Plan { entries } => Activity::Plan { entries },
            Line::Question { id, text } => Activity::Question { id, text },
            Line::End { outcome, kind, text } => Activity::End { outcome, kind, text },
        })
    }
}

impl From<AgentLine> for Line {
    fn from(line: AgentLine) -> Self {
        match line {
            AgentLine::Message { text } => Self::Message { text },
            AgentLine::Usage(Usage { input_tokens, output_tokens, cost_microusd }) => {
                Self::Usage { input_tokens, output_tokens, cost_microusd }
            }
            AgentLine::Ack { id } => Self::Ack { id },
            AgentLine::Other(activity) => match activity {
                Activity::Thought { text } => Self::Thought { text },
                Activity::ToolCall { tool, text } => Self::ToolCall { tool, text },
                Activity::FileChange { path, change } => Self::FileChange { path, change },
                Activity::Plan { entries } => Self::Plan { entries },
                Activity::Question { id, text } => Self::Question { id, text },
                Activity::End { outcome, kind, text } => Self::End { outcome, kind, text },
            },
        }
    }
}
