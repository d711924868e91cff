//! Which cells of a map show numbers: the rule of `coverage_orders_published`, for steps of any number of days.
//!
//! The cells of one step and currency are judged by themselves. Nothing on a map adds up the same cells over several steps but the steps that are shown, so that what
//! one of them hides no other tells.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_core::config::{CONFIG, Config};
use pipeline_core::error::{Error, Result};
use pipeline_transforms::functions::geo::{CellIndex, Resolution};

/// The parameter, and its value if the configuration has none.
const PARAMETER: (&str, i64) = ("k_anonymity", 5);

/// How many customers a cell must have to show numbers; 1 or less shows all.
///
/// # Errors
/// [`CONFIG`] if the parameter is no whole number.
pub(crate) fn customers_min(config: &Config) -> Result<i64> {
    let (name, default) = PARAMETER;
    config.parameters.get(name).map_or(Ok(default), |text| {
        text.trim().parse().map_err(|_| Error::new(&CONFIG, format!("parameter \"{name}\" is \"{text}\", which is no whole number")))
    })
}

/// What a map shows of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showing {
    /// Its numbers.
    Shown,
    /// That it is there.
    Hidden,
    /// Nothing.
    Unlisted,
}

/// A cell of one step and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) index: CellIndex,
    pub(crate) orders: i64,
    /// Different ones.
    pub(crate) customers: i64,
}

/// Judges all cells of one step and currency, in all resolutions that are shown.
pub(crate) fn judge(cells: &[Cell], customers_min: i64) -> Vec<Showing> {
    if customers_min <= 1 {
        return vec![Showing::Shown; cells.len()];
    }
    let resolutions: BTreeSet<Resolution> = cells.iter().map(|cell| cell.index.resolution()).collect();
    // Coarser ones first.
    let around = |index: CellIndex| resolutions.range(..index.resolution()).filter_map(move |coarser| index.parent(*coarser));
    let parent = |cell: &Cell| around(cell.index).next_back();
    let mut families: BTreeMap<Option<CellIndex>, Vec<usize>> = BTreeMap::new();
    for (position, cell) in cells.iter().enumerate() {
        families.entry(parent(cell)).or_default().push(position);
    }
    // As many orders as cells of the finest resolution: each of these has one.
    let mut finest: BTreeMap<CellIndex, i64> = BTreeMap::new();
    let last = resolutions.last().copied();
    for cell in cells.iter().filter(|cell| Some(cell.index.resolution()) == last) {
        for coarser in around(cell.index) {
            *finest.entry(coarser).or_default() += 1;
        }
    }
    let is_small = |cell: &Cell| cell.customers < customers_min || finest.get(&cell.index) == Some(&cell.orders);
    let mut hidden: BTreeSet<CellIndex> = BTreeSet::new();
    for family in families.values() {
        let (small, large): (Vec<&Cell>, Vec<&Cell>) = family.iter().map(|position| &cells[*position]).partition(|cell| is_small(cell));
        let least = large.into_iter().min_by_key(|cell| (cell.customers, cell.index)).filter(|_| !small.is_empty());
        hidden.extend(small.into_iter().chain(least).map(|cell| cell.index));
    }
    if cells.iter().all(|cell| parent(cell).is_some() || is_small(cell)) {
        return vec![Showing::Unlisted; cells.len()];
    }
    let is_hidden = |cell: &Cell| hidden.contains(&cell.index) || around(cell.index).any(|around| hidden.contains(&around));
    cells.iter().map(|cell| if is_hidden(cell) { Showing::Hidden } else { Showing::Shown }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 0x871_f53c_93ff_ffff;
    const A1: u64 = 0x881_f53c_931f_ffff;
    const A2: u64 = 0x881_f53c_933f_ffff;
    const A3: u64 = 0x881_f53c_935f_ffff;
    const B: u64 = 0x871_f522_6dff_ffff;
    const C: u64 = 0x871_f522_6cff_ffff;

    fn cell(index: u64, orders: i64, customers: i64) -> Cell {
        Cell { index: CellIndex::try_from(index).unwrap(), orders, customers }
    }

    fn words(cells: &[Cell]) -> String {
        judge(cells, 3)
            .into_iter()
            .map(|showing| match showing {
                Showing::Shown => 's',
                Showing::Hidden => 'h',
                Showing::Unlisted => '-',
            })
            .collect()
    }

    #[test]
    fn the_least_visible_cell_is_hidden_beside_a_small_one() {
        assert_eq!(words(&[cell(A, 50, 40), cell(B, 9, 7), cell(C, 1, 1)]), "shh");
        assert_eq!(words(&[cell(A, 50, 40), cell(A1, 20, 20), cell(A2, 20, 19), cell(A3, 10, 1)]), "sshh");
        assert_eq!(words(&[cell(A, 50, 40), cell(B, 9, 7)]), "ss", "none is small");
        assert_eq!(words(&[cell(A, 9, 5), cell(A1, 5, 2), cell(A2, 4, 2)]), "shh", "all that there is");
    }

    #[test]
    fn what_lies_in_a_hidden_cell_is_hidden() {
        assert_eq!(words(&[cell(B, 90, 80), cell(A, 50, 40), cell(A1, 50, 40), cell(C, 8, 0)]), "shhh");
    }

    #[test]
    fn cells_of_one_order_each_are_not_told_by_their_number() {
        assert_eq!(words(&[cell(B, 90, 80), cell(C, 8, 8), cell(A, 3, 3), cell(A1, 1, 1), cell(A2, 1, 1), cell(A3, 1, 1)]), "shhhhh");
    }

    #[test]
    fn nothing_is_said_where_nothing_could_be_shown() {
        assert_eq!(words(&[cell(A, 50, 2), cell(B, 2, 2)]), "--");
        assert_eq!(judge(&[cell(A, 5, 0)], 1), [Showing::Shown], "1 shows all");
    }
}
