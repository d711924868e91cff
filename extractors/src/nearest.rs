//! What a mistyped name was meant to be.

/// Most letters that may differ.
const DISTANCE_MAX: usize = 3;

/// The name most like `wanted`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    // Short names must not turn into any other short name.
    let distance_max = DISTANCE_MAX.min(wanted.chars().count() / 2);
    names
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance: insertions, deletions and substitutions of letters.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (place, l) in left.chars().enumerate() {
        let mut diagonal = place;
        let mut last = place + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (slot, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let here = (diagonal + usize::from(l != r)).min(last + 1).min(*slot + 1);
            diagonal = *slot;
            *slot = here;
            last = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("payments.transaction", ["admin.stores", "payments.transactions"].into_iter()), Some("payments.transactions"));
        assert_eq!(nearest("id", ["at", "by"].into_iter()), None);
    }
}
