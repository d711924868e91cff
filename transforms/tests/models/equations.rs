//! What linear equations say of their unknowns: which sums of them have a known value.

use std::collections::BTreeMap;

/// A number as a fraction: numerator, and denominator above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fraction(i128, i128);

impl Fraction {
    const ZERO: Self = Self(0, 1);
    pub(crate) const ONE: Self = Self(1, 1);

    pub(crate) fn new(numerator: i128, denominator: i128) -> Self {
        let (mut a, mut b) = (numerator.abs(), denominator.abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let sign = denominator.signum();
        Self(sign * numerator / a.max(1), sign * denominator / a.max(1))
    }

    fn times(self, other: Self) -> Self {
        Self::new(self.0 * other.0, self.1 * other.1)
    }

    fn over(self, other: Self) -> Self {
        Self::new(self.0 * other.1, self.1 * other.0)
    }

    fn minus(self, other: Self) -> Self {
        Self::new(self.0 * other.1 - other.0 * self.1, self.1 * other.1)
    }
}

/// A combination of unknowns whose value is known.
pub(crate) type Equation = BTreeMap<usize, Fraction>;

fn subtract(from: &mut Equation, what: &Equation, factor: Fraction) {
    for (unknown, coefficient) in what {
        let left = from.get(unknown).copied().unwrap_or(Fraction::ZERO).minus(coefficient.times(factor));
        if left == Fraction::ZERO {
            from.remove(unknown);
        } else {
            from.insert(*unknown, left);
        }
    }
}

/// The reduced row echelon form: each row has a pivot, by which it is kept, that no other row has. So a combination of the equations is the sum of the
/// rows of the pivots in it, each as often as the pivot.
pub(crate) fn reduced(equations: Vec<Equation>) -> BTreeMap<usize, Equation> {
    let mut rows: BTreeMap<usize, Equation> = BTreeMap::new();
    for mut equation in equations {
        let pivots: Vec<usize> = equation.keys().copied().filter(|unknown| rows.contains_key(unknown)).collect();
        for pivot in pivots {
            let factor = equation[&pivot];
            subtract(&mut equation, &rows[&pivot], factor);
        }
        let Some((pivot, first)) = equation.first_key_value().map(|(pivot, first)| (*pivot, *first)) else { continue };
        equation.values_mut().for_each(|coefficient| *coefficient = coefficient.over(first));
        for row in rows.values_mut() {
            if let Some(factor) = row.get(&pivot).copied() {
                subtract(row, &equation, factor);
            }
        }
        rows.insert(pivot, equation);
    }
    rows
}

/// The unknowns of a combination that has each of them once.
pub(crate) fn plain_sum(combination: &Equation) -> Option<Vec<usize>> {
    combination.values().all(|coefficient| *coefficient == Fraction::ONE).then(|| combination.keys().copied().collect())
}

/// Shows each sum of unknowns, each of them once, whose value follows from the equations: all that one, two or three rows of the reduced system make.
/// What has more parts is a sum of such, or takes something away again.
pub(crate) fn known_sums(equations: Vec<Equation>, mut look: impl FnMut(&[usize])) {
    let rows: Vec<Equation> = reduced(equations).into_values().collect();
    let mut look = |combination: &Equation| plain_sum(combination).iter().for_each(|sum| look(sum));
    let meets = |one: &Equation, other: &Equation| one.keys().any(|unknown| other.contains_key(unknown));
    let together = |one: &Equation, other: &Equation| {
        let mut both = one.clone();
        subtract(&mut both, other, Fraction::new(-1, 1));
        both
    };
    for (first, one) in rows.iter().enumerate() {
        look(one);
        for (second, two) in rows.iter().enumerate().skip(first + 1).filter(|(_, two)| meets(one, two)) {
            let both = together(one, two);
            look(&both);
            rows.iter().skip(second + 1).filter(|three| meets(&both, three)).for_each(|three| look(&together(&both, three)));
        }
    }
}

#[test]
fn a_system_is_reduced_to_what_it_says() {
    let equation = |terms: &[(usize, i128)]| terms.iter().map(|(unknown, factor)| (*unknown, Fraction::new(*factor, 1))).collect();
    // a + b + c and b + c give a away, and d − 2e nothing.
    let system = vec![equation(&[(0, 1), (1, 1), (2, 1)]), equation(&[(1, 1), (2, 1)]), equation(&[(3, 2), (4, -4)])];
    let rows = reduced(system.clone());
    assert_eq!(plain_sum(&rows[&0]), Some(vec![0]));
    assert_eq!(plain_sum(&rows[&1]), Some(vec![1, 2]));
    assert_eq!((rows[&3].clone(), plain_sum(&rows[&3])), (equation(&[(3, 1), (4, -2)]), None));
    let mut sums = Vec::new();
    known_sums(system, |sum| sums.push(sum.to_vec()));
    assert_eq!(sums, [vec![0], vec![1, 2]]);
}
