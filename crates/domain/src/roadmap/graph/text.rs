//! The graph as lines of text.

use unicode_width::UnicodeWidthStr as _;

use super::{Graph, Need, Node};
use crate::roadmap::diagnostic::printable;
use crate::roadmap::status::Status;
use crate::words::plural;

/// Cells that ids are lined up in; a longer one pushes its line to the right.
const ID_CELLS_MAX: usize = 10;

pub(super) fn draw(graph: &Graph) -> String {
    let dependencies: usize = graph.nodes.iter().map(|node| node.needs.len()).sum();
    let mut lines = vec![format!(
        "{}, {}",
        plural(graph.nodes.len(), "work stream"),
        plural(dependencies, "dependency")
    )];
    let id_cells = graph.nodes.iter().map(|node| node.id.as_str().len()).max().unwrap_or(0);
    let mut by_level: Vec<&Node> = graph.nodes.iter().collect();
    by_level.sort_by_key(|node| node.level);
    let mut last = None;
    for node in by_level {
        if last != Some(node.level) {
            last = Some(node.level);
            lines.push(format!("\nLevel {}", node.level + 1));
        }
        lines.push(line(graph, node, id_cells.min(ID_CELLS_MAX)));
    }
    if !graph.critical.is_empty() {
        let path: Vec<&str> = graph.critical_path().into_iter().map(|id| id.as_str()).collect();
        let points = graph.critical_points();
        lines.push(format!("\n* Critical path, {}: {}", plural(points, "point"), path.join(" → ")));
    }
    lines.join("\n") + "\n"
}

fn line(graph: &Graph, node: &Node, id_cells: usize) -> String {
    let mark = if node.critical { '*' } else { ' ' };
    let status = format!("{} {}", node.status.sign(), node.status.words());
    let width = Status::ALL.map(|status| status.words().len() + 3).into_iter().max().unwrap_or(0);
    let pad = " ".repeat(width.saturating_sub(status.width()));
    let effort = node.effort.map(|effort| format!(" ({effort})")).unwrap_or_default();
    let needs: Vec<String> = node.needs.iter().map(|need| name(graph, need)).collect();
    let needs =
        if needs.is_empty() { String::new() } else { format!("  needs {}", needs.join(", ")) };
    format!(
        "{mark} {status}{pad}  {:<id_cells$}  {}{effort}{needs}",
        node.id.as_str(),
        printable(&node.name)
    )
}

fn name(graph: &Graph, need: &Need) -> String {
    match need {
        Need::Stream { node, circular } => {
            let id = &graph.nodes[*node].id;
            if *circular { format!("{id} (in a circle)") } else { id.to_string() }
        }
        Need::Unknown(id) => format!("{id} (unknown)"),
    }
}
