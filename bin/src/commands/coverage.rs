//! `pipeline coverage`: what would be if there were a store more, or less.

use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;
use serde_json::json;

use crate::arguments::{CoverageArguments, CoverageCommand, Global, OutputForm, SimulateArguments};
use crate::map::simulate::{self, Candidate, Closing, DAYS, Demand, Neighbour, Opening};
use crate::map::{MAP_EMPTY, SIMULATION, anonymity};
use crate::output::{Printer, Style, count, plural, table};
use crate::project::Project;

/// Rows of a list for people.
const ROWS_SHOWN: usize = 10;

pub(crate) async fn coverage(global: &Global, printer: Printer, arguments: CoverageArguments) -> Result<()> {
    match arguments.command {
        CoverageCommand::Simulate(arguments) => simulate(global, printer, arguments).await,
    }
}

/// What is to be tried.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trial {
    Open(Candidate),
    Close(i64),
}

async fn simulate(global: &Global, printer: Printer, arguments: SimulateArguments) -> Result<()> {
    let trial = trial(&arguments)?;
    let project = Project::open(global, printer)?;
    let as_of = super::run::as_of(&project, arguments.as_of.as_deref())?;
    let customers_min = anonymity::customers_min(&project.config)?;
    let session = project.models().await?.session(as_of);
    for name in ["orders", "stores", "coverage_gaps"] {
        if !session.has(&TableName::new(TableName::MARTS, name)?).await? {
            return Err(
                Error::new(&MAP_EMPTY, format!("table \"{name}\" is not in the lake yet")).hint("Run `pipeline run nightly` first.")
            );
        }
    }
    match trial {
        Trial::Open(store) => {
            let found = Box::pin(simulate::open(&session, store, customers_min)).await?;
            if printer.form != OutputForm::Human {
                return printer.json(&json!({ "schema_version": 1, "kind": "add", "as_of": as_of, "days": DAYS, "result": found }));
            }
            show_opening(printer, &found, &as_of.to_string(), customers_min);
        }
        Trial::Close(store) => {
            let stores = simulate::open_stores(&session).await?;
            let name = stores.get(&store).cloned().ok_or_else(|| {
                Error::new(&SIMULATION, format!("there is no open store {store}"))
                    .hint("`pipeline query \"SELECT store_id, name, closed_on FROM stores\"` lists the stores.")
            })?;
            let found = Box::pin(simulate::close(&session, store, name, customers_min)).await?;
            if printer.form != OutputForm::Human {
                return printer.json(&json!({ "schema_version": 1, "kind": "close", "as_of": as_of, "days": DAYS, "result": found }));
            }
            show_closing(printer, &found, &as_of.to_string(), customers_min);
        }
    }
    Ok(())
}

/// Half of the earth's circumference: no radius is larger.
const RADIUS_M_MAX: f64 = 20_037_508.0;

fn trial(arguments: &SimulateArguments) -> Result<Trial> {
    let wrong = |what: String| Err(Error::new(&SIMULATION, what));
    if let Some(store) = arguments.close {
        return Ok(Trial::Close(store));
    }
    let (Some(add), Some(radius_m)) = (&arguments.add, arguments.radius) else {
        return wrong("neither a place nor a store is given".to_owned());
    };
    let place = add.split_once(',').and_then(|(latitude, longitude)| Some((latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)));
    let Some((latitude, longitude)) = place else { return wrong(format!("\"{add}\" is no latitude and longitude")) };
    if !(-90.0..=90.0).contains(&latitude) {
        return Err(Error::new(&SIMULATION, format!("latitude {latitude} is not on earth"))
            .hint("Latitudes go from -90 to 90, and come before the longitude."));
    }
    if !(-180.0..=180.0).contains(&longitude) {
        return Err(Error::new(&SIMULATION, format!("longitude {longitude} is not on earth"))
            .hint("Longitudes go from -180 to 180, and come after the latitude."));
    }
    if !(radius_m > 0.0 && radius_m <= RADIUS_M_MAX) {
        return Err(Error::new(&SIMULATION, format!("a radius of {radius_m} m reaches nothing, or more than there is"))
            .hint("Write metres, more than 0: --radius 2500."));
    }
    Ok(Trial::Open(Candidate { latitude, longitude, radius_m }))
}

fn positive(number: i64) -> String {
    count(u64::try_from(number).unwrap_or(0))
}

/// What is not shown is a word, not a number.
fn shown(number: Option<i64>) -> String {
    number.map_or_else(|| "hidden".to_owned(), positive)
}

/// Why something is hidden, if anything is.
fn say_hidden(printer: Printer, is_hidden: bool, customers_min: i64) {
    if is_hidden {
        let words =
            format!("\nhidden: of fewer than {customers_min} customers, or it would tell of what is (`k_anonymity` in [parameters])");
        printer.line(printer.styled(Style::Dim, words));
    }
}

fn amounts(demand: &Demand) -> String {
    let Some(revenue) = &demand.revenue else { return shown(None) };
    let amounts: Vec<String> = revenue.iter().map(|(currency, amount)| format!("{currency} {amount}")).collect();
    if amounts.is_empty() { "–".to_owned() } else { amounts.join(", ") }
}

fn demand_table(rows: &[(&str, &Demand)]) -> String {
    let cells = |(name, demand): &(&str, &Demand)| {
        vec![
            (*name).to_owned(),
            positive(demand.cells),
            shown(demand.orders),
            shown(demand.cancelled),
            shown(demand.customers),
            amounts(demand),
        ]
    };
    table(&["", "cells", "orders", "cancelled", "customers", "revenue"], &[1, 2, 3, 4], rows.iter().map(cells))
}

fn neighbour_table(printer: Printer, stores: &[Neighbour], heading: &str) {
    let rows = stores
        .iter()
        .take(ROWS_SHOWN)
        .map(|store| vec![store.store_id.to_string(), store.name.clone().unwrap_or_default(), positive(store.cells), shown(store.orders)]);
    printer.line(table(&["store", "name", "cells", heading], &[0, 2, 3], rows));
    more(printer, stores.len());
}

fn more(printer: Printer, rows: usize) {
    if rows > ROWS_SHOWN {
        printer.line(printer.styled(Style::Dim, format!("and {} more; --output json has all", rows - ROWS_SHOWN)));
    }
}

fn show_opening(printer: Printer, found: &Opening, as_of: &str, customers_min: i64) {
    let store = found.store;
    let title = format!("A store at {}, {} that delivers {} m far", store.latitude, store.longitude, store.radius_m);
    printer.line(printer.styled(Style::Strong, title));
    printer.line(
        printer.styled(Style::Dim, format!("by the demand of the {DAYS} days before {as_of}; nobody knows what it would add to that\n")),
    );
    printer.line(demand_table(&[("newly in reach", &found.new), ("in reach of others", &found.shared), ("together", &found.reached)]));
    if !found.stores.is_empty() {
        printer.line("\nStores that reach the same cells, with the orders they have there:");
        neighbour_table(printer, &found.stores, "orders");
    }
    let parts = [&found.reached, &found.new, &found.shared].iter().any(|demand| demand.orders.is_none());
    say_hidden(printer, parts || found.stores.iter().any(|store| store.orders.is_none()), customers_min);
    let closed = found.gaps.iter().filter(|gap| gap.effect == "closes").count();
    if found.gaps.is_empty() {
        printer.line("\nNo gap lies within its reach.");
        return;
    }
    printer.line(format!("\n{} within its reach, of which {} would close:", plural(found.gaps.len(), "gap"), count(closed as u64)));
    let rows = found.gaps.iter().take(ROWS_SHOWN).map(|gap| {
        let size = gap.attempts.unwrap_or(gap.customers);
        vec![gap.opportunity_rank.to_string(), gap.cell.clone(), positive(size), gap.effect.to_owned()]
    });
    let size = if found.gaps.iter().any(|gap| gap.attempts.is_none()) { "customers" } else { "orders" };
    printer.line(table(&["rank", "cell", size, "effect"], &[0, 2], rows));
    more(printer, found.gaps.len());
}

fn show_closing(printer: Printer, found: &Closing, as_of: &str, customers_min: i64) {
    let name = found.name.as_deref().unwrap_or("without a name");
    printer.line(printer.styled(Style::Strong, format!("Without store {} ({name})", found.store_id)));
    printer.line(printer.styled(Style::Dim, format!("by its orders of the {DAYS} days before {as_of}\n")));
    printer.line(demand_table(&[
        ("cells of no other store", &found.lost),
        ("cells that others reach", &found.coverable),
        ("together", &found.all),
        ("no delivery, or no location", &found.elsewhere),
    ]));
    if found.stores.is_empty() {
        printer.line("\nNo other open store reaches any of its cells.");
    } else {
        printer.line("\nStores that reach its cells, with the orders they could take over:");
        neighbour_table(printer, &found.stores, "its orders there");
    }
    let parts = [&found.lost, &found.coverable, &found.all, &found.elsewhere].iter().any(|demand| demand.orders.is_none());
    say_hidden(printer, parts || found.stores.iter().any(|store| store.orders.is_none()), customers_min);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(add: &str, radius: f64) -> SimulateArguments {
        SimulateArguments { add: Some(add.to_owned()), radius: Some(radius), close: None, as_of: None }
    }

    #[test]
    fn places_are_checked() {
        let right = trial(&arguments("-17.5, 180", 2500.0)).unwrap();
        assert_eq!(right, Trial::Open(Candidate { latitude: -17.5, longitude: 180.0, radius_m: 2500.0 }));
        for (add, radius) in [
            ("91,0", 1.0),
            ("0,181", 1.0),
            ("0", 1.0),
            ("a,b", 1.0),
            ("NaN,0", 1.0),
            ("0,0", 0.0),
            ("0,0", -5.0),
            ("0,0", f64::NAN),
            ("0,0", f64::INFINITY),
        ] {
            let error = trial(&arguments(add, radius)).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{add} {radius}");
        }
    }
}
