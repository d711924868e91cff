//! `--only` and `--skip`: which tables and models a run touches.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, ErrorKind, Result};
use crate::name::TableName;

/// A selection matches nothing, or cannot be read.
pub static SELECTION: Code = Code {
    name: "E-SELECTION",
    kind: ErrorKind::Usage,
    meaning: "A pattern of --only or --skip cannot be read, or matches no table and no model of the pipeline.",
    remedy: "Name tables as shop.orders, models as orders, with * for any text; +x adds what x reads, x+ what reads x.",
};

/// Patterns as they were typed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// `--only`: empty means everything.
    pub only: Vec<String>,
    /// `--skip`.
    pub skip: Vec<String>,
}

struct Pattern {
    text: String,
    matcher: GlobMatcher,
    ancestors: bool,
    descendants: bool,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self> {
        let ancestors = text.starts_with('+');
        let descendants = text.len() > 1 && text.ends_with('+');
        let glob = text.trim_start_matches('+').trim_end_matches('+');
        let matcher = Glob::new(glob).map_err(|_| Error::new(&SELECTION, format!("pattern \"{text}\" cannot be read")))?.compile_matcher();
        Ok(Self { text: text.to_owned(), matcher, ancestors, descendants })
    }

    fn select(&self, graph: &BTreeMap<TableName, Vec<TableName>>) -> Result<BTreeSet<TableName>> {
        let mut chosen: BTreeSet<TableName> = graph.keys().filter(|table| self.matcher.is_match(table.to_string())).cloned().collect();
        if chosen.is_empty() {
            return Err(Error::new(&SELECTION, format!("pattern \"{}\" matches no table and no model", self.text)));
        }
        let seeds: Vec<TableName> = chosen.iter().cloned().collect();
        if self.ancestors {
            let mut waiting = seeds.clone();
            while let Some(table) = waiting.pop() {
                for input in graph.get(&table).into_iter().flatten().filter(|input| graph.contains_key(input)) {
                    if chosen.insert(input.clone()) {
                        waiting.push(input.clone());
                    }
                }
            }
        }
        if self.descendants {
            let mut waiting = seeds;
            while let Some(table) = waiting.pop() {
                for (reader, _) in graph.iter().filter(|(_, inputs)| inputs.contains(&table)) {
                    if chosen.insert(reader.clone()) {
                        waiting.push(reader.clone());
                    }
                }
            }
        }
        Ok(chosen)
    }
}

impl Selection {
    /// The chosen ones of a graph (table to the tables it reads).
    ///
    /// # Errors
    /// [`SELECTION`] naming the pattern.
    pub fn choose(&self, graph: &BTreeMap<TableName, Vec<TableName>>) -> Result<BTreeSet<TableName>> {
        let mut chosen = if self.only.is_empty() { graph.keys().cloned().collect() } else { BTreeSet::new() };
        for text in &self.only {
            chosen.extend(Pattern::parse(text)?.select(graph)?);
        }
        for text in &self.skip {
            for table in Pattern::parse(text)?.select(graph)? {
                chosen.remove(&table);
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> BTreeMap<TableName, Vec<TableName>> {
        let t = |text: &str| text.parse::<TableName>().unwrap();
        BTreeMap::from([
            (t("shop.orders"), vec![]),
            (t("platform.stores"), vec![]),
            (t("orders"), vec![t("shop.orders"), t("platform.stores")]),
            (t("coverage"), vec![t("orders")]),
            (t("stores"), vec![t("platform.stores")]),
        ])
    }

    fn chosen(only: &[&str], skip: &[&str]) -> Vec<String> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection { only: own(only), skip: own(skip) };
        selection.choose(&graph()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn patterns_take_ancestors_and_descendants() {
        assert_eq!(chosen(&[], &[]).len(), 5);
        assert_eq!(chosen(&["+coverage"], &[]), ["coverage", "orders", "platform.stores", "shop.orders"]);
        assert_eq!(chosen(&["platform.stores+"], &["coverage"]), ["orders", "stores", "platform.stores"]);
        assert_eq!(chosen(&["shop.*"], &[]), ["shop.orders"]);
    }

    #[test]
    fn a_pattern_without_a_match_is_an_error() {
        let selection = Selection { only: vec!["nothing".to_owned()], skip: vec![] };
        assert!(selection.choose(&graph()).unwrap_err().message().contains("nothing"));
    }
}
