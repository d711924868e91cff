//! Works through a graph: a node begins when all it reads have ended well.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use tracing::Instrument;

use super::stop::Stop;
use crate::error::{BUG, Error, ErrorKind, Result};
use crate::name::TableName;

/// Runs `work` for each chosen node, at most `in_flight_max` at once. A node that reads a failed one is not begun, and
/// `skipped` is told; the others go on. Returns the first error, unless an interruption explains more.
pub(super) async fn run<F>(
    graph: &BTreeMap<TableName, Vec<TableName>>,
    chosen: &BTreeSet<TableName>,
    in_flight_max: usize,
    stop: &Stop,
    work: impl Fn(TableName) -> F,
    skipped: impl Fn(&TableName),
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut waiting: BTreeMap<TableName, BTreeSet<TableName>> = chosen
        .iter()
        .map(|table| {
            let reads = graph.get(table).into_iter().flatten().filter(|input| chosen.contains(input)).cloned().collect();
            (table.clone(), reads)
        })
        .collect();
    let mut working: JoinSet<(TableName, Result<()>)> = JoinSet::new();
    let mut first_error: Option<Error> = None;
    let mut in_flight: BTreeSet<TableName> = BTreeSet::new();
    loop {
        let ready: Vec<TableName> = waiting.iter().filter(|(_, reads)| reads.is_empty()).map(|(table, _)| table.clone()).collect();
        for table in ready {
            if in_flight.len() >= in_flight_max.max(1) || stop.is_asked() {
                break;
            }
            waiting.remove(&table);
            in_flight.insert(table.clone());
            let future = work(table.clone());
            working.spawn(async move { (table, future.await) }.in_current_span());
        }
        let Some(ended) = working.join_next().await else { break };
        let Ok((table, result)) = ended else {
            first_error.get_or_insert_with(|| Error::new(&BUG, "a step of the run stopped without a word"));
            break;
        };
        in_flight.remove(&table);
        match result {
            Ok(()) => {
                for reads in waiting.values_mut() {
                    reads.remove(&table);
                }
            }
            Err(error) => {
                for dependent in dependents(&table, &mut waiting) {
                    skipped(&dependent);
                }
                match &first_error {
                    Some(first) if first.kind() != ErrorKind::Interrupted => {}
                    _ => first_error = Some(error),
                }
            }
        }
    }
    match first_error {
        Some(error) => Err(error),
        None if stop.is_asked() && !waiting.is_empty() => stop.check(),
        None => Ok(()),
    }
}

/// Takes everything out of `waiting` that reads `failed`, directly or not.
fn dependents(failed: &TableName, waiting: &mut BTreeMap<TableName, BTreeSet<TableName>>) -> Vec<TableName> {
    let mut found = Vec::new();
    let mut lost = vec![failed.clone()];
    while let Some(table) = lost.pop() {
        let readers: Vec<TableName> =
            waiting.iter().filter(|(_, reads)| reads.contains(&table)).map(|(reader, _)| reader.clone()).collect();
        for reader in readers {
            waiting.remove(&reader);
            found.push(reader.clone());
            lost.push(reader);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn table(text: &str) -> TableName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_failure_skips_what_reads_it_and_nothing_else() {
        let graph = BTreeMap::from([
            (table("a"), vec![]),
            (table("b"), vec![]),
            (table("c"), vec![table("a")]),
            (table("d"), vec![table("c")]),
            (table("e"), vec![table("b")]),
        ]);
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&done);
        let skipped: Mutex<Vec<String>> = Mutex::default();
        let result = run(
            &graph,
            &graph.keys().cloned().collect(),
            2,
            &Stop::default(),
            move |table| {
                let log = Arc::clone(&log);
                async move {
                    log.lock().unwrap().push(table.to_string());
                    if table.table() == "a" { Err(Error::new(&BUG, "a failed")) } else { Ok(()) }
                }
            },
            |table| skipped.lock().unwrap().push(table.to_string()),
        )
        .await;
        assert_eq!(result.unwrap_err().message(), "a failed");
        let mut done = done.lock().unwrap().clone();
        done.sort();
        assert_eq!(done, ["a", "b", "e"]);
        assert_eq!(*skipped.lock().unwrap(), ["c", "d"]);
    }
}
