//! Enumerated types whose values travel as numbers.
//!
//! A label costs the server a look into its catalog for every value (enum.c enum_send); `hashenum(value)` costs it a few instructions
//! (hashfunc.c: a hash of the value's object identifier). For a table with three such columns this is an eighth of the server's work.

use super::unfit::Unfit;
use super::wire::exactly;

/// The labels of one enumerated type by the number that stands for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<(i32, Box<[u8]>)>);

impl Labels {
    /// None if there is no label, or one number stands for two.
    #[must_use]
    pub fn new(labels: impl IntoIterator<Item = (i32, String)>) -> Option<Self> {
        let mut labels: Vec<(i32, Box<[u8]>)> =
            labels.into_iter().map(|(number, label)| (number, label.into_bytes().into_boxed_slice())).collect();
        labels.sort_unstable();
        let is_distinct = labels.windows(2).all(|pair| matches!(pair, [left, right] if left.0 != right.0));
        (is_distinct && !labels.is_empty()).then_some(Self(labels))
    }

    /// The label, in UTF-8, that the four bytes of a number stand for; None if the number is new.
    pub(super) fn of(&self, bytes: &[u8]) -> Result<Option<&[u8]>, Unfit> {
        let number = i32::from_be_bytes(exactly(bytes)?);
        let found = self.0.binary_search_by_key(&number, |(number, _)| *number);
        Ok(found.ok().and_then(|place| self.0.get(place)).map(|(_, label)| &**label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_labels() {
        let labels = Labels::new([(7, "refund".to_owned()), (-3, "capture".to_owned())]).unwrap();
        assert_eq!(labels.of(&(-3_i32).to_be_bytes()), Ok(Some(&b"capture"[..])));
        assert_eq!(labels.of(&7_i32.to_be_bytes()), Ok(Some(&b"refund"[..])));
        assert_eq!(labels.of(&8_i32.to_be_bytes()), Ok(None));
        assert!(labels.of(b"refund").is_err());
    }

    #[test]
    fn a_number_for_two_labels_is_for_none() {
        assert_eq!(Labels::new([(7, "refund".to_owned()), (7, "capture".to_owned())]), None);
        assert_eq!(Labels::new([]), None);
    }
}
