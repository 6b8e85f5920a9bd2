//! The roadmap: a Markdown file that says which work streams there are and how far they have come.
//!
//! Real roadmaps are long, untidy and edited by hand. [`Roadmap::parse`] therefore reads anything
//! in one pass over the bytes and never fails: what cannot be read is a [`Diagnostic`] with its
//! place, and is read in the way that starts too little rather than too much. [`Roadmap::edit`]
//! changes the span of one value and leaves every other byte as it was.
//!
//! This module does no IO, schedules nothing and knows nothing of runs: which work streams *may*
//! start is computed here ([`Roadmap::availability`]), which of them *do* is the engine's business.

mod availability;
mod block;
mod check;
mod cycle;
mod dependency;
mod diagnostic;
mod edit;
mod field;
mod graph;
mod heading;
mod id;
mod inline;
mod parser;
mod source;
mod status;
mod stream;
mod task;
mod value;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

pub use availability::{Availability, WhyNot, urgency};
pub use diagnostic::{Diagnostic, Severity};
pub use edit::{Edit, EditError};
pub use graph::{Graph, Need, Node};
pub use id::{MalformedStreamId, StreamId};
pub use status::Status;
pub use stream::{BatchRef, Effort, OtherField, TaskItem, WorkStream};
pub use view::{RoadmapView, StreamView, TaskView};

/// A parsed roadmap, with the bytes it was parsed from.
#[derive(Debug, Clone)]
pub struct Roadmap {
    /// The work streams in the order of the file. Ids may repeat; that is an error diagnostic.
    pub streams: Vec<WorkStream>,
    /// Everything that could not be read or does not fit together, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Tasks that are listed outside every work stream, as in a backlog section.
    pub backlog: Vec<TaskItem>,
    source: Arc<[u8]>,
    relations: Relations,
}

/// What the work streams' dependencies amount to, by position in [`Roadmap::streams`].
#[derive(Debug, Clone, Default)]
struct Relations {
    /// Every position that carries an id, the first one first.
    positions: HashMap<StreamId, Vec<usize>>,
    /// Positions that each stream depends on; unknown ids and itself left out.
    needs: Vec<Vec<usize>>,
    /// Whether every stream with this one's id is complete.
    complete: Vec<bool>,
    /// Streams with the same number depend on each other in a circle.
    component: Vec<usize>,
    /// Whether a stream is part of such a circle, or depends on itself.
    circular: Vec<bool>,
}

impl Roadmap {
    /// Reads a roadmap. Never fails, and takes time in proportion to the number of bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let source = source::Source::read(bytes);
        let mut parsed = parser::Parser::run(&source);
        let relations = check::check(&mut parsed, &source);
        Self {
            streams: parsed.streams,
            diagnostics: parsed.diagnostics.finish(source.text()),
            backlog: parsed.backlog,
            source: bytes.into(),
            relations,
        }
    }

    /// The bytes that were parsed.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The first work stream with this id.
    pub fn stream(&self, id: &StreamId) -> Option<&WorkStream> {
        let position = self.relations.positions.get(id)?.first()?;
        self.streams.get(*position)
    }

    /// The Markdown of a work stream, from its heading to the end of its section; bytes that are
    /// no UTF-8 are replaced. This is what an agent is told of it.
    pub fn section(&self, stream: &WorkStream) -> String {
        let section = stream.layout.section;
        let bytes = self.source.get(section.start..section.end).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim_end().to_owned()
    }

    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// How many work streams have `status`.
    pub fn count(&self, status: Status) -> usize {
        self.streams.iter().filter(|stream| stream.status == status).count()
    }

    /// The roadmap as commands and the API show it.
    pub fn view(&self) -> RoadmapView<'_> {
        RoadmapView::new(self)
    }

    /// The dependency graph.
    pub fn graph(&self) -> Graph {
        Graph::new(self)
    }
}

#[cfg(test)]
mod tests;
