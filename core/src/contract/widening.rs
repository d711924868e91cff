//! Which types hold all that others do.

use arrow::datatypes::DataType;

/// Whether `wider` holds every value of `narrow` exactly.
#[must_use]
pub fn holds(wider: &DataType, narrow: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    // Digits that whole numbers of a type need.
    let digits = |data_type: &DataType| match data_type {
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (wider, narrow) {
        (Int32, Int16) | (Int64, Int16 | Int32) | (Float64, Float32 | Int16 | Int32) | (Float32, Int16) => true,
        (Decimal128(precision, scale), Decimal128(narrow_precision, narrow_scale)) => {
            scale >= narrow_scale && i16::from(*precision) - i16::from(*scale) >= i16::from(*narrow_precision) - i16::from(*narrow_scale)
        }
        (Decimal128(precision, scale), whole) => digits(whole).is_some_and(|digits| i16::from(*precision) - i16::from(*scale) >= digits),
        (DataType::List(wider), DataType::List(narrow)) => {
            let (wider, narrow) = (wider.data_type(), narrow.data_type());
            wider == narrow || holds(wider, narrow)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ColumnType;

    #[test]
    fn wider_types_hold_every_value_exactly() {
        let holds = |wider: &str, narrow: &str| {
            let arrow = |text: &str| text.parse::<ColumnType>().unwrap().arrow();
            holds(&arrow(wider), &arrow(narrow))
        };
        for (wider, narrow) in [
            ("bigint", "int"),
            ("int", "smallint"),
            ("double", "real"),
            ("double", "int"),
            ("decimal(14,4)", "decimal(12,2)"),
            ("decimal(21,2)", "bigint"),
            ("list<bigint>", "list<int>"),
        ] {
            assert!(holds(wider, narrow) && !holds(narrow, wider), "{narrow} to {wider}");
        }
        for (wider, narrow) in
            [("double", "bigint"), ("decimal(12,4)", "decimal(12,2)"), ("decimal(20,2)", "bigint"), ("text", "int"), ("timestamp", "date")]
        {
            assert!(!holds(wider, narrow), "{narrow} to {wider}");
        }
    }
}
