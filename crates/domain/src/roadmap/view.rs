//! The roadmap as `roadmap parse` and the API show it. Field names are a promise.

use serde::Serialize;

use super::Roadmap;
use super::diagnostic::Diagnostic;
use super::id::StreamId;
use super::status::Status;
use super::stream::{Effort, TaskItem, WorkStream};

/// A roadmap.
#[derive(Debug, Serialize)]
pub struct RoadmapView<'r> {
    /// Its work streams, in the order of the file.
    pub streams: Vec<StreamView<'r>>,
    /// What was found about it, in the order of the file.
    pub diagnostics: &'r [Diagnostic],
}

/// A work stream.
#[derive(Debug, Serialize)]
pub struct StreamView<'r> {
    /// Its id.
    pub id: &'r StreamId,
    /// Its name.
    pub name: &'r str,
    /// The number of its batch, else the heading above it.
    pub batch: Option<String>,
    /// The word behind the star, in lower case.
    pub tag: Option<&'r str>,
    /// How far it has come.
    pub status: Status,
    /// Who works on it.
    pub assigned_to: Option<&'r str>,
    /// The ids that it depends on.
    pub depends_on: &'r [StreamId],
    /// The dependencies as written.
    pub depends_text: Option<&'r str>,
    /// How much work it is.
    pub effort: Option<Effort>,
    /// When it counts as done.
    pub done_when: Option<&'r str>,
    /// Its tasks.
    pub tasks: Vec<TaskView<'r>>,
    /// The line of its heading, from 1.
    pub line: u32,
}

/// A task of a work stream.
#[derive(Debug, Serialize)]
pub struct TaskView<'r> {
    /// What is to be done.
    pub text: &'r str,
    /// Whether it is done.
    pub done: bool,
    /// How deep it is nested, from 0.
    pub depth: u32,
}

impl<'r> RoadmapView<'r> {
    pub(super) fn new(roadmap: &'r Roadmap) -> Self {
        let streams = roadmap.streams.iter().map(StreamView::new).collect();
        Self { streams, diagnostics: &roadmap.diagnostics }
    }
}

impl<'r> StreamView<'r> {
    fn new(stream: &'r WorkStream) -> Self {
        Self {
            id: &stream.id,
            name: &stream.name,
            batch: stream.batch.as_ref().map(super::BatchRef::label),
            tag: stream.tag.as_deref(),
            status: stream.status,
            assigned_to: stream.assigned_to.as_deref(),
            depends_on: &stream.depends_on,
            depends_text: stream.depends_text.as_deref(),
            effort: stream.effort,
            done_when: stream.done_when.as_deref(),
            tasks: stream.tasks.iter().map(TaskView::new).collect(),
            line: stream.line,
        }
    }
}

impl<'r> TaskView<'r> {
    fn new(task: &'r TaskItem) -> Self {
        Self { text: &task.text, done: task.done, depth: task.depth }
    }
}
