//! Circles in the dependency graph.
//!
//! Source: R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1972;
//! with a stack of its own, because a roadmap may be deeper than a thread's.

/// A group of streams that depend on each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle {
    /// All of the group.
    pub(super) members: Vec<usize>,
    /// One way around, back to where it begins.
    pub(super) path: Vec<usize>,
}

/// For each node the number of its strongly connected component.
pub(super) fn components(needs: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let count = needs.len();
    let mut component = vec![UNSEEN; count];
    let mut order = vec![UNSEEN; count];
    let mut low = vec![0; count];
    let (mut next_order, mut next_component) = (0, 0);
    let mut path = Vec::new();
    for root in 0..count {
        if order[root] != UNSEEN {
            continue;
        }
        let mut visits = vec![(root, 0)];
        while let Some((node, edge)) = visits.last_mut() {
            let node = *node;
            if *edge == 0 {
                order[node] = next_order;
                low[node] = next_order;
                next_order += 1;
                path.push(node);
            }
            if let Some(&need) = needs[node].get(*edge) {
                *edge += 1;
                if order[need] == UNSEEN {
                    visits.push((need, 0));
                } else if component[need] == UNSEEN {
                    low[node] = low[node].min(order[need]);
                }
                continue;
            }
            visits.pop();
            if let Some((above, _)) = visits.last() {
                low[*above] = low[*above].min(low[node]);
            }
            if low[node] == order[node] {
                while let Some(member) = path.pop() {
                    component[member] = next_component;
                    if member == node {
                        break;
                    }
                }
                next_component += 1;
            }
        }
    }
    component
}

/// The components of more than one node, with one way around in each.
pub(super) fn circles(needs: &[Vec<usize>], component: &[usize]) -> Vec<Circle> {
    let mut members: Vec<Vec<usize>> =
        vec![Vec::new(); component.iter().max().map_or(0, |max| max + 1)];
    for (node, &number) in component.iter().enumerate() {
        members[number].push(node);
    }
    let mut circles: Vec<Circle> = members
        .into_iter()
        .filter(|members| members.len() > 1)
        .map(|members| {
            let path = way_around(needs, component, members[0]);
            Circle { members, path }
        })
        .collect();
    circles.sort_by_key(|circle| circle.members.first().copied());
    circles
}

/// Follows, from `start`, the first edge that stays in the component until a node comes again.
fn way_around(needs: &[Vec<usize>], component: &[usize], start: usize) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut place = std::collections::HashMap::new();
    let mut at = start;
    loop {
        if let Some(&first) = place.get(&at) {
            path.push(at);
            return path.split_off(first);
        }
        place.insert(at, path.len());
        path.push(at);
        match needs[at].iter().find(|need| component[**need] == component[at]) {
            Some(&next) => at = next,
            None => return path,
        }
    }
}
