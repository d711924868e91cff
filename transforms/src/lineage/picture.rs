//! The graph of tables and models as an SVG: what is read stands left of what is made of it.
//!
//! Layers are longest paths from the extracted tables. Edges over several layers get a bend in each, so that they pass between the
//! boxes. The order within a layer is the best of a number of sweeps by the mean place of the neighbours, and the final places are the
//! nearest to the neighbours' that keep their distance. Nothing is random: the same graph gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use pipeline_core::contract::Contract;
use pipeline_core::name::TableName;

use crate::model::{Model, ModelSet};

const BOX_WIDTH: f64 = 196.0;
const BOX_HEIGHT: f64 = 28.0;
const BOX_GAP: f64 = 12.0;
/// The room that a passing edge takes.
const BEND_HEIGHT: f64 = 4.0;
const BEND_GAP: f64 = 7.0;
const LAYER_GAP: f64 = 104.0;
const MARGIN: f64 = 24.0;
/// The legend's line.
const HEAD: f64 = 44.0;
const LEGEND_STEP: f64 = 128.0;
/// Sweeps through the layers, there and back; the best order found counts.
const SWEEPS: usize = 40;

/// Colours of groups on a light and on a dark ground, told apart by the colour-blind too (Okabe and Ito's palette, darkened or
/// lightened): the first is for extracted tables.
const COLOURS: &[(&str, &str)] = &[
    ("#6b7280", "#9ca3af"),
    ("#0b6ca8", "#56b4e9"),
    ("#00795a", "#2fc79c"),
    ("#b45f00", "#e69f00"),
    ("#8a3f77", "#d38fc1"),
    ("#a63c00", "#f0814a"),
    ("#7a7000", "#d8cf3a"),
];

struct Node {
    /// What is written in its box; None is the bend of an edge.
    label: Option<(String, String)>,
    group: usize,
    layer: usize,
    y: f64,
}

impl Node {
    fn height(&self) -> f64 {
        if self.label.is_some() { BOX_HEIGHT } else { BEND_HEIGHT }
    }

    fn gap(&self) -> f64 {
        if self.label.is_some() { BOX_GAP } else { BEND_GAP }
    }
}

struct Graph {
    nodes: Vec<Node>,
    /// Edges between neighbouring layers.
    edges: Vec<(usize, usize)>,
    /// Each layer's nodes from top to bottom.
    layers: Vec<Vec<usize>>,
    groups: Vec<String>,
}

/// The folder a model stands in.
pub(super) fn group(model: &Model) -> String {
    let folder = model.file.parent().and_then(|folder| folder.file_name());
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The picture of these models and of the extracted tables that they read.
#[must_use]
pub fn picture(models: &ModelSet, sources: &[Contract]) -> String {
    let mut graph = Graph::of(models, sources);
    graph.put_in_order();
    graph.place();
    graph.draw()
}

impl Graph {
    fn of(models: &ModelSet, sources: &[Contract]) -> Self {
        let mut groups: Vec<String> = models.models().iter().map(group).collect();
        groups.sort();
        groups.dedup();
        groups.insert(0, "extracted".to_owned());
        let mut graph = Self { nodes: Vec::new(), edges: Vec::new(), layers: Vec::new(), groups };
        let mut known: BTreeMap<TableName, usize> = BTreeMap::new();
        let is_read = |table: &TableName| models.models().iter().any(|model| model.inputs.contains(table));
        for contract in sources.iter().filter(|contract| is_read(&contract.table)) {
            known.insert(contract.table.clone(), graph.add(Some((contract.table.to_string(), contract.description.clone())), 0, 0));
        }
        for model in models.models() {
            let inputs: Vec<usize> = model.inputs.iter().filter_map(|input| known.get(input).copied()).collect();
            let layer = inputs.iter().map(|input| graph.nodes[*input].layer + 1).max().unwrap_or(1);
            let name = group(model);
            let group = graph.groups.iter().position(|known| *known == name).unwrap_or(0);
            let node = graph.add(Some((model.table().to_string(), model.contract.description.clone())), group, layer);
            known.insert(model.table().clone(), node);
            for input in inputs {
                let from = (graph.nodes[input].layer + 1..layer).fold(input, |from, between| {
                    let bend = graph.add(None, graph.nodes[input].group, between);
                    graph.edges.push((from, bend));
                    bend
                });
                graph.edges.push((from, node));
            }
        }
        graph
    }

    fn add(&mut self, label: Option<(String, String)>, group: usize, layer: usize) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node { label, group, layer, y: 0.0 });
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, Vec::new);
        }
        self.layers[layer].push(index);
        index
    }

    /// The neighbours of each node in the layer before, or in the layer after.
    fn neighbours(&self, before: bool) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.edges {
            if before {
                neighbours[*to].push(*from);
            } else {
                neighbours[*from].push(*to);
            }
        }
        neighbours
    }

    fn put_in_order(&mut self) {
        let sides = [self.neighbours(true), self.neighbours(false)];
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..SWEEPS {
            let forward = sweep % 2 == 0;
            let neighbours = &sides[usize::from(!forward)];
            let count = self.layers.len();
            for step in 1..count {
                let layer = if forward { step } else { count - 1 - step };
                let places = self.positions();
                let mut order = self.layers[layer].clone();
                let mean = |node: usize| {
                    let near = &neighbours[node];
                    if near.is_empty() {
                        f64::from(places[node])
                    } else {
                        near.iter().map(|other| f64::from(places[*other])).sum::<f64>() / near.len() as f64
                    }
                };
                order.sort_by(|one, other| mean(*one).total_cmp(&mean(*other)).then(places[*one].cmp(&places[*other])));
                self.layers[layer] = order;
            }
            self.swap_neighbours();
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    /// Swaps two that stand beside each other as long as fewer edges cross.
    fn swap_neighbours(&mut self) {
        let mut crossings = self.crossings();
        for layer in 0..self.layers.len() {
            for place in 1..self.layers[layer].len() {
                self.layers[layer].swap(place - 1, place);
                let now = self.crossings();
                if now < crossings {
                    crossings = now;
                } else {
                    self.layers[layer].swap(place - 1, place);
                }
            }
        }
    }

    /// Each node's place in its layer.
    fn positions(&self) -> Vec<u32> {
        let mut positions = vec![0; self.nodes.len()];
        for layer in &self.layers {
            for (place, node) in (0..).zip(layer) {
                positions[*node] = place;
            }
        }
        positions
    }

    fn crossings(&self) -> usize {
        let places = self.positions();
        let mut by_layer: Vec<Vec<(u32, u32)>> = vec![Vec::new(); self.layers.len()];
        for (from, to) in &self.edges {
            by_layer[self.nodes[*from].layer].push((places[*from], places[*to]));
        }
        let crossed = |edges: &Vec<(u32, u32)>| {
            let pairs = edges.iter().enumerate().flat_map(|(index, one)| edges.iter().skip(index + 1).map(move |other| (one, other)));
            pairs.filter(|(one, other)| (one.0 < other.0 && one.1 > other.1) || (one.0 > other.0 && one.1 < other.1)).count()
        };
        by_layer.iter().map(crossed).sum()
    }

    fn place(&mut self) {
        for layer in self.layers.clone() {
            let mut y = 0.0;
            for node in layer {
                self.nodes[node].y = y;
                y += self.nodes[node].height() + self.nodes[node].gap();
            }
        }
        let sides = [self.neighbours(true), self.neighbours(false)];
        for sweep in 0..SWEEPS {
            for step in 0..self.layers.len() {
                let layer = if sweep % 2 == 0 { step } else { self.layers.len() - 1 - step };
                let order = self.layers[layer].clone();
                let wanted: Vec<f64> = order
                    .iter()
                    .map(|node| {
                        let near: Vec<f64> = sides.iter().flat_map(|side| &side[*node]).map(|other| self.middle(*other)).collect();
                        let own = self.nodes[*node].height() / 2.0;
                        if near.is_empty() { self.nodes[*node].y } else { near.iter().sum::<f64>() / near.len() as f64 - own }
                    })
                    .collect();
                let distances = order.windows(2).map(|pair| {
                    let (one, other) = (&self.nodes[pair[0]], &self.nodes[pair[1]]);
                    one.height() + one.gap().max(other.gap())
                });
                let places = spread(&wanted, &distances.collect::<Vec<_>>());
                for (node, y) in order.iter().zip(places) {
                    self.nodes[*node].y = y;
                }
            }
        }
        let top = self.nodes.iter().map(|node| node.y).fold(f64::INFINITY, f64::min);
        for node in &mut self.nodes {
            node.y += MARGIN + HEAD - top;
        }
    }

    fn middle(&self, node: usize) -> f64 {
        self.nodes[node].y + self.nodes[node].height() / 2.0
    }

    fn left(&self, node: usize) -> f64 {
        MARGIN + self.nodes[node].layer as f64 * (BOX_WIDTH + LAYER_GAP)
    }

    fn draw(&self) -> String {
        let width = MARGIN * 2.0 + self.layers.len() as f64 * (BOX_WIDTH + LAYER_GAP) - LAYER_GAP;
        let height = MARGIN + self.nodes.iter().map(|node| node.y + node.height()).fold(0.0, f64::max);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
             role=\"img\" aria-label=\"Graph of tables and models: what each is made of\">\n<style>\n"
        );
        // Its own ground, so that it is readable on a page of any colour.
        svg.push_str(
            "text { font: 13px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif; fill: #1f2328 }\n\
             .ground { fill: #ffffff } .box { fill: #f6f8fa; stroke-width: 1 }\n\
             .edge { fill: none; stroke-width: 1.3; stroke-opacity: .55 } .key { font-weight: 600 }\n",
        );
        for (index, (light, _)) in self.colours().enumerate() {
            writeln!(svg, ".s{index} {{ stroke: {light} }} .f{index} {{ fill: {light} }}").expect("a String takes any text");
        }
        svg.push_str("@media (prefers-color-scheme: dark) {\ntext { fill: #e6edf3 } .ground { fill: #0d1117 } .box { fill: #161b22 }\n");
        for (index, (_, dark)) in self.colours().enumerate() {
            writeln!(svg, ".s{index} {{ stroke: {dark} }} .f{index} {{ fill: {dark} }}").expect("a String takes any text");
        }
        svg.push_str("}\n</style>\n");
        writeln!(svg, "<rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\"/>").expect("a String takes any text");
        self.draw_legend(&mut svg);
        self.draw_edges(&mut svg);
        for (index, node) in self.nodes.iter().enumerate() {
            let Some((name, description)) = &node.label else { continue };
            let (x, y, group) = (self.left(index), node.y, node.group);
            writeln!(
                svg,
                "<g><title>{}: {}</title><rect class=\"box s{group}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\"/>\
                 <rect class=\"f{group}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"5\" height=\"{BOX_HEIGHT}\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
                escaped(name),
                escaped(description),
                x + 14.0,
                y + 18.5,
                escaped(name)
            )
            .expect("a String takes any text");
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn colours(&self) -> impl Iterator<Item = &(&'static str, &'static str)> {
        let (first, others) = COLOURS.split_first().expect("there are colours");
        std::iter::once(first).chain(others.iter().cycle()).take(self.groups.len())
    }

    fn draw_legend(&self, svg: &mut String) {
        for (index, name) in self.groups.iter().enumerate() {
            let x = MARGIN + index as f64 * LEGEND_STEP;
            writeln!(
                svg,
                "<rect class=\"f{index}\" x=\"{x:.1}\" y=\"{MARGIN}\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text class=\"key\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 18.0,
                MARGIN + 11.0,
                escaped(name)
            )
            .expect("a String takes any text");
        }
    }

    /// An edge with its bends is one line: from a box's right side through the bends to a box's left side.
    fn draw_edges(&self, svg: &mut String) {
        let after = self.neighbours(false);
        for (from, first) in self.edges.iter().filter(|(from, _)| self.nodes[*from].label.is_some()) {
            let mut here = *first;
            let (x, y) = (self.left(*from) + BOX_WIDTH, self.middle(*from));
            let mut path = format!("M{x:.1} {y:.1}");
            let mut start = (x, y);
            loop {
                let end = (self.left(here), self.middle(here));
                let bow = (end.0 - start.0) / 2.0;
                write!(path, " C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", start.0 + bow, start.1, end.0 - bow, end.1, end.0, end.1)
                    .expect("a String takes any text");
                let next = after[here].first().filter(|_| self.nodes[here].label.is_none());
                let Some(next) = next else { break };
                write!(path, " H{:.1}", end.0 + BOX_WIDTH).expect("a String takes any text");
                start = (end.0 + BOX_WIDTH, end.1);
                here = *next;
            }
            writeln!(svg, "<path class=\"edge s{}\" d=\"{path}\"/>", self.nodes[*from].group).expect("a String takes any text");
        }
    }
}

/// The places nearest to the wanted ones, by the sum of squares, that keep these distances from one to the next (the pool of adjacent
/// violators).
fn spread(wanted: &[f64], distances: &[f64]) -> Vec<f64> {
    let offsets: Vec<f64> = std::iter::once(0.0)
        .chain(distances.iter().scan(0.0, |sum, distance| {
            *sum += distance;
            Some(*sum)
        }))
        .collect();
    // Pools of neighbours that touch: their mean and how many they are.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (place, offset) in wanted.iter().zip(&offsets) {
        let mut pool = (place - offset, 1);
        while let Some(above) = pools.last().copied().filter(|above| above.0 > pool.0) {
            pools.pop();
            let count = above.1 + pool.1;
            pool = ((above.0 * above.1 as f64 + pool.0 * pool.1 as f64) / count as f64, count);
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|(mean, count)| std::iter::repeat_n(*mean, *count));
    places.zip(offsets).map(|(place, offset)| place + offset).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_their_distance_and_stay_near() {
        assert_eq!(spread(&[0.0, 100.0], &[10.0]), [0.0, 100.0]);
        assert_eq!(spread(&[5.0, 5.0], &[10.0]), [0.0, 10.0]);
        assert_eq!(spread(&[30.0, 0.0, 0.0], &[10.0, 10.0]), [0.0, 10.0, 20.0]);
        assert_eq!(spread(&[], &[]), Vec::<f64>::new());
    }

    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(escaped("a < b & \"c\" > d"), "a &lt; b &amp; &quot;c&quot; &gt; d");
    }
}
