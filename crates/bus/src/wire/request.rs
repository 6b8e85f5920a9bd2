//! What workers ask, and what they are offered.

use std::sync::Arc;

use kapelle_domain::command::CommandAnswer;
use kapelle_domain::engine::{Claim, WorkerRequest};
use kapelle_domain::ids::{CommandSeq, OfferSeq, RequestId, SessionEpoch, WorkerId};
use kapelle_domain::placement::Class;
use kapelle_domain::worker::{Program, ProgramState, ProtocolRange, Registration};
use kapelle_proto::v1;
use prost::Message as _;

use super::ids::{attempt, held, holder, read_attempt, read_held, read_holder};
use super::report::{read_report, read_work, report, work};
use super::{Malformed, decode, required, unknown};
use crate::subject::RpcVerb;
use crate::{Offer, Poke};

/// The verb under which a request is sent.
pub(crate) fn verb(request: &WorkerRequest) -> RpcVerb {
    match request {
        WorkerRequest::Register(_) => RpcVerb::Register,
        WorkerRequest::Heartbeat { .. } => RpcVerb::Heartbeat,
        WorkerRequest::Drain { .. } => RpcVerb::Drain,
        WorkerRequest::Leave { .. } => RpcVerb::Leave,
        WorkerRequest::Claim(_) => RpcVerb::Claim,
        WorkerRequest::Started(_) => RpcVerb::Started,
        WorkerRequest::Finished { .. } => RpcVerb::Finished,
        WorkerRequest::Look(_) => RpcVerb::Look,
        WorkerRequest::Answered { .. } => RpcVerb::Answered,
        WorkerRequest::Snapshot { .. } => RpcVerb::Snapshot,
    }
}

pub(crate) fn encode_request(request: &WorkerRequest) -> Vec<u8> {
    match request {
        WorkerRequest::Register(registration) => register(registration).encode_to_vec(),
        WorkerRequest::Heartbeat { worker, session, held: attempts } => v1::HeartbeatRequest {
            worker: worker.0.clone(),
            session: session.0,
            held: held(attempts),
        }
        .encode_to_vec(),
        WorkerRequest::Drain { worker, session } => {
            v1::DrainRequest { worker: worker.0.clone(), session: session.0 }.encode_to_vec()
        }
        WorkerRequest::Leave { worker, session } => {
            v1::LeaveRequest { worker: worker.0.clone(), session: session.0 }.encode_to_vec()
        }
        WorkerRequest::Claim(claim) => v1::ClaimRequest {
            request: claim.request.0,
            attempt: Some(attempt(claim.attempt)),
            offer: claim.offer.0,
            worker: claim.worker.0.clone(),
            session: claim.session.0,
        }
        .encode_to_vec(),
        WorkerRequest::Started(by) => {
            v1::StartedRequest { holder: Some(holder(by)) }.encode_to_vec()
        }
        WorkerRequest::Finished { holder: by, report: of } => {
            v1::FinishedRequest { holder: Some(holder(by)), report: Some(report(of)) }
                .encode_to_vec()
        }
        WorkerRequest::Look(by) => v1::LookRequest { holder: Some(holder(by)) }.encode_to_vec(),
        WorkerRequest::Snapshot { holder: by, work: kept } => {
            v1::SnapshotRequest { holder: Some(holder(by)), work: Some(work(kept)) }.encode_to_vec()
        }
        WorkerRequest::Answered { holder: by, seq, answer } => v1::AnsweredRequest {
            holder: Some(holder(by)),
            command: seq.0,
            answer: Some(command_answer(answer)),
        }
        .encode_to_vec(),
    }
}

/// Reads the request that came under a verb; `None` for one that the bus answers itself.
pub(crate) fn decode_request(
    verb: RpcVerb,
    bytes: &[u8],
) -> Result<Option<WorkerRequest>, Malformed> {
    Ok(Some(match verb {
        RpcVerb::Hello => {
            decode::<v1::HelloRequest>("HelloRequest", bytes)?;
            return Ok(None);
        }
        RpcVerb::Register => WorkerRequest::Register(read_register(bytes)?),
        RpcVerb::Heartbeat => {
            let v1::HeartbeatRequest { worker, session, held } = decode("HeartbeatRequest", bytes)?;
            WorkerRequest::Heartbeat {
                worker: WorkerId(worker),
                session: SessionEpoch(session),
                held: read_held(held)?,
            }
        }
        RpcVerb::Drain => {
            let v1::DrainRequest { worker, session } = decode("DrainRequest", bytes)?;
            WorkerRequest::Drain { worker: WorkerId(worker), session: SessionEpoch(session) }
        }
        RpcVerb::Leave => {
            let v1::LeaveRequest { worker, session } = decode("LeaveRequest", bytes)?;
            WorkerRequest::Leave { worker: WorkerId(worker), session: SessionEpoch(session) }
        }
        RpcVerb::Claim => {
            let v1::ClaimRequest { request, attempt, offer, worker, session } =
                decode("ClaimRequest", bytes)?;
            WorkerRequest::Claim(Claim {
                request: RequestId(request),
                attempt: read_attempt(attempt)?,
                offer: OfferSeq(offer),
                worker: WorkerId(worker),
                session: SessionEpoch(session),
            })
        }
        RpcVerb::Started => {
            let v1::StartedRequest { holder } = decode("StartedRequest", bytes)?;
            WorkerRequest::Started(read_holder(holder)?)
        }
        RpcVerb::Finished => {
            let v1::FinishedRequest { holder, report } = decode("FinishedRequest", bytes)?;
            WorkerRequest::Finished {
                holder: read_holder(holder)?,
                report: Arc::new(read_report(required("report", report)?)?),
            }
        }
        RpcVerb::Look => {
            let v1::LookRequest { holder } = decode("LookRequest", bytes)?;
            WorkerRequest::Look(read_holder(holder)?)
        }
        RpcVerb::Snapshot => {
            let v1::SnapshotRequest { holder, work } = decode("SnapshotRequest", bytes)?;
            WorkerRequest::Snapshot {
                holder: read_holder(holder)?,
                work: read_work(required("work", work)?),
            }
        }
        RpcVerb::Answered => {
            let v1::AnsweredRequest { holder, command, answer } = decode("AnsweredRequest", bytes)?;
            WorkerRequest::Answered {
                holder: read_holder(holder)?,
                seq: CommandSeq(command),
                answer: read_command_answer(required("answer", answer)?),
            }
        }
    }))
}

fn register(registration: &Registration) -> v1::RegisterRequest {
    let Registration {
        worker,
        // One that lives in the coordinator's process doesn't send messages to it.
        embedded: _,
        slots,
        agents,
        labels,
        programs,
        cached,
        build,
        protocol,
        inventory,
    } = registration;
    let program = |program: &Program| v1::Program {
        agent: program.agent.to_string(),
        version: program.version.clone(),
        state: program_state(program.state).into(),
    };
    v1::RegisterRequest {
        worker: worker.0.clone(),
        slots: *slots,
        agents: agents.iter().map(|agent| agent.to_string()).collect(),
        inventory: held(inventory),
        labels: labels.clone().into_iter().collect(),
        programs: programs.iter().map(program).collect(),
        cached: cached.iter().map(|repository| repository.to_string()).collect(),
        build: build.clone(),
        protocol_oldest: protocol.oldest,
        protocol_newest: protocol.newest,
    }
}

fn read_register(bytes: &[u8]) -> Result<Registration, Malformed> {
    let message: v1::RegisterRequest = decode("RegisterRequest", bytes)?;
    let program = |program: v1::Program| {
        let state = read_program_state(program.state)?;
        Ok(Program { agent: program.agent.into(), version: program.version, state })
    };
    Ok(Registration {
        worker: WorkerId(message.worker),
        embedded: false,
        slots: message.slots,
        agents: message.agents.into_iter().map(Arc::from).collect(),
        labels: message.labels.into_iter().collect(),
        programs: message.programs.into_iter().map(program).collect::<Result<_, _>>()?,
        cached: message.cached.into_iter().map(Arc::from).collect(),
        build: message.build,
        protocol: ProtocolRange {
            oldest: message.protocol_oldest,
            newest: message.protocol_newest,
        },
        inventory: read_held(message.inventory)?,
    })
}

fn program_state(state: ProgramState) -> v1::ProgramState {
    match state {
        ProgramState::Installed => v1::ProgramState::Installed,
        ProgramState::LoggedOut => v1::ProgramState::LoggedOut,
        ProgramState::Missing => v1::ProgramState::Missing,
    }
}

fn read_program_state(value: i32) -> Result<ProgramState, Malformed> {
    Ok(match v1::ProgramState::try_from(value).map_err(|_| unknown("state", value))? {
        v1::ProgramState::Unspecified => return Err(unknown("state", value)),
        v1::ProgramState::Installed => ProgramState::Installed,
        v1::ProgramState::LoggedOut => ProgramState::LoggedOut,
        v1::ProgramState::Missing => ProgramState::Missing,
    })
}

fn command_answer(answer: &CommandAnswer) -> v1::answered_request::Answer {
    match answer {
        CommandAnswer::Applied => v1::answered_request::Answer::Applied(v1::Applied {}),
        CommandAnswer::Refused { reason } => {
            v1::answered_request::Answer::Refused(v1::Refused { reason: reason.clone() })
        }
    }
}

fn read_command_answer(answer: v1::answered_request::Answer) -> CommandAnswer {
    match answer {
        v1::answered_request::Answer::Applied(v1::Applied {}) => CommandAnswer::Applied,
        v1::answered_request::Answer::Refused(v1::Refused { reason }) => {
            CommandAnswer::Refused { reason }
        }
    }
}

pub(crate) fn encode_offer(offer: &Offer) -> Vec<u8> {
    v1::Offer { attempt: Some(attempt(offer.attempt)), offer: offer.offer.0 }.encode_to_vec()
}

pub(crate) fn decode_offer(class: Class, bytes: &[u8]) -> Result<Offer, Malformed> {
    let v1::Offer { attempt, offer } = decode("Offer", bytes)?;
    Ok(Offer { attempt: read_attempt(attempt)?, offer: OfferSeq(offer), class })
}

pub(crate) fn encode_poke(poke: Poke) -> Vec<u8> {
    let at = match poke {
        Poke::Attempt(id) => v1::poke::At::Attempt(attempt(id)),
        Poke::Hail => v1::poke::At::Hail(v1::Hail {}),
    };
    v1::Poke { at: Some(at) }.encode_to_vec()
}

pub(crate) fn decode_poke(bytes: &[u8]) -> Result<Poke, Malformed> {
    let poke: v1::Poke = decode("Poke", bytes)?;
    Ok(match required("at", poke.at)? {
        v1::poke::At::Attempt(attempt) => Poke::Attempt(read_attempt(Some(attempt))?),
        v1::poke::At::Hail(v1::Hail {}) => Poke::Hail,
    })
}
