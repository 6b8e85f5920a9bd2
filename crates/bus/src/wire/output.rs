//! Output of agents.

use kapelle_domain::ids::{Term, Timestamp};
use kapelle_proto::v1;
use kapelle_proto::v1::output_answer::Kind;
use prost::Message as _;

use super::ids::{holder, read_holder};
use super::{Answered, InTerm, Malformed, decode, required, unknown};
use crate::{OutputChunk, OutputLane, OutputLine};

/// How the coordinator answers output.
pub(crate) type OutputReply = Answered<u64>;

pub(crate) fn encode_output(chunk: &OutputChunk) -> Vec<u8> {
    let lines = chunk.lines.iter().map(|line| v1::OutputLine {
        at_ms: line.at.0,
        lane: lane(line.lane).into(),
        text: line.text.clone(),
    });
    let message = v1::OutputChunk {
        holder: Some(holder(&chunk.holder)),
        first: chunk.first,
        lines: lines.collect(),
    };
    message.encode_to_vec()
}

pub(crate) fn decode_output(bytes: &[u8]) -> Result<OutputChunk, Malformed> {
    let v1::OutputChunk { holder, first, lines } = decode("OutputChunk", bytes)?;
    let line = |v1::OutputLine { at_ms, lane, text }| {
        Ok(OutputLine { at: Timestamp(at_ms), lane: read_lane(lane)?, text })
    };
    Ok(OutputChunk {
        holder: read_holder(holder)?,
        first,
        lines: lines.into_iter().map(line).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn encode_output_reply(term: Term, reply: OutputReply) -> Vec<u8> {
    let kind = match reply {
        Answered::With(watermark) => Kind::Watermark(watermark),
        Answered::Dropped => Kind::Dropped(v1::Dropped {}),
        Answered::Unreadable(reason) => Kind::Unreadable(v1::Unreadable { reason }),
    };
    v1::OutputAnswer { term: term.0, kind: Some(kind) }.encode_to_vec()
}

pub(crate) fn decode_output_reply(bytes: &[u8]) -> Result<InTerm<u64>, Malformed> {
    let v1::OutputAnswer { term, kind } = decode("OutputAnswer", bytes)?;
    let answered = match required("kind", kind)? {
        Kind::Watermark(watermark) => Answered::With(watermark),
        Kind::Dropped(v1::Dropped {}) => Answered::Dropped,
        Kind::Unreadable(v1::Unreadable { reason }) => Answered::Unreadable(reason),
    };
    Ok(InTerm { term: Term(term), answered })
}

fn lane(lane: OutputLane) -> v1::Lane {
    match lane {
        OutputLane::Stdout => v1::Lane::Stdout,
        OutputLane::Stderr => v1::Lane::Stderr,
        OutputLane::Agent => v1::Lane::Agent,
        OutputLane::Worker => v1::Lane::Worker,
    }
}

fn read_lane(value: i32) -> Result<OutputLane, Malformed> {
    Ok(match v1::Lane::try_from(value).map_err(|_| unknown("lane", value))? {
        v1::Lane::Unspecified => return Err(unknown("lane", value)),
        v1::Lane::Stdout => OutputLane::Stdout,
        v1::Lane::Stderr => OutputLane::Stderr,
        v1::Lane::Agent => OutputLane::Agent,
        v1::Lane::Worker => OutputLane::Worker,
    })
}
