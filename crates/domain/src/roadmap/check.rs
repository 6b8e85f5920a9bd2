//! Whether what the work streams say of each other fits together.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::Relations;
use super::cycle;
use super::dependency::{End, Reference, Target};
use super::diagnostic::{Collector, Rule};
use super::field::FieldKind;
use super::id::StreamId;
use super::parser::Parsed;
use super::source::{Source, Span};
use super::status::Status;
use super::stream::WorkStream;
use super::value;

/// Dependencies that batches and ranges may stand for, in the whole file. A few bytes can name every
/// stream, so without a limit a small file could have more dependencies than fit into memory.
const EXPANSIONS_MAX: usize = 250_000;

/// Ids that a message names of a circle.
const CYCLE_IDS_MAX: usize = 12;

/// Work streams among which a similar id is looked for.
const SUGGESTION_STREAMS_MAX: usize = 2_000;

/// Resolves what the streams depend on, and adds findings.
pub(super) fn check(parsed: &mut Parsed, source: &Source<'_>) -> Relations {
    check_bytes(source, &mut parsed.diagnostics);
    let mut relations = Relations::default();
    for (position, stream) in parsed.streams.iter().enumerate() {
        let positions = relations.positions.entry(stream.id.clone()).or_default();
        positions.push(position);
        if positions.len() > 1 {
            parsed.diagnostics.add(Rule::DuplicateId, stream.layout.id, || {
                let (id, line) = (&stream.id, parsed.streams[positions[0]].line);
                format!("{id} is the id of the work stream in line {line} too; give each its own")
            });
        }
    }
    if parsed.streams.is_empty() {
        parsed.diagnostics.add(Rule::NoStreams, Span::default(), || {
            "there is no work stream here; one begins with a heading such as `### Phase 1.2: Name`".to_owned()
        });
    }
    let known = |id: &StreamId| relations.positions.contains_key(id);
    let references: Vec<Vec<Reference>> = parsed
        .streams
        .iter_mut()
        .map(|stream| value::references(stream, source, &known, &mut parsed.diagnostics))
        .collect();
    let batches = batches_of(&parsed.streams);
    let mut resolver = Resolver {
        streams: &parsed.streams,
        positions: &relations.positions,
        sorted: OnceCell::new(),
        singles: OnceCell::new(),
        batches: &batches,
        findings: &mut parsed.diagnostics,
        expansions_left: EXPANSIONS_MAX,
        needed_by: vec![None; parsed.streams.len()],
        position: 0,
        found: Resolved::default(),
    };
    let resolved: Vec<Resolved> = references
        .iter()
        .enumerate()
        .map(|(position, references)| resolver.resolve(position, references))
        .collect();
    let mut places = Vec::with_capacity(parsed.streams.len());
    for (stream, resolved) in parsed.streams.iter_mut().zip(resolved) {
        stream.depends_on = resolved.ids;
        if resolved.incomplete {
            stream.on_hold.get_or_insert_with(|| "depends on too many work streams".to_owned());
        }
        relations.needs.push(resolved.needs);
        places.push(resolved.places);
        relations.circular.push(resolved.circular);
    }
    relations.complete = complete(&parsed.streams, &relations.positions);
    find_cycles(parsed, &mut relations, &places);
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

/// For each stream whether all that have its id are complete.
fn complete(streams: &[WorkStream], positions: &HashMap<StreamId, Vec<usize>>) -> Vec<bool> {
    let mut complete = vec![false; streams.len()];
    for same in positions.values() {
        let all = same.iter().all(|position| streams[*position].status == Status::Complete);
        same.iter().for_each(|position| complete[*position] = all);
    }
    complete
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

/// Resolves references, one stream after the other.
struct Resolver<'a> {
    streams: &'a [WorkStream],
    positions: &'a HashMap<StreamId, Vec<usize>>,
    /// The same in the order of ids, once a range asks for it.
    sorted: OnceCell<Vec<(&'a StreamId, usize)>>,
    /// Those of one part only.
    singles: OnceCell<Vec<(&'a StreamId, usize)>>,
    batches: &'a BTreeMap<u32, Vec<usize>>,
    findings: &'a mut Collector,
    expansions_left: usize,
    /// For each stream the last one that was found to need it.
    needed_by: Vec<Option<usize>>,
    /// The stream that is looked at.
    position: usize,
    found: Resolved,
}

/// What one stream's references amount to.
#[derive(Debug, Default)]
struct Resolved {
    ids: Vec<StreamId>,
    needs: Vec<usize>,
    /// Where each of these is named.
    places: Vec<Span>,
    unknown: HashSet<StreamId>,
    circular: bool,
    /// There were too many.
    incomplete: bool,
}

impl<'a> Resolver<'a> {
    fn resolve(&mut self, position: usize, references: &[Reference]) -> Resolved {
        self.position = position;
        for reference in references {
            match &reference.target {
                Target::Stream(id) => self.stream(id, reference),
                Target::Number(id) => self.number(id, reference),
                Target::Batch(number) => self.batch(*number, reference),
                Target::Range(from, to) => self.range(from, to, reference),
            }
        }
        std::mem::take(&mut self.found)
    }

    fn stream(&mut self, id: &StreamId, reference: &Reference) {
        let batch = id.as_number().filter(|number| self.batches.contains_key(number));
        match (self.positions.get(id).and_then(|positions| positions.first()), batch) {
            (Some(&position), _) => self.need(position, reference),
            (None, Some(number)) => self.batch(number, reference),
            (None, None) => self.unknown(id.clone(), "work stream", reference.span),
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
        match self.batches.get(&number) {
            Some(members) => self.expand(members.iter().copied(), reference),
            None => {
                if let Ok(id) = number.to_string().parse() {
                    self.unknown(id, "batch", reference.span);
                }
            }
        }
    }

    fn range(&mut self, low: &End, high: &End, reference: &Reference) {
        let (from, to) = (&low.id, &high.id);
        let numbers = from.as_number().zip(to.as_number());
        // Made at the first range: most files have none, and sorting many ids takes its time.
        let first = |(id, same): (&'a StreamId, &'a Vec<usize>)| Some((id, *same.first()?));
        let single = numbers.is_some();
        let sorted = if single { &self.singles } else { &self.sorted }.get_or_init(|| {
            let all = self.positions.iter().filter_map(first);
            // "1 - 3" are streams or batches of one number; 1.2 is in 1 if at all.
            let mut sorted: Vec<_> = all.filter(|(id, _)| !single || id.depth() == 1).collect();
            sorted.sort();
            sorted
        });
        let mut members: Vec<usize> = sorted[sorted.partition_point(|(id, _)| *id < from)..]
            .iter()
            .take_while(|(id, _)| *id <= to)
            .map(|(_, position)| *position)
            .take(self.expansions_left + 2)
            .collect();
        let batches = numbers.into_iter().flat_map(|(from, to)| self.batches.range(from..=to));
        let not_a_stream = |(number, _): &(&u32, _)| {
            let id: Option<StreamId> = number.to_string().parse().ok();
            id.is_some_and(|id| !self.positions.contains_key(&id))
        };
        let batches = batches.filter(not_a_stream).flat_map(|(_, streams)| streams);
        members.extend(batches.copied().take(self.expansions_left + 2));
        self.expand(members.into_iter(), reference);
        // An end that isn't there may be a slip of the pen: what was meant would be lost.
        for End { id, span } in [low, high] {
            let batch = id.as_number().is_some_and(|number| self.batches.contains_key(&number));
            if !batch && !self.positions.contains_key(id) {
                self.unknown(id.clone(), "work stream", *span);
            }
        }
    }

    /// Depends on all of them but itself.
    fn expand(&mut self, streams: impl Iterator<Item = usize>, reference: &Reference) {
        let own = self.position;
        for position in streams.filter(|position| *position != own) {
            if self.expansions_left == 0 {
                self.found.incomplete = true;
                let id = &self.streams[own].id;
                self.findings.add(Rule::TooManyDependencies, reference.span, || {
                    format!(
                        "batches and ranges stand for more than {EXPANSIONS_MAX} dependencies in \
                         this file, so {id} won't be started; name single work streams"
                    )
                });
                return;
            }
            self.expansions_left -= 1;
            self.add(position, reference);
        }
    }

    fn need(&mut self, position: usize, reference: &Reference) {
        let needed = &self.streams[position];
        if position == self.position {
            self.found.circular = true;
            self.findings.add(Rule::SelfDependency, reference.span, || {
                format!("{} depends on itself; take this dependency away", needed.id)
            });
        } else if reference.marked_complete && needed.status != Status::Complete {
            self.findings.add(Rule::StaleDependencyMark, reference.span, || {
                format!(
                    "{} is marked complete here, but in line {} it isn't",
                    needed.id, needed.line
                )
            });
        }
        self.add(position, reference);
    }

    fn add(&mut self, position: usize, reference: &Reference) {
        if self.needed_by[position].replace(self.position) == Some(self.position) {
            return;
        }
        self.found.ids.push(self.streams[position].id.clone());
        if position != self.position {
            self.found.needs.push(position);
            self.found.places.push(reference.span);
        }
    }

    fn unknown(&mut self, id: StreamId, kind: &str, span: Span) {
        let similar = || {
            let candidates = Some(self.positions.keys()).filter(|_| kind == "work stream");
            let candidates = candidates.filter(|ids| ids.len() <= SUGGESTION_STREAMS_MAX);
            let similar = candidates?
                .map(|known| {
                    (
                        strsim::osa_distance(
                            &id.as_str().to_lowercase(),
                            &known.as_str().to_lowercase(),
                        ),
                        known,
                    )
                })
                .min()?;
            (similar.0 <= 1).then_some(similar.1)
        };
        self.findings.add(Rule::UnknownDependency, span, || match similar() {
            Some(similar) => {
                format!("there is no {kind} {id} in this file; did you mean {similar}?")
            }
            None => format!("there is no {kind} {id} in this file"),
        });
        if self.found.unknown.insert(id.clone()) {
            self.found.ids.push(id);
        }
    }
}

/// `places` tells where each of the needs is named.
fn find_cycles(parsed: &mut Parsed, relations: &mut Relations, places: &[Vec<Span>]) {
    relations.component = cycle::components(&relations.needs);
    for cycle in cycle::circles(&relations.needs, &relations.component) {
        for &position in &cycle.members {
            relations.circular[position] = true;
        }
        let mut names: Vec<&str> =
            cycle.path.iter().map(|position| parsed.streams[*position].id.as_str()).collect();
        if names.len() > CYCLE_IDS_MAX {
            names.splice(CYCLE_IDS_MAX / 2..names.len() - CYCLE_IDS_MAX / 2, ["…"]);
        }
        let [first, second, ..] = cycle.path[..] else { continue };
        let needs = &relations.needs[first];
        let place = needs.iter().position(|need| *need == second);
        let span = place.and_then(|index| places[first].get(index).copied());
        let span = span.unwrap_or(parsed.streams[first].layout.id);
        parsed.diagnostics.add(Rule::DependencyCycle, span, || {
            let names = names.join(" → ");
            format!("{names} depend on each other in a circle; take one of these dependencies away")
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
    let incomplete = needs.iter().find(|need| !relations.complete[**need]);
    match (stream.status, incomplete) {
        (Status::Complete, Some(&need)) => {
            let (id, other) = (&stream.id, &parsed.streams[need].id);
            parsed.diagnostics.add(Rule::InconsistentComplete, status_span(), || {
                format!("{id} is marked complete, but {other}, which it depends on, isn't")
            });
        }
        (Status::Blocked, None)
            if stream.on_hold.is_none()
                && stream.depends_on.len() == needs.len()
                && !relations.circular[position] =>
        {
            parsed.diagnostics.add(Rule::StaleBlockedMark, status_span(), || {
                format!(
                    "{} is marked blocked, but everything it depends on is complete: it can start",
                    stream.id
                )
            });
        }
        (Status::Complete | Status::Blocked, _) | (Status::NotStarted | Status::InProgress, _) => {}
    }
}
