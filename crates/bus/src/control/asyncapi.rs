//! The description of the public subjects, as an AsyncAPI 3.0 document in JSON.
//!
//! Subjects and bodies come from the code that reads them; `docs/asyncapi.json` is what this
//! prints, and a test compares the two.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{EventNotice, Receipt, Status, body};
use crate::subject::{AgentName, ControlVerb, Subjects};

/// Stands for an agent's name while a subject is made.
const SOME_AGENT: &str = "SOME-AGENT";

/// A verb with what its document says.
struct Described {
    verb: ControlVerb,
    message: &'static str,
    summary: &'static str,
    /// To one agent.
    example: Value,
    /// To several, where that is possible.
    broadcast_example: Option<Value>,
}

fn described() -> Vec<Described> {
    let of = |verb, message, summary, example, broadcast_example| Described {
        verb,
        message,
        summary,
        example,
        broadcast_example,
    };
    vec![
        of(
            ControlVerb::Stop,
            "Stop",
            "End agents; their tasks are cancelled.",
            json!({ "reason": "wrong branch" }),
            Some(json!({ "reason": "the build is broken", "only": { "run": "r-42" } })),
        ),
        of(
            ControlVerb::Feedback,
            "Feedback",
            "Say something to agents, and what they do after it.",
            json!({ "request_id": "f-1", "text": "Focus on edge cases", "action": "continue" }),
            Some(json!({ "text": "The API is frozen now", "only": { "label": "gpu" } })),
        ),
        of(
            ControlVerb::Redirect,
            "Redirect",
            "Take an agent off its work stream and put it on another.",
            json!({ "work_stream": "1.3", "reason": "1.2 waits for a dependency" }),
            None,
        ),
        of(
            ControlVerb::Pause,
            "Pause",
            "Let agents pause.",
            json!({ "reason": "the rate limit is near" }),
            Some(json!({ "only": { "worker": "box-1" } })),
        ),
        of(ControlVerb::Resume, "Resume", "Let paused agents go on.", json!({}), Some(json!({}))),
        of(
            ControlVerb::Ping,
            "Ping",
            "Ask agents for a sign of life.",
            json!({}),
            Some(json!({ "only": { "task": "r-42/1.2" } })),
        ),
    ]
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let subjects = Subjects::default();
    let settings = SchemaSettings::draft07()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut document = Parts::default();
    for described in described() {
        document.request(&subjects, &described, body_of(&mut schemas, described.verb));
    }
    document.reply(schema::<Receipt>(&mut schemas));
    document.published(
        "status",
        &subjects.status(&some_agent()).replace(SOME_AGENT, "{agent}"),
        "How an agent is doing, whenever that changes, and every 30 seconds while it lives.",
        ("Status", schema::<Status>(&mut schemas)),
    );
    document.published(
        "event",
        &format!("{}.event.{{run}}.{{kind}}", subjects.root()),
        "What has happened, once it is committed.",
        ("EventNotice", schema::<EventNotice>(&mut schemas)),
    );
    let definitions = schemas.take_definitions(true);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kapelle",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "localhost:4222",
                "protocol": "nats",
                "description": "The NATS server of the fleet.",
            },
        },
        "channels": document.channels,
        "operations": document.operations,
        "components": { "messages": document.messages, "schemas": definitions },
    })
}

const DESCRIPTION: &str = "Steer and watch the agents of a fleet from any NATS client. \
`orchestrator` is the root of all subjects unless it is configured otherwise. A request names its \
verb and its agent in the subject. Its body is JSON when its header `content-type` says \
`application/json`, and protobuf (package `kapelle.v1`) without that header; receipts come back in \
the same encoding. A request is recorded before it is answered, so an accepted one is not lost. The \
first receipt says accepted or rejected; more follow on the same reply subject until every command \
is settled (`open` is 0), for as long as the coordinator lives. Repeat the request with its \
`request_id` to hear of it again. The reply subject must be an inbox below `_INBOX`; without one the request is carried \
out and nobody is told. A client that gives a request a `request_id` may repeat it: it has the \
effect of one. A status and an event say up to which place in the log they go; who has missed \
something reads it there, `GET /api/v1/events?after=<place>`.";

#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Parts {
    fn request(&mut self, subjects: &Subjects, described: &Described, payload: Value) {
        let Described { verb, message, summary, example, broadcast_example } = described;
        let examples = std::iter::once(example).chain(broadcast_example);
        let examples: Vec<_> = examples.map(|payload| json!({ "payload": payload })).collect();
        self.message(message, summary, payload, Some(examples));
        let one = subjects.agent(&some_agent(), *verb).replace(SOME_AGENT, "{agent}");
        self.asked(&format!("agent.{}", verb.token()), &one, summary, message);
        if broadcast_example.is_some() {
            let all = subjects.broadcast(*verb);
            self.asked(&format!("broadcast.{}", verb.token()), &all, summary, message);
        }
    }

    fn asked(&mut self, name: &str, address: &str, summary: &str, message: &str) {
        self.channel(name, Some(address), summary, message);
        self.operations.insert(
            name.to_owned(),
            json!({
                "action": "receive",
                "channel": { "$ref": format!("#/channels/{name}") },
                "summary": summary,
                "messages": [{ "$ref": format!("#/channels/{name}/messages/{message}") }],
                "reply": {
                    "address": {
                        "location": "$message.header#/replyTo",
                        "description": "The reply subject of the request, an inbox below `_INBOX`.",
                    },
                    "channel": { "$ref": "#/channels/receipt" },
                    "messages": [{ "$ref": "#/channels/receipt/messages/Receipt" }],
                },
            }),
        );
    }

    fn reply(&mut self, payload: Value) {
        let summary = "The answers to a request.";
        self.message("Receipt", summary, payload, None);
        self.channel("receipt", None, summary, "Receipt");
    }

    fn published(
        &mut self,
        name: &str,
        address: &str,
        summary: &str,
        (message, payload): (&str, Value),
    ) {
        self.message(message, summary, payload, None);
        self.channel(name, Some(address), summary, message);
        self.operations.insert(
            name.to_owned(),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{name}") },
                "summary": summary,
                "messages": [{ "$ref": format!("#/channels/{name}/messages/{message}") }],
            }),
        );
    }

    fn channel(&mut self, name: &str, address: Option<&str>, summary: &str, message: &str) {
        let mut channel = json!({
            "address": address,
            "summary": summary,
            "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
        });
        let parameters: Map<_, _> = PARAMETERS
            .iter()
            .filter(|(name, _)| {
                address.is_some_and(|address| address.contains(&format!("{{{name}}}")))
            })
            .map(|(name, meaning)| ((*name).to_owned(), json!({ "description": meaning })))
            .collect();
        if !parameters.is_empty() {
            channel["parameters"] = parameters.into();
        }
        self.channels.insert(name.to_owned(), channel);
    }

    fn message(&mut self, name: &str, summary: &str, payload: Value, examples: Option<Vec<Value>>) {
        let mut message = json!({
            "name": name,
            "summary": summary,
            "contentType": "application/json",
            "payload": payload,
        });
        if let Some(examples) = examples {
            message["examples"] = examples.into();
        }
        self.messages.insert(name.to_owned(), message);
    }
}

/// What may stand in a subject.
const PARAMETERS: &[(&str, &str)] = &[
    ("agent", "The name of an agent, as statuses have it. It may have dots."),
    ("run", "The run, such as `r-42`; `fleet` for what happens to a worker."),
    ("kind", "What kind of event it is."),
];

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn body_of(schemas: &mut SchemaGenerator, verb: ControlVerb) -> Value {
    match verb {
        ControlVerb::Stop => schema::<body::Stop>(schemas),
        ControlVerb::Feedback => schema::<body::Feedback>(schemas),
        ControlVerb::Redirect => schema::<body::Redirect>(schemas),
        ControlVerb::Pause => schema::<body::Pause>(schemas),
        ControlVerb::Resume => schema::<body::Resume>(schemas),
        ControlVerb::Ping => schema::<body::Ping>(schemas),
    }
}

#[expect(clippy::expect_used, reason = "the constant is a sound name, and a test makes it one")]
fn some_agent() -> AgentName {
    AgentName::new(SOME_AGENT).expect("a sound name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Encoding;
    use crate::wire::decode_control;

    #[test]
    fn the_document_in_the_repository_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/asyncapi.json");
        let text = std::fs::read_to_string(path).expect("docs/asyncapi.json can be read");
        let kept: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(kept, document(), "run `cargo xtask codegen` and commit the result");
    }

    #[test]
    fn every_subject_that_is_read_is_described_and_no_other() {
        let subjects = Subjects::default();
        let document = document();
        let channels = document["channels"].as_object().expect("channels");
        let mut addresses: Vec<String> = channels
            .values()
            .filter_map(|channel| channel["address"].as_str())
            .map(str::to_owned)
            .collect();
        let mut expected = vec![
            "orchestrator.status.{agent}".to_owned(),
            "orchestrator.event.{run}.{kind}".to_owned(),
        ];
        for &verb in ControlVerb::ALL {
            expected.push(format!("orchestrator.agent.{{agent}}.{}", verb.token()));
            if verb.is_for_many() {
                expected.push(format!("orchestrator.broadcast.{}", verb.token()));
            }
        }
        addresses.sort();
        expected.sort();
        assert_eq!(addresses, expected);
        for address in addresses.iter().filter(|address| address.contains(".agent.")) {
            let subject = address.replace("{agent}", "coder-1.2-7f3a");
            assert!(subjects.read_agent(&subject).is_some(), "{subject}");
        }
    }

    #[test]
    fn every_example_is_read() {
        for Described { verb, example, broadcast_example, .. } in described() {
            let bytes = example.to_string();
            let one = decode_control(verb, Some(some_agent()), Encoding::Json, bytes.as_bytes());
            assert_eq!(one.map(|one| one.order.verb()), Ok(verb), "{bytes}");
            assert_eq!(broadcast_example.is_some(), verb.is_for_many());
            let Some(bytes) = broadcast_example.map(|example| example.to_string()) else {
                continue;
            };
            let all = decode_control(verb, None, Encoding::Json, bytes.as_bytes());
            assert_eq!(all.map(|all| all.order.verb()), Ok(verb), "{bytes}");
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document();
        let mut values = vec![&document];
        let mut seen = 0;
        while let Some(value) = values.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(to)) = object.get("$ref") {
                        let pointer = to.strip_prefix('#').expect("a local reference");
                        assert!(document.pointer(pointer).is_some(), "{to}");
                        seen += 1;
                    }
                    values.extend(object.values());
                }
                Value::Array(array) => values.extend(array),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        assert!(seen > 40, "{seen}");
    }
}
