//! The dependency graph of a roadmap, and its critical path.
//!
//! Drawn for people: as lines of text and as a picture. What may run is decided elsewhere
//! ([`super::Roadmap::availability`]).

mod layout;
mod svg;
mod text;

use std::cmp::Reverse;

use super::Roadmap;
use super::id::StreamId;
use super::status::Status;
use super::stream::{Effort, WorkStream};

/// The work streams and what they depend on.
///
/// The **critical path** is the chain of work streams that are not complete whose efforts add up to
/// the most: XS 1, S 2, M 4, L 8, XL 16 points, M where none is given. What is complete counts
/// nothing, so that the path is what stands between now and the end.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    /// Positions in `nodes`, from what comes first to what comes last.
    critical: Vec<usize>,
    /// For each node the one before it on the critical path.
    critical_before: Vec<Option<usize>>,
}

/// A work stream in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub status: Status,
    /// How much work it is.
    pub effort: Option<Effort>,
    /// What it depends on.
    pub needs: Vec<Need>,
    /// How many work streams the longest chain before it has.
    pub level: usize,
    /// Whether it is on the critical path.
    pub critical: bool,
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// On another work stream.
    Stream {
        /// Its position in [`Graph::nodes`].
        node: usize,
        /// Both are part of a circle, so that neither comes first.
        circular: bool,
    },
    /// On an id that no work stream has.
    Unknown(StreamId),
}

/// Effort of a work stream that gives none.
const EFFORT_ASSUMED: Effort = Effort::M;

impl Graph {
    pub(super) fn new(roadmap: &Roadmap) -> Self {
        let relations = &roadmap.relations;
        // Of streams with the same id the first one stands for all.
        let mut node_at = vec![None; roadmap.streams.len()];
        let mut positions: Vec<usize> =
            relations.positions.values().filter_map(|same| same.first().copied()).collect();
        positions.sort_by_key(|position| &roadmap.streams[*position].id);
        for (node, &position) in positions.iter().enumerate() {
            node_at[position] = Some(node);
        }
        let nodes = positions
            .iter()
            .map(|&position| {
                let stream = &roadmap.streams[position];
                let known = relations.needs[position].iter().filter_map(|&need| {
                    let circular = relations.component[need] == relations.component[position];
                    node_at[need].map(|node| Need::Stream { node, circular })
                });
                let unknown =
                    stream.depends_on.iter().filter(|id| !relations.positions.contains_key(id));
                let needs = known.chain(unknown.cloned().map(Need::Unknown)).collect();
                Node::new(stream, needs)
            })
            .collect();
        let critical_before = vec![None; positions.len()];
        let mut graph = Self { nodes, critical: Vec::new(), critical_before };
        // Components are numbered so that what is needed comes before what needs it.
        let mut order: Vec<usize> = (0..positions.len()).collect();
        order.sort_by_key(|node| relations.component[positions[*node]]);
        graph.find_levels(&order);
        graph.find_critical_path(&order);
        graph
    }

    /// All work streams, by id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The ids on the critical path, from what comes first to what comes last. Empty when all is
    /// complete.
    pub fn critical_path(&self) -> Vec<&StreamId> {
        self.critical.iter().map(|node| &self.nodes[*node].id).collect()
    }

    /// The effort of the critical path, in points.
    pub fn critical_points(&self) -> u64 {
        self.critical.iter().map(|node| self.nodes[*node].points()).sum()
    }

    /// The graph as lines of text: level by level, with signs, words and the critical path marked.
    pub fn to_text(&self) -> String {
        text::draw(self)
    }

    /// The graph as a picture: one SVG document that needs nothing else.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }

    fn find_levels(&mut self, order: &[usize]) {
        for &node in order {
            let before =
                self.nodes[node].comes_after().map(|need| self.nodes[need].level + 1).max();
            self.nodes[node].level = before.unwrap_or(0);
        }
    }

    fn find_critical_path(&mut self, order: &[usize]) {
        // For each node the points of the heaviest chain up to it, and the node before it.
        let mut chains: Vec<(u64, Option<usize>)> = vec![(0, None); self.nodes.len()];
        for &node in order {
            if self.nodes[node].points() == 0 {
                continue;
            }
            let heaviest = self.nodes[node]
                .comes_after()
                .map(|need| (chains[need].0, Reverse(need)))
                .max()
                .filter(|(points, _)| *points > 0);
            let before = heaviest.map_or(0, |(points, _)| points);
            chains[node] =
                (before + self.nodes[node].points(), heaviest.map(|(_, Reverse(need))| need));
        }
        let last = (0..self.nodes.len()).max_by_key(|node| (chains[*node].0, Reverse(*node)));
        let mut at = last.filter(|node| chains[*node].0 > 0);
        while let Some(node) = at {
            self.nodes[node].critical = true;
            self.critical.push(node);
            self.critical_before[node] = chains[node].1;
            at = chains[node].1;
        }
        self.critical.reverse();
    }

    /// Whether the critical path leads from one node straight to the other.
    fn is_critical_step(&self, from: usize, to: usize) -> bool {
        self.critical_before[to] == Some(from)
    }
}

impl Node {
    fn new(stream: &WorkStream, needs: Vec<Need>) -> Self {
        Self {
            id: stream.id.clone(),
            name: stream.name.clone(),
            status: stream.status,
            effort: stream.effort,
            needs,
            level: 0,
            critical: false,
        }
    }

    /// Points of work that are left; zero when it is complete.
    fn points(&self) -> u64 {
        match self.status {
            Status::Complete => 0,
            Status::NotStarted | Status::InProgress | Status::Blocked => {
                u64::from(self.effort.unwrap_or(EFFORT_ASSUMED).points())
            }
        }
    }

    /// The nodes that come before this one; what is part of a circle with it does not.
    fn comes_after(&self) -> impl Iterator<Item = usize> + '_ {
        self.needs.iter().filter_map(|need| match need {
            Need::Stream { node, circular: false } => Some(*node),
            Need::Stream { circular: true, .. } | Need::Unknown(_) => None,
        })
    }
}
