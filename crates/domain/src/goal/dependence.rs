//! Which work streams wait for which, and what a batch comes to by that.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;

impl Catalog {
    /// What can be worked through without touching `excluded`: what can start now, then what that
    /// unblocks, and so on, each in working order.
    pub(super) fn batch(&self, excluded: &[usize]) -> Vec<usize> {
        let excluded: BTreeSet<usize> = excluded.iter().copied().collect();
        let wanted: Vec<usize> =
            self.order.iter().copied().filter(|entry| !excluded.contains(entry)).collect();
        self.reachable(&wanted)
    }

    /// Those of `wanted` that can be worked through without any other, in the order in which they
    /// can: those that can start now first.
    pub(super) fn reachable(&self, wanted: &[usize]) -> Vec<usize> {
        let startable = |entry: usize| {
            let subject = &self.entries[entry].subject;
            !subject.complete && (subject.available || !subject.held)
        };
        let mut left: Vec<usize> = Vec::new();
        let mut reached: Vec<usize> = Vec::new();
        for entry in wanted.iter().copied().filter(|&entry| startable(entry)) {
            let now = self.entries[entry].subject.available;
            if now { reached.push(entry) } else { left.push(entry) }
        }
        let ranks: BTreeMap<usize, usize> = left.iter().copied().zip(0..).collect();
        let mut unmet: BTreeMap<usize, usize> = BTreeMap::new();
        let mut unblocks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut level: Vec<usize> = Vec::new();
        for &entry in &left {
            let needs = self.open_needs(entry);
            for &need in &needs {
                unblocks.entry(need).or_default().push(entry);
            }
            if needs.is_empty() {
                level.push(entry);
            } else {
                unmet.insert(entry, needs.len());
            }
        }
        let mut done = 0;
        loop {
            reached.append(&mut level);
            if done == reached.len() {
                return reached;
            }
            for entry in &reached[done..] {
                for &dependent in unblocks.get(entry).into_iter().flatten() {
                    let Some(count) = unmet.get_mut(&dependent) else { continue };
                    *count -= 1;
                    if *count == 0 {
                        level.push(dependent);
                    }
                }
            }
            done = reached.len();
            level.sort_by_key(|entry| ranks.get(entry));
        }
    }

    /// All that need one of `needed`, directly or through others; in roadmap order.
    pub(super) fn dependents(&self, needed: &[usize]) -> Vec<usize> {
        let mut needing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for entry in 0..self.entries.len() {
            for need in self.needs(entry) {
                needing.entry(need).or_default().push(entry);
            }
        }
        let mut found = BTreeSet::new();
        let mut todo = needed.to_vec();
        while let Some(need) = todo.pop() {
            for &entry in needing.get(&need).into_iter().flatten() {
                if found.insert(entry) {
                    todo.push(entry);
                }
            }
        }
        found.into_iter().collect()
    }

    /// Whether `entry` needs `other`, directly or through others.
    pub(super) fn needs_other(&self, entry: usize, other: usize) -> bool {
        self.dependents(&[other]).contains(&entry)
    }

    /// What it directly depends on, once each.
    fn needs(&self, entry: usize) -> BTreeSet<usize> {
        let ids = self.entries[entry].subject.depends_on.iter();
        ids.filter_map(|id| self.exact(id)).collect()
    }

    fn open_needs(&self, entry: usize) -> BTreeSet<usize> {
        let mut needs = self.needs(entry);
        needs.retain(|&need| !self.entries[need].subject.complete);
        needs
    }
}
