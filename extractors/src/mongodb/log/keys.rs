//! The identifiers of changed documents, each once, as the server compares them.

use std::collections::HashMap;

use ::bson::{Bson, RawDocumentBuf, doc};

/// Identifiers that one slice reads: few enough for one command, whose document may have 16 MB.
const CHUNK_IDENTIFIERS_MAX: usize = 10_000;

/// Bytes of identifiers that one slice reads.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What makes two identifiers the same. The server compares numbers by their value, whatever type they have
/// (<https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/#numeric-types>): 1, 1.0 and a decimal 1 cannot be
/// the `_id` of three documents, but they can be of one that was deleted and made anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::mongodb) enum Identity {
    Whole(i64),
    Bytes(Box<[u8]>),
}

impl Identity {
    /// None if the value cannot be written, which a value that was read can.
    pub(in crate::mongodb) fn of(value: &Bson) -> Option<Self> {
        let whole = match value {
            Bson::Int32(number) => Some(i64::from(*number)),
            Bson::Int64(number) => Some(*number),
            #[expect(clippy::cast_possible_truncation, reason = "the cast back tells whether it was exact")]
            Bson::Double(number) => Some(*number as i64).filter(|whole| exactly(*whole, *number)),
            Bson::Decimal128(number) => number.to_string().parse().ok(),
            _ => None,
        };
        match whole {
            Some(whole) => Some(Self::Whole(whole)),
            None => Some(Self::Bytes(document_of(value)?.as_bytes().into())),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "whether precision is lost is the question")]
fn exactly(whole: i64, number: f64) -> bool {
    // The greatest i64 is no double: what rounds to it would not be the same number.
    whole != i64::MAX && whole as f64 == number
}

/// The document that has nothing but its identifier.
pub(in crate::mongodb) fn document_of(identifier: &Bson) -> Option<RawDocumentBuf> {
    RawDocumentBuf::try_from(&doc! {"_id": identifier}).ok()
}

/// Identifiers, each once. The last spelling counts: it is that of the document that is there now.
#[derive(Debug, Default)]
pub(in crate::mongodb) struct Identifiers(HashMap<Identity, Bson>);

impl Identifiers {
    pub(in crate::mongodb) fn add(&mut self, identifier: Bson) {
        if let Some(identity) = Identity::of(&identifier) {
            self.0.insert(identity, identifier);
        }
    }

    pub(in crate::mongodb) fn len(&self) -> usize {
        self.0.len()
    }

    /// In parts that one command can ask for.
    pub(in crate::mongodb) fn chunks(self) -> Vec<Vec<Bson>> {
        let mut identifiers: Vec<(Box<[u8]>, Bson)> =
            self.0.into_values().filter_map(|identifier| Some((document_of(&identifier)?.as_bytes().into(), identifier))).collect();
        // Neighbours are read together, and a reading repeated is the same.
        identifiers.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut chunks: Vec<Vec<Bson>> = Vec::new();
        let mut bytes = 0;
        for (written, identifier) in identifiers {
            match chunks.last_mut() {
                Some(chunk) if chunk.len() < CHUNK_IDENTIFIERS_MAX && bytes + written.len() <= CHUNK_BYTES_MAX => {
                    bytes += written.len();
                    chunk.push(identifier);
                }
                _ => {
                    bytes = written.len();
                    chunks.push(vec![identifier]);
                }
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::Decimal128;

    #[test]
    fn numbers_are_the_same_by_value_and_everything_else_by_its_bytes() {
        let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
        let one = Identity::of(&Bson::Int32(1));
        for same in [Bson::Int64(1), Bson::Double(1.0), decimal("1")] {
            assert_eq!(Identity::of(&same), one, "{same:?}");
        }
        let different = [
            Bson::Double(1.5),
            Bson::Double(f64::NAN),
            Bson::Double(9_223_372_036_854_775_807.0),
            Bson::Int64(i64::MAX),
            decimal("1.5"),
            Bson::String("1".into()),
            Bson::Null,
            Bson::Document(doc! {"a": 1}),
            Bson::Document(doc! {"a": 1_i64}),
        ];
        let mut identifiers = Identifiers::default();
        for value in &different {
            assert_ne!(Identity::of(value), one, "{value:?}");
            identifiers.add(value.clone());
        }
        assert_eq!(identifiers.len(), different.len());
    }

    #[test]
    fn chunks_are_bounded_and_hold_every_identifier_once() {
        let mut identifiers = Identifiers::default();
        for n in (0..25_000).chain(0..10) {
            identifiers.add(Bson::Int32(n));
        }
        let chunks = identifiers.chunks();
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [10_000, 10_000, 5_000]);
        let mut long = Identifiers::default();
        for n in 0..9 {
            long.add(Bson::String(format!("{n}{}", "x".repeat(1 << 20))));
        }
        assert!(long.chunks().iter().all(|chunk| chunk.len() <= 4));
    }
}
