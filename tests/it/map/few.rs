//! Cells of few customers on maps and in simulations: an attacker who has what they show finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_tests::Project;
use pipeline_tests::browser::Browser;
use serde_json::{Value, json};

use super::{Demand, LAKE, figure, open, page_data};
use crate::equations::{Equation, Fraction, known_sums};

/// What a page may show of a cell: the rows of its layers, all days of which are one step here.
struct Attack {
    /// Orders and different customers of each cell and currency, counted from orders.
    exact: BTreeMap<(i64, String, String), (i128, BTreeSet<String>)>,
}

impl Attack {
    fn read(project: &Project, first: &str, last: &str) -> Self {
        let mut exact: BTreeMap<(i64, String, String), (i128, BTreeSet<String>)> = BTreeMap::new();
        let rows = project.query(&format!(
            "SELECT customer_id, coalesce(currency, 'XXX') AS currency, h3_cell(latitude, longitude, 9) AS cell9,
                h3_parent(h3_cell(latitude, longitude, 9), 8) AS cell8, h3_parent(h3_cell(latitude, longitude, 9), 7) AS cell7
             FROM orders WHERE fulfilment = 'delivery' AND latitude IS NOT NULL AND longitude IS NOT NULL
                AND business_date BETWEEN DATE '{first}' AND DATE '{last}'"
        ));
        for row in rows {
            for resolution in 7..=9 {
                let text = |column: &str| row[column].as_str().unwrap().to_owned();
                let cell = exact.entry((resolution, text(&format!("cell{resolution}")), text("currency"))).or_default();
                cell.0 += 1;
                cell.1.extend(row["customer_id"].as_str().map(str::to_owned));
            }
        }
        Self { exact }
    }

    /// What is found out from a page about the cells that show nothing: numbers, and sums of fewer than `least` customers.
    fn on(&self, project: &Project, data: &Value, least: usize) -> Vec<String> {
        let mut shown = BTreeSet::new();
        let mut hidden = Vec::new();
        for layer in data["layers"].as_array().unwrap() {
            let key = |rows: &Value, row: usize| {
                let position = |column: &str| usize::try_from(rows[column][row].as_i64().unwrap()).unwrap();
                let cell = layer["cells"][position("cell")].as_str().unwrap().to_owned();
                (layer["resolution"].as_i64().unwrap(), cell, data["currencies"][position("currency")].as_str().unwrap().to_owned())
            };
            for row in 0..layer["rows"]["cell"].as_array().unwrap().len() {
                let key = key(&layer["rows"], row);
                assert_eq!(
                    layer["rows"]["orders"][row].as_i64().map(i128::from),
                    Some(self.exact[&key].0),
                    "what is shown is exact: {key:?}"
                );
                assert!(self.exact[&key].1.len() >= least, "{key:?}");
                shown.insert(key);
            }
            hidden.extend((0..layer["hidden"]["cell"].as_array().unwrap().len()).map(|row| key(&layer["hidden"], row)));
        }
        let unknowns: BTreeMap<_, usize> = hidden.iter().enumerate().map(|(number, key)| (key.clone(), number)).collect();
        let parents: BTreeMap<String, String> = project
            .query("SELECT DISTINCT cell, h3_parent(cell, resolution - 1) AS parent FROM coverage_orders WHERE resolution > 7")
            .iter()
            .map(|row| (row["cell"].as_str().unwrap().to_owned(), row["parent"].as_str().unwrap().to_owned()))
            .collect();
        let mut equations: BTreeMap<(Option<String>, String), Equation> = BTreeMap::new();
        for key in shown.iter().chain(&hidden) {
            let around = parents.get(&key.1).cloned();
            let equation = equations.entry((around.clone(), key.2.clone())).or_default();
            if let Some(unknown) = unknowns.get(key) {
                equation.insert(*unknown, Fraction::ONE);
            }
            if let Some(unknown) = around.and_then(|around| unknowns.get(&(key.0 - 1, around, key.2.clone()))) {
                equation.insert(*unknown, Fraction::new(-1, 1));
            }
        }
        let mut found = Vec::new();
        known_sums(equations.into_values().collect(), |sum| {
            let customers: BTreeSet<&String> = sum.iter().flat_map(|unknown| &self.exact[&hidden[*unknown]].1).collect();
            if sum.len() == 1 || customers.len() < least {
                found.push(format!("{:?}", sum.iter().map(|unknown| &hidden[*unknown]).collect::<Vec<_>>()));
            }
        });
        found
    }
}

#[test]
fn cells_of_few_customers_show_no_numbers() {
    const K: usize = 5;
    let lake = &*LAKE;
    let five = ["--set", "parameters.k_anonymity=5"];
    let file = lake.map("few.html", &five);
    let data = page_data(&file);
    assert_eq!(data["k_anonymity"], 5);
    assert_eq!(data["dates"].as_array().unwrap().len(), 1, "fewer days would show too little: {}", data["notes"]);
    let attack = Attack::read(&lake.project, data["from"].as_str().unwrap(), data["to"].as_str().unwrap());
    assert_eq!(attack.on(&lake.project, &data, K), Vec::<String>::new());
    let cells = |layer: usize, rows: &str| data["layers"][layer][rows]["cell"].as_array().unwrap().len();
    assert!(cells(0, "rows") > 5 && cells(1, "rows") > 5 && cells(0, "hidden") > 5, "some are shown and some are not");
    // The attacker is none that finds nothing: where only small cells are hidden, and none beside them, there is something to find.
    let mut careless = data.clone();
    for layer in careless["layers"].as_array_mut().unwrap() {
        let (mut kept, resolution) = (Vec::new(), layer["resolution"].as_i64().unwrap());
        for row in 0..layer["hidden"]["cell"].as_array().unwrap().len() {
            let position = |column: &str| usize::try_from(layer["hidden"][column][row].as_i64().unwrap()).unwrap();
            let (cell, currency) = (position("cell"), position("currency"));
            let name = |list: &Value, position: usize| list[position].as_str().unwrap().to_owned();
            let key = (resolution, name(&layer["cells"], cell), name(&data["currencies"], currency));
            kept.push((cell, currency, attack.exact[&key].clone()));
        }
        for column in ["bucket", "cell", "currency"] {
            layer["hidden"][column] = json!([]);
        }
        for (cell, currency, (orders, customers)) in kept {
            let place = if customers.len() < K { "hidden" } else { "rows" };
            for (column, value) in [
                ("bucket", json!(0)),
                ("cell", json!(cell)),
                ("currency", json!(currency)),
                ("orders", json!(i64::try_from(orders).unwrap())),
            ] {
                if place == "rows" || column != "orders" {
                    layer[place][column].as_array_mut().unwrap().push(value);
                }
            }
        }
    }
    assert!(!attack.on(&lake.project, &careless, K).is_empty(), "hiding small cells alone hides nothing");

    // In the page: hatched, said in words, and without a number anywhere.
    let browser = Browser::open(1280, 900);
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    browser.click("label[for='layer-0']");
    let shown: i64 = data["layers"][0]["rows"]["orders"].as_array().unwrap().iter().map(|orders| orders.as_i64().unwrap()).sum();
    assert_eq!(figure(&browser, "orders"), shown);
    assert!(browser.text("#legend").contains("few customers"), "{}", browser.text("#legend"));
    assert!(browser.text("#notes").contains("fewer than 5 customers"), "{}", browser.text("#notes"));
    browser.click("#tab-cells");
    assert!(browser.text("#panel").contains("Without numbers"), "{}", browser.text("#panel"));
    browser.click("#tab-gaps");
    assert!(browser.text("#panel th:nth-child(3)").contains("Customers"), "{}", browser.text("#panel"));
    assert!(data["gaps"]["attempts"].as_array().unwrap().iter().all(Value::is_null));
    assert!(data["gaps"]["customers"].as_array().unwrap().iter().all(|customers| customers.as_i64().unwrap() >= 5));
    assert_eq!(browser.console(), Vec::<String>::new());
    // Two sides of a comparison: what is hidden on one of them has no change.
    let file = lake.map(
        "few-compared.html",
        &["--days", "2025-10-01..2025-10-20", "--compare-to", "2025-09-20..2025-09-30", "--set", "parameters.k_anonymity=3"],
    );
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    assert!(browser.text("#legend").contains("few customers"), "{}", browser.text("#legend"));
    assert_eq!(browser.console(), Vec::<String>::new());

    // Files for other programs.
    let file = lake.map("few.geojson", &five);
    let features: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let properties: Vec<&Value> = features["features"].as_array().unwrap().iter().map(|feature| &feature["properties"]).collect();
    assert!(properties.iter().any(|cell| cell["suppressed"] == true) && properties.iter().any(|cell| cell["suppressed"] == false));
    for cell in properties {
        assert_eq!(cell["orders"].is_null(), cell["suppressed"] == true, "{cell}");
        assert_eq!(cell["new_customers"].is_null(), cell["suppressed"] == true, "{cell}");
    }
    let outcome =
        lake.project.pipeline(&["map", "nightly", "-o", "none.html", "--set", "parameters.k_anonymity=1000000", "--output", "json"]);
    assert_eq!(outcome.exited(2).error()["code"], "E-MAP-EMPTY", "{outcome}");

    // Simulations: a part of few customers is not told, nor by the other part.
    let (mut partly, stores) = (0, Demand::read(&lake.project).stores);
    for store in stores.iter().map(|(store, ..)| store.to_string()) {
        let simulate = ["coverage", "simulate", "--close", &store, "--output", "json", "--set"];
        let result = |k: &str| lake.project.pipeline(&[&simulate[..], &[k]].concat()).succeeded().json()["result"].clone();
        let (open, closed) = (result("parameters.k_anonymity=1"), result("parameters.k_anonymity=5"));
        let few = |part: &str| open[part]["orders"] != 0 && open[part]["customers"].as_i64().unwrap() < 5;
        let is_hidden = few("lost") || few("coverable");
        for part in ["lost", "coverable"] {
            assert_eq!(closed[part]["orders"].is_null(), is_hidden, "{open} {closed}");
            assert_eq!(closed[part]["revenue"].is_null(), is_hidden, "{open} {closed}");
        }
        // One neighbour that reaches all that others reach would have the numbers of that part.
        let neighbours = closed["stores"].as_array().unwrap();
        assert!(!is_hidden || neighbours.iter().all(|store| store["orders"].is_null()), "{open} {closed}");
        assert_eq!(closed["all"]["orders"].is_null(), few("all"), "{open} {closed}");
        partly += i32::from(is_hidden && !few("all"));
    }
    assert!(partly > 0, "no store has a part that is hidden");
}
