//! What the fields of a work stream say, once all of its lines are read.

use super::dependency::{self, Oddity, Reference};
use super::diagnostic::{Collector, Rule, quote};
use super::field::{self, FieldKind};
use super::heading::strip_emphasis;
use super::id::StreamId;
use super::source::{Source, Span};
use super::status::{self, Status};
use super::stream::{Effort, FieldRecord, OtherField, WorkStream};

/// Fills in what the fields say, but for the dependencies.
pub(super) fn fill(stream: &mut WorkStream, source: &Source<'_>, findings: &mut Collector) {
    fill_status(stream, source, findings);
    let text = |stream: &WorkStream, kind| {
        let record = stream.layout.field(kind)?;
        Some(joined(record, source)).filter(|text| !text.is_empty())
    };
    let single = |stream: &WorkStream, kind| {
        let value = text(stream, kind)?;
        (!field::is_nothing(&value)).then(|| strip_emphasis(&value).to_owned())
    };
    stream.assigned_to = single(stream, FieldKind::AssignedTo);
    stream.completed = single(stream, FieldKind::Completed);
    stream.completed_by = single(stream, FieldKind::CompletedBy);
    stream.done_when = text(stream, FieldKind::DoneWhen);
    stream.quality_gates = text(stream, FieldKind::QualityGates);
    stream.design_notes =
        all(stream, FieldKind::DesignNotes, |record| block(stream, record, source));
    stream.depends_text = all(stream, FieldKind::DependsOn, |record| joined(record, source));
    if let Some(written) = single(stream, FieldKind::Effort) {
        stream.effort = Effort::read(&written);
        if stream.effort.is_none() {
            let span = stream.layout.field(FieldKind::Effort).map(FieldRecord::first_value);
            findings.add(Rule::UnknownEffort, span.unwrap_or_default(), || {
                format!("{} is no effort; write XS, S, M, L or XL", quote(&written))
            });
        }
    }
    let others = stream.layout.fields.iter().filter(|record| record.kind == FieldKind::Other);
    stream.fields = others
        .map(|record| OtherField {
            name: source.string(record.name),
            value: block(stream, record, source),
            line: record.line,
        })
        .collect();
    let open = stream.tasks.iter().filter(|task| !task.done).count();
    if stream.status == Status::Complete && open > 0 {
        findings.add(Rule::CompleteWithOpenTasks, stream.layout.id, || {
            let verb = if open == 1 { "is" } else { "are" };
            format!("{} is marked complete, but {open} of its tasks {verb} open", stream.id)
        });
    }
}

fn fill_status(stream: &mut WorkStream, source: &Source<'_>, findings: &mut Collector) {
    let span = stream.layout.field(FieldKind::Status).map(FieldRecord::first_value);
    let written = span.map_or("", |span| source.slice(span));
    let reading = match span {
        Some(span) if !written.trim().is_empty() => status::read(written, span.start),
        Some(_) | None => stream.layout.heading_mark,
    };
    match reading {
        Some(reading) => {
            stream.status = reading.status;
            stream.on_hold = reading.on_hold.then(|| strip_emphasis(written).to_owned());
            if reading.conflict {
                findings.add(
                    Rule::ConflictingStatus,
                    reading.sign.unwrap_or(stream.layout.id),
                    || {
                        let words = reading.status.words();
                        format!("sign and word say different things; the word counts: {words}")
                    },
                );
            }
        }
        None if written.trim().is_empty() => {
            findings.add(Rule::MissingStatus, span.unwrap_or(stream.layout.id), || {
                format!("{} has no status; it counts as not started", stream.id)
            });
        }
        None => {
            stream.status = Status::Blocked;
            stream.on_hold = Some(strip_emphasis(written).to_owned());
            findings.add(Rule::UnknownStatus, span.unwrap_or_default(), || {
                let quoted = quote(written);
                format!(
                    "{quoted} is no status that is known, so {} won't be started; write Complete, \
                     In Progress, Not Started or Blocked",
                    stream.id
                )
            });
        }
    }
}

/// The texts of all fields of a kind, one below the other.
fn all(
    stream: &WorkStream,
    kind: FieldKind,
    text: impl Fn(&FieldRecord) -> String,
) -> Option<String> {
    let records = stream.layout.fields.iter().filter(|record| record.kind == kind);
    let texts: Vec<String> = records.map(text).filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// What the dependencies refer to. `known` tells the ids of work streams.
pub(super) fn references(
    stream: &mut WorkStream,
    source: &Source<'_>,
    known: &dyn Fn(&StreamId) -> bool,
    findings: &mut Collector,
) -> Vec<Reference> {
    let mut found = Vec::new();
    let records = stream.layout.fields.iter().filter(|record| record.kind == FieldKind::DependsOn);
    let pieces = records.flat_map(|record| &record.pieces).filter(|piece| !piece.is_empty());
    for piece in pieces {
        let reading = dependency::read(source.slice(*piece), piece.start, known);
        for (oddity, span) in reading.oddities {
            report_oddity(oddity, span, source, findings);
        }
        for span in reading.malformed {
            findings.add(Rule::MalformedId, span, || {
                let quoted = quote(source.slice(span));
                format!(
                    "{quoted} can't be a work stream's id, so {} won't be started; write numbers \
                     joined by dots, such as `1.2`",
                    stream.id
                )
            });
            hold(&mut stream.on_hold, source, span);
        }
        for span in reading.unread {
            // Nobody but the author can tell whether what isn't a work stream still blocks.
            let holds = stream.status == Status::Blocked;
            findings.add(Rule::FreeTextDependency, span, || {
                let quoted = quote(source.slice(span));
                let effect = if holds { "holds it up" } else { "holds nothing up" };
                format!("{quoted} names no work stream; it is kept as text and {effect}")
            });
            if holds {
                hold(&mut stream.on_hold, source, span);
            }
        }
        found.extend(reading.references);
    }
    found
}

/// Says how an id that stands in an odd place was read.
fn report_oddity(oddity: Oddity, span: Span, source: &Source<'_>, findings: &mut Collector) {
    let rule = match oddity {
        Oddity::RuledOut | Oddity::Doubtful | Oddity::Version => Rule::AmbiguousDependency,
        Oddity::Stray => Rule::FreeTextDependency,
    };
    findings.add(rule, span, || {
        let id = source.slice(span);
        match oddity {
            Oddity::RuledOut => format!(
                "the words before {id} rule it out, so it adds no dependency; take it out, or strike \
                 it out: `~~{id}~~`"
            ),
            Oddity::Doubtful => format!(
                "the words before {id} may rule it out, but it counts as a dependency; strike it \
                 out if it is none: `~~{id}~~`"
            ),
            Oddity::Version => format!(
                "{id} is taken for a version, so it is no dependency; write `Phase {id}` if the \
                 work stream is meant"
            ),
            Oddity::Stray => format!("there is no work stream {id}; the number is kept as text"),
        }
    });
}

fn hold(on_hold: &mut Option<String>, source: &Source<'_>, span: Span) {
    on_hold.get_or_insert_with(|| format!("depends on {}", source.string(span)));
}

/// A field's value with the lines below it as they stand, but for their common indentation. Tasks
/// are left out: they are the stream's, and change while the text doesn't.
fn block(stream: &WorkStream, record: &FieldRecord, source: &Source<'_>) -> String {
    let tasks = &stream.layout.task_lines;
    let first = tasks.partition_point(|lines| lines.start < record.line_end);
    let within = tasks[first..].iter().take_while(|lines| lines.end <= record.block_end);
    let mut body = String::new();
    let mut from = record.line_end;
    for lines in within {
        body.push_str(&source.string(Span::new(from, lines.start)));
        from = lines.end;
    }
    body.push_str(&source.string(Span::new(from, record.block_end)));
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    // The first line end is that of the name's own line.
    let body = body.strip_prefix('\n').unwrap_or(&body);
    let margin = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let lines = || body.lines().map(str::trim_end);
    let common = lines().filter(|line| !line.is_empty()).map(margin).min().unwrap_or(0);
    let mut text = source.string(record.value);
    for line in lines().map(|line| line.get(common..).unwrap_or("")) {
        text.push('\n');
        text.push_str(line);
    }
    text.trim_matches(['\n', '\r']).trim_end().to_owned()
}

/// All parts of a field's value, one a line.
fn joined(record: &FieldRecord, source: &Source<'_>) -> String {
    let pieces: Vec<String> = record
        .pieces
        .iter()
        .filter(|piece: &&Span| !piece.is_empty())
        .map(|piece| source.string(*piece))
        .collect();
    pieces.join("\n").trim().to_owned()
}
