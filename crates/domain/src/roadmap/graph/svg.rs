//! The graph as a picture. State is never told by color alone: every box carries sign and words.

use unicode_width::UnicodeWidthChar as _;

use super::layout::{self, BOX_HEIGHT, BOX_WIDTH, Layout, Line};
use super::{Graph, Node};
use crate::roadmap::diagnostic::printable;
use crate::words::plural;

const MARGIN: f64 = 24.0;
/// Room for the two lines above the picture.
const HEADER: f64 = 56.0;
const WIDTH_MIN: f64 = 480.0;
/// Cells of a name that fit into a box.
const NAME_CELLS_MAX: usize = 32;
/// Ids of the critical path that are listed above the picture.
const PATH_IDS_MAX: usize = 24;

const STYLE: &str = "\
svg{--paper:#fff;--ink:#1f2328;--soft:#57606a;--line:#8c959f;--hot:#bc4c00;color-scheme:light dark}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#6e7681;--hot:#f0883e}}
text{font:13px system-ui,sans-serif;fill:var(--ink)}
.head{font-size:15px;font-weight:600}.soft{fill:var(--soft);font-size:12px}.id{font-weight:600}
.paper{fill:var(--paper)}
rect.box{stroke-width:1.5;fill-opacity:.14}
.complete rect.box{fill:#1a7f37;stroke:#1a7f37}
.in_progress rect.box{fill:#0969da;stroke:#0969da}
.not_started rect.box{fill:#6e7781;stroke:#6e7781}
.blocked rect.box{fill:#cf222e;stroke:#cf222e}
.critical rect.box{stroke:var(--hot);stroke-width:3.5}
path{fill:none;stroke:var(--line);stroke-width:1.3}
path.critical{stroke:var(--hot);stroke-width:3.2}
path.circular{stroke:#cf222e;stroke-dasharray:5 4}
marker path{fill:var(--line);stroke:none}
marker.critical path{fill:var(--hot)}
";

const MARKERS: &str = "\
<marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker>
<marker id=\"hot\" class=\"critical\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"12\" \
markerHeight=\"12\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker>
";

pub(super) fn draw(graph: &Graph) -> String {
    let layout = layout::place(graph);
    let width = (layout.width + 2.0 * MARGIN).max(WIDTH_MIN);
    let height = layout.height + HEADER + 2.0 * MARGIN;
    let open = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">Dependencies of the roadmap</title>\n<style>\n{STYLE}</style>\n\
         <defs>\n{MARKERS}</defs>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
    );
    let moved = format!("<g transform=\"translate({MARGIN:.0} {:.0})\">\n", MARGIN + HEADER);
    let mut parts = vec![open, header(graph), moved];
    // What is critical is drawn last, on top of the rest.
    let (critical, other): (Vec<&Line>, Vec<&Line>) =
        layout.lines.iter().partition(|line| graph.is_critical_step(line.from, line.to));
    parts.extend(
        other
            .into_iter()
            .map(|line| path(&layout, line, if line.circular { "circular" } else { "" }, "tip")),
    );
    parts.extend(critical.into_iter().map(|line| path(&layout, line, "critical", "hot")));
    let boxes = graph.nodes.iter().zip(&layout.corners);
    parts.extend(boxes.map(|(node, corner)| boxed(node, *corner)));
    parts.push("</g>\n</svg>\n".to_owned());
    parts.concat()
}

fn header(graph: &Graph) -> String {
    let complete = graph.nodes.iter().filter(|node| node.points() == 0).count();
    let mut ids: Vec<&str> = graph.critical_path().into_iter().map(|id| id.as_str()).collect();
    if ids.len() > PATH_IDS_MAX {
        ids.splice(PATH_IDS_MAX / 2..ids.len() - PATH_IDS_MAX / 2, ["…"]);
    }
    let path = if ids.is_empty() {
        "Nothing is left to do.".to_owned()
    } else {
        let points = graph.critical_points();
        format!("Critical path (thick), {}: {}", plural(points, "point"), ids.join(" → "))
    };
    format!(
        "<text class=\"head\" x=\"{MARGIN:.0}\" y=\"36\">{complete} of {} complete</text>\n\
         <text class=\"soft\" x=\"{MARGIN:.0}\" y=\"58\">{}</text>\n",
        plural(graph.nodes.len(), "work stream"),
        escape(&path)
    )
}

/// A line that leaves boxes on the right and enters them on the left, level in between.
fn path(layout: &Layout, line: &Line, class: &str, tip: &str) -> String {
    let (from_x, from_y) = layout.corners[line.from];
    let (to_x, to_y) = layout.corners[line.to];
    let middle = BOX_HEIGHT / 2.0;
    let mut at = (from_x + BOX_WIDTH, from_y + middle);
    let mut data = vec![format!("M{:.0} {:.0}", at.0, at.1)];
    let mut curve_to = |(x, y): (f64, f64), at: (f64, f64)| {
        let bend = ((x - at.0) / 2.0).abs().max(24.0);
        let (out, into) = (at.0 + bend, x - bend);
        data.push(format!("C{out:.0} {:.0} {into:.0} {y:.0} {x:.0} {y:.0}", at.1));
    };
    for &(x, y) in &line.passes {
        curve_to((x, y), at);
        // Straight past the boxes of that level.
        curve_to((x + BOX_WIDTH, y), (x, y));
        at = (x + BOX_WIDTH, y);
    }
    curve_to((to_x, to_y + middle), at);
    let data = data.concat();
    format!("<path class=\"{class}\" d=\"{data}\" marker-end=\"url(#{tip})\"/>\n")
}

fn boxed(node: &Node, (x, y): (f64, f64)) -> String {
    let critical = if node.critical { " critical" } else { "" };
    let status = format!("{} {}", node.status.sign(), node.status.words());
    let effort = node.effort.map(|effort| format!(" · {effort}")).unwrap_or_default();
    let on_path = if node.critical { " · critical path" } else { "" };
    let (id, name) = (escape(node.id.as_str()), escape(&node.name));
    let short = escape(&shorten(&node.name));
    format!(
        "<g class=\"{}{critical}\" transform=\"translate({x:.0} {y:.0})\">\
         <title>{id} {name}: {status}{effort}{on_path}</title>\
         <rect class=\"paper\" width=\"{BOX_WIDTH:.0}\" height=\"{BOX_HEIGHT:.0}\" rx=\"7\"/>\
         <rect class=\"box\" width=\"{BOX_WIDTH:.0}\" height=\"{BOX_HEIGHT:.0}\" rx=\"7\"/>\
         <text class=\"id\" x=\"12\" y=\"20\">{id}</text>\
         <text class=\"soft\" x=\"{:.0}\" y=\"20\" text-anchor=\"end\">{status}{effort}</text>\
         <text x=\"12\" y=\"42\">{short}</text></g>\n",
        node.status,
        BOX_WIDTH - 12.0,
    )
}

fn shorten(name: &str) -> String {
    let mut cells = 0;
    let mut short = String::new();
    for character in name.chars() {
        cells += character.width().unwrap_or(0);
        if cells > NAME_CELLS_MAX {
            short.push('…');
            break;
        }
        short.push(character);
    }
    short
}

/// `text` as XML text: nothing in it is markup, or a character that XML does not have.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}
