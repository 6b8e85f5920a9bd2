//! Where the boxes and lines of the picture go: levels from left to right, as few crossings as a
//! few sweeps find, and boxes near what they are connected to.
//!
//! Source: K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical
//! system structures", IEEE Trans. SMC 1981: the barycenter method. Heights within a level are the
//! least-squares fit to the neighbors' that keeps the order.

use super::{Graph, Need};

pub(super) const BOX_WIDTH: f64 = 236.0;
pub(super) const BOX_HEIGHT: f64 = 58.0;
const LEVEL_GAP: f64 = 72.0;
const BOX_GAP: f64 = 18.0;
/// Height that a line takes where it passes a level.
const LINE_HEIGHT: f64 = 8.0;
const ORDER_SWEEPS: usize = 12;
const HEIGHT_SWEEPS: usize = 6;
/// Places where lines pass levels. Beyond, lines go straight and may run under boxes.
const PASSES_MAX: usize = 20_000;

/// The picture, in pixels.
#[derive(Debug)]
pub(super) struct Layout {
    /// Upper left corner of each node's box.
    pub(super) corners: Vec<(f64, f64)>,
    pub(super) lines: Vec<Line>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A line from what is needed to what needs it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) circular: bool,
    /// Where it passes levels in between, from left to right.
    pub(super) passes: Vec<(f64, f64)>,
}

/// Boxes and passes, both called items; the first items are the graph's nodes.
struct Levels {
    items: Vec<Vec<usize>>,
    /// For each item its neighbors one level to the left, and one to the right.
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
    /// For each item its place within its level.
    place: Vec<usize>,
    nodes: usize,
}

pub(super) fn place(graph: &Graph) -> Layout {
    let (mut levels, routes) = build(graph);
    levels.sort();
    let heights = levels.heights();
    let x = |level: usize| {
        f64::from(u32::try_from(level).unwrap_or(u32::MAX)) * (BOX_WIDTH + LEVEL_GAP)
    };
    let corners: Vec<(f64, f64)> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(node, drawn)| (x(drawn.level), heights[node] - BOX_HEIGHT / 2.0))
        .collect();
    let lines = routes
        .into_iter()
        .map(|route| {
            let first = graph.nodes[route.from].level + 1;
            let passes = route.passes.iter().enumerate();
            let passes = passes.map(|(index, &item)| (x(first + index), heights[item])).collect();
            Line { from: route.from, to: route.to, circular: route.circular, passes }
        })
        .collect();
    let bottom = corners.iter().map(|(_, y)| y + BOX_HEIGHT).fold(0.0, f64::max);
    let count = levels.items.len();
    let width = if count == 0 { 0.0 } else { x(count - 1) + BOX_WIDTH };
    Layout { corners, lines, width, height: bottom }
}

struct Route {
    from: usize,
    to: usize,
    circular: bool,
    passes: Vec<usize>,
}

fn build(graph: &Graph) -> (Levels, Vec<Route>) {
    let nodes = graph.nodes.len();
    let count = graph.nodes.iter().map(|node| node.level + 1).max().unwrap_or(0);
    let mut levels = Levels {
        items: vec![Vec::new(); count],
        left: vec![Vec::new(); nodes],
        right: vec![Vec::new(); nodes],
        place: Vec::new(),
        nodes,
    };
    for (node, drawn) in graph.nodes.iter().enumerate() {
        levels.items[drawn.level].push(node);
    }
    let mut routes = Vec::new();
    let mut passes_left = PASSES_MAX;
    for (to, drawn) in graph.nodes.iter().enumerate() {
        for need in &drawn.needs {
            let Need::Stream { node: from, circular } = *need else { continue };
            let first = graph.nodes[from].level + 1;
            let between = drawn.level.saturating_sub(first);
            let mut passes = Vec::new();
            if !circular && between <= passes_left {
                passes_left -= between;
                let mut before = from;
                for level in first..drawn.level {
                    let item = levels.add_pass(level);
                    levels.join(before, item);
                    passes.push(item);
                    before = item;
                }
                levels.join(before, to);
            }
            routes.push(Route { from, to, circular, passes });
        }
    }
    levels.place = vec![0; levels.left.len()];
    levels.note_places();
    (levels, routes)
}

impl Levels {
    fn add_pass(&mut self, level: usize) -> usize {
        let item = self.left.len();
        self.left.push(Vec::new());
        self.right.push(Vec::new());
        self.items[level].push(item);
        item
    }

    fn join(&mut self, left: usize, right: usize) {
        self.right[left].push(right);
        self.left[right].push(left);
    }

    fn note_places(&mut self) {
        for level in &self.items {
            for (place, &item) in level.iter().enumerate() {
                self.place[item] = place;
            }
        }
    }

    /// Sorts each level by where its neighbors are, from the left and from the right in turns.
    fn sort(&mut self) {
        let count = self.items.len();
        for sweep in 0..ORDER_SWEEPS {
            let from_left = sweep % 2 == 0;
            for step in 0..count {
                let level = if from_left { step } else { count - 1 - step };
                let neighbors = if from_left { &self.left } else { &self.right };
                let place = &self.place;
                let mut keyed: Vec<(f64, usize)> = self.items[level]
                    .iter()
                    .map(|&item| {
                        let own = as_float(place[item]);
                        (
                            mean(neighbors[item].iter().map(|n| as_float(place[*n])))
                                .unwrap_or(own),
                            item,
                        )
                    })
                    .collect();
                keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
                self.items[level] = keyed.into_iter().map(|(_, item)| item).collect();
                for (place, &item) in self.items[level].iter().enumerate() {
                    self.place[item] = place;
                }
            }
        }
    }

    fn height(&self, item: usize) -> f64 {
        if item < self.nodes { BOX_HEIGHT } else { LINE_HEIGHT }
    }

    /// The middle of each item.
    fn heights(&self) -> Vec<f64> {
        let mut middles = vec![0.0; self.left.len()];
        for level in &self.items {
            let mut top = 0.0;
            for &item in level {
                middles[item] = top + self.height(item) / 2.0;
                top += self.height(item) + BOX_GAP;
            }
        }
        let count = self.items.len();
        for sweep in 0..HEIGHT_SWEEPS {
            for step in 0..count {
                let level = if sweep % 2 == 0 { step } else { count - 1 - step };
                self.fit(&self.items[level], &mut middles);
            }
        }
        let top = (0..self.nodes).map(|node| middles[node] - BOX_HEIGHT / 2.0);
        let top =
            top.chain((self.nodes..middles.len()).map(|item| middles[item] - LINE_HEIGHT / 2.0));
        let top = top.fold(f64::INFINITY, f64::min);
        if top.is_finite() {
            middles.iter_mut().for_each(|middle| *middle -= top);
        }
        middles
    }

    /// Moves the items of a level towards their neighbors, keeping order and distance: pools items
    /// that would overlap and moves each pool to the mean of where its items want to be.
    fn fit(&self, level: &[usize], middles: &mut [f64]) {
        let mut offset = 0.0;
        let mut offsets = Vec::with_capacity(level.len());
        // Each pool: the sum of wishes, and how many they are.
        let mut pools: Vec<(f64, usize)> = Vec::new();
        for (index, &item) in level.iter().enumerate() {
            if index > 0 {
                offset += (self.height(level[index - 1]) + self.height(item)) / 2.0 + BOX_GAP;
            }
            offsets.push(offset);
            let neighbors = self.left[item].iter().chain(&self.right[item]);
            let wish = mean(neighbors.map(|neighbor| middles[*neighbor])).unwrap_or(middles[item]);
            let mut pool = (wish - offset, 1);
            while let Some(&(sum, size)) = pools.last()
                && sum / as_float(size) > pool.0 / as_float(pool.1)
            {
                pool = (pool.0 + sum, pool.1 + size);
                pools.pop();
            }
            pools.push(pool);
        }
        let bases =
            pools.iter().flat_map(|&(sum, size)| std::iter::repeat_n(sum / as_float(size), size));
        for ((&item, offset), base) in level.iter().zip(offsets).zip(bases) {
            middles[item] = base + offset;
        }
    }
}

fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / as_float(count))
}
