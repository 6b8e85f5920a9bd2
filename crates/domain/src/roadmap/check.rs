//! Whether what the work streams say of each other fits together.

use std::collections::BTreeMap;

use super::Relations;
use super::cycle;
use super::dependency::{Reference, Target};
use super::diagnostic::{Collector, Rule};
use super::field::FieldKind;
use super::id::StreamId;
use super::parser::Parsed;
use super::source::{Source, Span};
use super::status::Status;
use super::stream::WorkStream;

/// Dependencies of one stream, batches and ranges resolved. Keeps the whole linear.
const DEPENDENCIES_MAX: usize = 1_000;

/// Resolves what the streams depend on, and adds findings.
pub(super) fn check(parsed: &mut Parsed, source: &Source<'_>) -> Relations {
    check_bytes(source, &mut parsed.diagnostics);
    let mut relations = Relations::default();
    for (position, stream) in parsed.streams.iter().enumerate() {
        let positions = relations.positions.entry(stream.id.clone()).or_default();
        positions.push(position);
        if positions.len() > 1 {
            parsed.diagnostics.add(Rule::DuplicateId, stream.layout.id, || {
                format!("{} is the id of an earlier work stream too; ids must be unique", stream.id)
            });
        }
    }
    if parsed.streams.is_empty() {
        parsed.diagnostics.add(Rule::NoStreams, Span::default(), || {
            "there is no work stream here; one begins with a heading such as `### Phase 1.2: Name`".to_owned()
        });
    }
    let batches = batches_of(&parsed.streams);
    for position in 0..parsed.streams.len() {
        let references = std::mem::take(&mut parsed.references[position]);
        let mut resolver = Resolver {
            streams: &parsed.streams,
            positions: &relations.positions,
            batches: &batches,
            position,
            ids: Vec::new(),
            needs: Vec::new(),
            circular: false,
            findings: &mut parsed.diagnostics,
        };
        resolver.resolve(&references);
        let (ids, needs, circular) = (resolver.ids, resolver.needs, resolver.circular);
        parsed.streams[position].depends_on = ids;
        relations.needs.push(needs);
        relations.circular.push(circular);
    }
    find_cycles(parsed, &mut relations);
    for position in 0..parsed.streams.len() {
        check_marks(parsed, &relations, position);
    }
    relations
}

fn check_bytes(source: &Source<'_>, findings: &mut Collector) {
    for (run, &at) in source.invalid.iter().enumerate() {
        let rule = if run == 0 && at == 0 && source.text().contains('\0') {
            Rule::Utf16
        } else {
            Rule::InvalidUtf8
        };
        findings.add(rule, Span::new(at, at + 1), || match rule {
            Rule::Utf16 => "this file seems to be UTF-16; save it as UTF-8".to_owned(),
            _ => "these bytes are no UTF-8; they are kept as they are".to_owned(),
        });
    }
}

fn batches_of(streams: &[WorkStream]) -> BTreeMap<u32, Vec<usize>> {
    let mut batches: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (position, stream) in streams.iter().enumerate() {
        if let Some(number) = stream.batch.as_ref().and_then(|batch| batch.number) {
            batches.entry(number).or_default().push(position);
        }
    }
    batches
}

/// Resolves the references of one stream.
struct Resolver<'a> {
    streams: &'a [WorkStream],
    positions: &'a BTreeMap<StreamId, Vec<usize>>,
    batches: &'a BTreeMap<u32, Vec<usize>>,
    position: usize,
    ids: Vec<StreamId>,
    needs: Vec<usize>,
    circular: bool,
    findings: &'a mut Collector,
}

impl Resolver<'_> {
    fn resolve(&mut self, references: &[Reference]) {
        for reference in references {
            match &reference.target {
                Target::Stream(id) => self.stream(id, reference),
                Target::Number(id) => self.number(id, reference),
                Target::Batch(number) => self.batch(*number, reference),
                Target::Range(from, to) => self.range(from, to, reference),
            }
        }
    }

    fn stream(&mut self, id: &StreamId, reference: &Reference) {
        let batch = id.as_number().filter(|number| self.batches.contains_key(number));
        match (self.positions.get(id).and_then(|positions| positions.first()), batch) {
            (Some(&position), _) => self.need(position, reference, true),
            (None, Some(number)) => self.batch(number, reference),
            (None, None) => self.unknown(id.clone(), reference),
        }
    }

    fn number(&mut self, id: &StreamId, reference: &Reference) {
        let batch = id.as_number().is_some_and(|number| self.batches.contains_key(&number));
        if batch || self.positions.contains_key(id) {
            self.stream(id, reference);
            return;
        }
        self.findings.add(Rule::FreeTextDependency, reference.span, || {
            format!("there is no work stream or batch {id}; the number is kept as text")
        });
    }

    fn batch(&mut self, number: u32, reference: &Reference) {
        let Some(members) = self.batches.get(&number) else {
            self.findings.add(Rule::UnknownDependency, reference.span, || {
                format!("there is no batch {number}")
            });
            return;
        };
        for &member in members {
            if member == self.position {
                continue;
            }
            self.need(member, reference, false);
        }
    }

    fn range(&mut self, from: &StreamId, to: &StreamId, reference: &Reference) {
        for end in [from, to] {
            if !self.positions.contains_key(end) {
                self.unknown(end.clone(), reference);
            }
        }
        let within = self.positions.range(from.clone()..=to.clone());
        let members: Vec<usize> = within
            .filter(|(id, _)| id.depth() == from.depth())
            .filter_map(|(_, positions)| positions.first().copied())
            .take(DEPENDENCIES_MAX)
            .collect();
        for member in members {
            if member == self.position {
                continue;
            }
            self.need(member, reference, false);
        }
    }

    fn need(&mut self, position: usize, reference: &Reference, by_name: bool) {
        let needed = &self.streams[position];
        if position == self.position {
            self.circular = true;
            self.ids.push(needed.id.clone());
            self.findings.add(Rule::SelfDependency, reference.span, || {
                format!("{} depends on itself", needed.id)
            });
            return;
        }
        if self.needs.contains(&position) {
            return;
        }
        if self.needs.len() >= DEPENDENCIES_MAX {
            self.findings.add(Rule::TooManyDependencies, reference.span, || {
                format!("more than {DEPENDENCIES_MAX} dependencies; the rest is left out")
            });
            return;
        }
        if reference.marked_complete && by_name && needed.status != Status::Complete {
            self.findings.add(Rule::StaleDependencyMark, reference.span, || {
                format!("{} is marked complete here, and isn't", needed.id)
            });
        }
        self.ids.push(needed.id.clone());
        self.needs.push(position);
    }

    fn unknown(&mut self, id: StreamId, reference: &Reference) {
        self.findings.add(Rule::UnknownDependency, reference.span, || {
            format!("there is no work stream {id}")
        });
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }
}

fn find_cycles(parsed: &mut Parsed, relations: &mut Relations) {
    relations.component = cycle::components(&relations.needs);
    for cycle in cycle::circles(&relations.needs, &relations.component) {
        for &position in &cycle.members {
            relations.circular[position] = true;
        }
        let names: Vec<&str> =
            cycle.path.iter().map(|position| parsed.streams[*position].id.as_str()).collect();
        let Some(first) = cycle.path.first().map(|position| &parsed.streams[*position]) else {
            continue;
        };
        let span = first.layout.field(FieldKind::DependsOn).map(|field| field.first_value());
        parsed.diagnostics.add(Rule::DependencyCycle, span.unwrap_or(first.layout.id), || {
            format!("these work streams depend on each other in a circle: {}", names.join(" -> "))
        });
    }
}

/// Marks that the dependencies contradict.
fn check_marks(parsed: &mut Parsed, relations: &Relations, position: usize) {
    let stream = &parsed.streams[position];
    let needs = &relations.needs[position];
    let status_span = || {
        let field = stream.layout.field(FieldKind::Status);
        field.map_or(stream.layout.id, |field| field.first_value())
    };
    let incomplete = needs.iter().find(|need| parsed.streams[**need].status != Status::Complete);
    match (stream.status, incomplete) {
        (Status::Complete, Some(&need)) => {
            let (id, other) = (&stream.id, &parsed.streams[need].id);
            parsed.diagnostics.add(Rule::InconsistentComplete, status_span(), || {
                format!("{id} is complete, but {other}, which it depends on, isn't")
            });
        }
        (Status::Blocked, None)
            if stream.on_hold.is_none()
                && stream.depends_on.len() == needs.len()
                && !relations.circular[position] =>
        {
            parsed.diagnostics.add(Rule::StaleBlockedMark, status_span(), || {
                format!(
                    "{} is marked blocked, but everything that it depends on is complete",
                    stream.id
                )
            });
        }
        (Status::Complete | Status::Blocked, _) | (Status::NotStarted | Status::InProgress, _) => {}
    }
}
