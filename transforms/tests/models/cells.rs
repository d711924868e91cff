//! Somebody who has all that is published, and wants what is not: the numbers of suppressed cells.
//!
//! They know that the cells of a day and currency add up, within each visible cell and to the total that other marts show, and that a gap counts
//! the orders of its days. Each of that is a linear equation over the suppressed numbers. A number, or a sum of numbers, is given away exactly if it is
//! a combination of the equations; and where cells have at least one order each, also if there are no more orders than cells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pipeline_core::name::TableName;
use pipeline_transforms::model::ModelSet;
use serde_json::{Value, json};

use crate::equations::{Equation, Fraction, known_sums};
use crate::runner::Runner;
use crate::{config, models, root, sources};

const K: usize = 4;
const SEEDS: u64 = 6;

/// A cell of a day and currency.
type Key = (String, i32, String, String);

/// What is true, and what is published.
struct Published {
    /// Orders and customers of every cell.
    exact: BTreeMap<Key, (i128, BTreeSet<String>)>,
    /// The published rows: orders, where they are shown.
    shown: BTreeMap<Key, Option<i128>>,
    /// The cell of each one around it; none for the coarsest.
    parents: BTreeMap<Key, Option<Key>>,
    /// Gaps whose orders are shown, with the cells that they add up from.
    gaps: Vec<(String, i128, Vec<Key>)>,
    gaps_in_all: usize,
}

/// What an attacker finds out.
#[derive(Debug, Default)]
struct Found {
    /// Suppressed numbers.
    numbers: Vec<Key>,
    /// Sums of suppressed numbers that cover fewer than K customers.
    sums: Vec<Vec<Key>>,
    unknowns: usize,
    equations: usize,
}

impl Published {
    /// The equations, each of which is checked to be true.
    fn equations(&self, unknowns: &BTreeMap<&Key, usize>) -> Vec<Equation> {
        let mut sums: Vec<(Option<i128>, Vec<&Key>)> = Vec::new();
        let mut roots: BTreeMap<(&str, &str), Vec<&Key>> = BTreeMap::new();
        let mut families: BTreeMap<&Key, Vec<&Key>> = BTreeMap::new();
        for key in self.shown.keys() {
            match &self.parents[key] {
                None => roots.entry((&key.0, &key.3)).or_default().push(key),
                Some(parent) => families.entry(parent).or_default().push(key),
            }
        }
        // A day's total is known from other marts. Below a hidden cell, its own number is one unknown more.
        sums.extend(roots.into_values().map(|cells| (None, cells)));
        let mut equations = Vec::new();
        for (parent, children) in families {
            let mut equation = Equation::new();
            children.iter().filter_map(|child| unknowns.get(child)).for_each(|child| {
                equation.insert(*child, Fraction::ONE);
            });
            if let Some(parent) = unknowns.get(parent) {
                equation.insert(*parent, Fraction::new(-1, 1));
            }
            let children: i128 = children.iter().map(|child| self.exact[*child].0).sum();
            assert_eq!(children, self.exact[parent].0, "cells nest");
            equations.push(equation);
        }
        sums.extend(self.gaps.iter().map(|(_, attempts, cells)| (Some(*attempts), cells.iter().collect())));
        for (total, cells) in sums {
            // A gap's cell is that of the points, and not quite that of their finest cells: where they differ, the days do not add up to it.
            if total.is_some_and(|total| total != cells.iter().map(|cell| self.exact[*cell].0).sum::<i128>()) {
                continue;
            }
            equations.push(cells.iter().filter_map(|cell| Some((*unknowns.get(cell)?, Fraction::ONE))).collect());
        }
        equations
    }

    /// How many cells of the finest resolution lie in each cell: it has an order for each at least.
    fn finest_cells(&self) -> BTreeMap<&Key, i128> {
        let mut cells: BTreeMap<&Key, i128> = BTreeMap::new();
        for key in self.exact.keys().filter(|key| key.1 == 9) {
            let mut around = Some(key);
            while let Some(cell) = around {
                *cells.entry(cell).or_default() += 1;
                around = self.parents[cell].as_ref();
            }
        }
        cells
    }

    fn attacked(&self) -> Found {
        // Days that are not listed are unknowns too, where a gap counts them.
        let hidden: Vec<&Key> = self.exact.keys().filter(|key| !matches!(self.shown.get(*key), Some(Some(_)))).collect();
        let unknowns: BTreeMap<&Key, usize> = hidden.iter().enumerate().map(|(number, key)| (*key, number)).collect();
        let equations = self.equations(&unknowns);
        let mut found = Found { unknowns: unknowns.len(), equations: equations.len(), ..Found::default() };
        let least_orders = self.finest_cells();
        known_sums(equations, |cells| {
            let keys: Vec<Key> = cells.iter().map(|cell| hidden[*cell].clone()).collect();
            let customers: BTreeSet<&String> = keys.iter().flat_map(|key| &self.exact[key].1).collect();
            let orders: i128 = keys.iter().map(|key| self.exact[key].0).sum();
            let least: i128 = keys.iter().map(|key| least_orders[key]).sum();
            if keys.len() == 1 || orders == least {
                found.numbers.extend(keys.iter().cloned());
            }
            if customers.len() < K {
                found.sums.push(keys);
            }
        });
        found
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn degrees(&mut self, reach: f64) -> f64 {
        // The mean of three: many near the middle, some far off.
        let sum: u64 = (0..3).map(|_| self.below(10_000)).sum();
        (f64::from(u32::try_from(sum).unwrap()) / 15_000.0 - 1.0) * reach
    }
}

/// Orders of a town: customers have homes, and a few streets have many of them.
fn orders(seed: u64, suburb: &[(f64, f64)]) -> Vec<Value> {
    let mut random = Random(seed);
    let streets: Vec<(f64, f64)> = (0..6).map(|_| (52.2297 + random.degrees(0.03), 21.0122 + random.degrees(0.05))).collect();
    let homes: Vec<(f64, f64)> = (0..150)
        .map(|_| {
            let (latitude, longitude) = streets[usize::try_from(random.below(6)).unwrap()];
            let reach = if random.below(4) == 0 { 0.03 } else { 0.0008 };
            (latitude + random.degrees(reach), longitude + random.degrees(reach))
        })
        .collect();
    // A suburb in which five customers order once a day, each from a cell of their own.
    let alone = (1..=3).flat_map(|day| {
        suburb.iter().enumerate().map(move |(home, (latitude, longitude))| {
            json!({
                "order_id": format!("s{day}{home}"), "fulfilment": "delivery", "store_id": 1, "customer_id": format!("s{home}"), "currency": "PLN",
                "business_date": format!("2025-11-{day:02}"), "placed_at": format!("2025-11-{day:02}T12:00:00Z"),
                "latitude": latitude, "longitude": longitude, "total": "10.00", "revenue": "10.00",
                "is_completed": true, "is_cancelled": false, "is_late": false, "is_new_customer": false,
            })
        })
    });
    let count = 200 + 400 * (seed % 3);
    (0..count)
        .map(|number| {
            let customer = usize::try_from(random.below(150)).unwrap();
            let day = 1 + random.below(3);
            let cancelled = random.below(4) == 0;
            json!({
                "order_id": format!("o{number}"), "fulfilment": "delivery", "store_id": 1,
                "customer_id": if random.below(10) == 0 { Value::Null } else { json!(format!("c{customer}")) },
                "currency": if random.below(5) == 0 { "EUR" } else { "PLN" },
                "business_date": format!("2025-11-{day:02}"), "placed_at": format!("2025-11-{day:02}T12:00:00Z"),
                "latitude": homes[customer].0, "longitude": homes[customer].1, "total": "10.00", "revenue": "10.00",
                "is_completed": !cancelled, "is_cancelled": cancelled, "is_late": false, "is_new_customer": false,
            })
        })
        .chain(alone)
        .collect()
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

async fn publish(models: &ModelSet, seed: u64) -> Published {
    let (config, sources) = (config(), sources(&config()));
    let parameters = [("k_anonymity", K.to_string()), ("gap_cancel_percent", "0".to_owned())];
    let parameters = config.parameters.clone().into_iter().chain(parameters.map(|(name, value)| (name.to_owned(), value))).collect();
    let mut runner = Runner::new(models, &sources, &parameters);
    runner.is_brief = true;
    let suburb = ["23", "27", "2b", "2f", "33"].map(|last| format!("SELECT '891f5226d{last}ffff' AS cell")).join(" UNION ALL ");
    let suburb = runner.rows(&format!("SELECT h3_center_lat(cell), h3_center_lng(cell) FROM ({suburb})")).await.unwrap();
    let place =
        |line: &String| line.split_once('|').map(|(latitude, longitude)| (latitude.parse().unwrap(), longitude.parse().unwrap())).unwrap();
    let suburb: Vec<(f64, f64)> = suburb.iter().map(place).collect();
    runner.give(&table("orders"), &json!({}), &orders(seed, &suburb)).unwrap();
    runner.give(&table("stores"), &json!({}), &[]).unwrap();
    for name in ["coverage_orders", "coverage_gaps", "coverage_orders_published", "coverage_gaps_published"] {
        runner.model(&table(name)).await.unwrap();
    }
    let key = |values: &[&str]| (values[0].to_owned(), values[1].parse().unwrap(), values[2].to_owned(), values[3].to_owned());
    let (mut exact, mut shown, mut parents, mut gaps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), Vec::new());
    for line in runner
        .rows("SELECT business_date, resolution, cell, currency, orders, h3_parent(cell, resolution - 1) FROM coverage_orders")
        .await
        .unwrap()
    {
        let values: Vec<&str> = line.split('|').collect();
        let own: Key = key(&values);
        let parent = (own.1 > 7).then(|| (own.0.clone(), own.1 - 1, values[5].to_owned(), own.3.clone()));
        exact.insert(own.clone(), (values[4].parse().unwrap(), BTreeSet::new()));
        parents.insert(own, parent);
    }
    let customers = "SELECT business_date, resolution, h3_parent(h3_cell(latitude, longitude, 9), resolution), currency, customer_id
        FROM (SELECT *, unnest(parameter_ints('resolutions', '')) AS resolution FROM orders) WHERE customer_id IS NOT NULL";
    for line in runner.rows(customers).await.unwrap() {
        let values: Vec<&str> = line.split('|').collect();
        let found: &mut (i128, BTreeSet<String>) = exact.get_mut(&key(&values)).unwrap();
        found.1.insert(values[4].to_owned());
    }
    for line in runner.rows("SELECT business_date, resolution, cell, currency, orders FROM coverage_orders_published").await.unwrap() {
        let values: Vec<&str> = line.split('|').collect();
        shown.insert(key(&values), values[4].parse().ok());
    }
    for line in runner.rows("SELECT cell, attempts FROM coverage_gaps_published WHERE attempts IS NOT NULL").await.unwrap() {
        let (cell, attempts) = line.split_once('|').unwrap();
        let days = exact.keys().filter(|key: &&Key| key.2 == cell).cloned().collect();
        gaps.push((cell.to_owned(), attempts.parse().unwrap(), days));
    }
    let gaps_in_all = runner.rows("SELECT cell FROM coverage_gaps_published").await.unwrap().len();
    Published { exact, shown, parents, gaps, gaps_in_all }
}

/// The models with another statement in the place of a part of one of them.
fn mutated(folder: &Path, file: &str, from: &str, to: &str) -> ModelSet {
    copy(&root().join("sql"), folder);
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has {from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    ModelSet::load(folder, &config().parameters, None).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

#[tokio::test]
async fn no_suppressed_number_can_be_found_out_from_all_that_is_published() {
    let models = models(&config());
    let (mut visible, mut suppressed, mut gaps) = ([0, 0, 0], 0, (0, 0));
    for seed in 0..SEEDS {
        let published = publish(&models, seed).await;
        let found = published.attacked();
        assert!(found.numbers.is_empty() && found.sums.is_empty(), "seed {seed}: {found:?}");
        assert!(found.unknowns > 20 && found.equations > 20, "seed {seed}: {found:?}");
        for (key, shown) in &published.shown {
            match shown {
                Some(orders) => {
                    visible[usize::try_from(key.1 - 7).unwrap()] += 1;
                    assert_eq!(*orders, published.exact[key].0, "what is shown is exact");
                    assert!(published.exact[key].1.len() >= K, "{key:?}");
                }
                None => suppressed += 1,
            }
        }
        gaps = (gaps.0 + published.gaps.len(), gaps.1 + published.gaps_in_all);
    }
    println!("{SEEDS} towns: {visible:?} visible cells by resolution, {suppressed} suppressed, {gaps:?} gaps with counts, of all");
    // The test would pass, too, if nothing were shown.
    assert!(visible.iter().all(|cells| *cells > 10) && suppressed > 100 && gaps.1 > 3, "{visible:?} {suppressed} {gaps:?}");
}

#[tokio::test]
async fn each_part_of_the_rule_keeps_somebody_from_finding_numbers() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mutated");
    let cells = "coverage/coverage_orders_published.sql";
    let mutations = [
        // No cell is hidden to hide another one.
        ("complement", cells, "is_small OR (small_siblings = 1 AND position = 1)", "is_small"),
        // Cells of one order each.
        ("ones", cells, "OR coalesce(n.orders = f.cells, false)", ""),
        // Counts of gaps, whatever their days show.
        (
            "gaps",
            "coverage/coverage_gaps_published.sql",
            "NOT d.has_suppressed\n                AND g.attempts = d.orders\n                AND g.completed = d.completed\n                AND g.cancelled = d.cancelled\n                AND g.late_orders = d.late_orders",
            "true",
        ),
    ];
    for (name, file, from, to) in mutations {
        let models = mutated(&folder.join(name), file, from, to);
        let (mut numbers, mut sums) = (0, 0);
        for seed in 0..SEEDS {
            let found = publish(&models, seed).await.attacked();
            (numbers, sums) = (numbers + found.numbers.len(), sums + found.sums.len());
        }
        println!("without {name}: {numbers} numbers and {sums} small sums");
        assert!(numbers > 0, "without {name}, the attacker finds nothing: {sums} sums");
    }
}
