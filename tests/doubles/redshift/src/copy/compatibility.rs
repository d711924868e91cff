//! Which Parquet column loads into which table column. Redshift converts nothing: the physical type, the decimal's
//! precision and scale, and the timestamp's kind must be the column's own. Where no observation of the service is
//! known, the double refuses: what loads here is meant to load there.

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type as ParquetType;

use super::failure::{CODE_SCHEMA, LoadFailure};
use crate::sql::data_type::DataType;

/// A table's column that a load fills.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: DataType,
    pub(crate) not_null: bool,
}

impl Target {
    /// The type as SYS_LOAD_ERROR_DETAIL shows it.
    pub(crate) fn short_type(&self) -> String {
        let text = self.kind.to_string();
        text.split('(').next().unwrap_or_default().replace("character varying", "varchar").replace("character", "char")
    }

    /// The length as SYS_LOAD_ERROR_DETAIL shows it.
    pub(crate) fn length(&self) -> String {
        match self.kind {
            DataType::Char { bytes } | DataType::Varchar { bytes } | DataType::Varbyte { bytes, .. } => bytes.to_string(),
            DataType::Decimal { precision, scale } => format!("{precision},{scale}"),
            _ => String::new(),
        }
    }
}

/// A file in failures' texts: where it is, and its columns' places.
pub(crate) struct File<'a> {
    /// `https://s3.region.amazonaws.com/bucket/key`
    pub(crate) url: &'a str,
    /// `s3://bucket/key`
    pub(crate) path: &'a str,
}

/// Checks one top-level column. `index` counts from 0.
pub(crate) fn check(
    file: &File<'_>,
    index: usize,
    field: &ParquetType,
    target: &Target,
    serialize_to_json: bool,
) -> Result<(), LoadFailure> {
    if target.kind == DataType::Super {
        if !serialize_to_json {
            let text = "SUPER column in COPY query requires SERIALIZETOJSON option";
            return Err(LoadFailure { error: text.to_owned(), ..LoadFailure::scan(CODE_SCHEMA, file.path, text) }.on_column(
                &target.name,
                "super",
                "",
            ));
        }
        return Ok(());
    }
    let mismatch = || {
        let context = format!(
            "File '{}' has an incompatible Parquet schema for column '{}.{}'. Column type: {}, Parquet schema:\n{}",
            file.url,
            file.path,
            target.name,
            column_type(&target.kind),
            describe(field, index)
        );
        LoadFailure::scan(CODE_SCHEMA, file.path, context).on_column(&target.name, &target.short_type(), target.length())
    };
    if !field.is_primitive() || field.get_basic_info().repetition() == Repetition::REPEATED {
        return Err(mismatch());
    }
    if let DataType::Decimal { precision, scale } = target.kind {
        return decimal(file, field, target, precision, scale).map_err(|found| found.unwrap_or_else(mismatch));
    }
    if accepts(&target.kind, field) { Ok(()) } else { Err(mismatch()) }
}

fn accepts(kind: &DataType, field: &ParquetType) -> bool {
    let annotation = annotation(field);
    let physical = field.get_physical_type();
    match (kind, physical, annotation) {
        (DataType::Boolean, Physical::BOOLEAN, None)
        | (DataType::Real, Physical::FLOAT, None)
        | (DataType::Double, Physical::DOUBLE, None)
        | (DataType::Integer, Physical::INT32, None)
        | (DataType::BigInt, Physical::INT64, None)
        | (DataType::Date, Physical::INT32, Some(Annotation::Date))
        // UNLOAD writes timestamps as INT96.
        | (DataType::Timestamp, Physical::INT96, _)
        | (DataType::Varbyte { bounded: false, .. }, Physical::BYTE_ARRAY, None)
        | (DataType::Char { .. } | DataType::Varchar { .. }, Physical::BYTE_ARRAY, None | Some(Annotation::Text)) => true,
        // A plain INT32 into SMALLINT is known to fail; the annotated form is in use elsewhere.
        (DataType::SmallInt, Physical::INT32, Some(Annotation::Integer { bits, signed })) => bits == 16 && signed,
        (DataType::Integer, Physical::INT32, Some(Annotation::Integer { bits, signed })) => bits == 32 && signed,
        (DataType::BigInt, Physical::INT64, Some(Annotation::Integer { bits, signed })) => bits == 64 && signed,
        // Nanoseconds load silently corrupted (apache/arrow 38000): refused here.
        (DataType::Timestamp, Physical::INT64, Some(Annotation::Timestamp { adjusted, nanoseconds })) => !adjusted && !nanoseconds,
        (DataType::TimestampTz, Physical::INT64, Some(Annotation::Timestamp { adjusted, nanoseconds })) => adjusted && !nanoseconds,
        // TIME and TIMETZ do not load from Parquet at all, nor do intervals.
        _ => false,
    }
}

/// What a field's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Annotation {
    Text,
    Date,
    Decimal {
        precision: i32,
        scale: i32,
    },
    Integer {
        bits: i8,
        signed: bool,
    },
    Timestamp {
        adjusted: bool,
        nanoseconds: bool,
    },
    /// One that no column takes.
    Other,
}

/// The annotation, also of files that only have the older form.
fn annotation(field: &ParquetType) -> Option<Annotation> {
    let info = field.get_basic_info();
    if let Some(logical) = info.logical_type_ref() {
        return Some(match logical {
            LogicalType::String | LogicalType::Enum | LogicalType::Json => Annotation::Text,
            LogicalType::Date => Annotation::Date,
            LogicalType::Decimal(kind) => Annotation::Decimal { precision: kind.precision, scale: kind.scale },
            LogicalType::Integer(kind) => Annotation::Integer { bits: kind.bit_width, signed: kind.is_signed },
            LogicalType::Timestamp(kind) => {
                Annotation::Timestamp { adjusted: kind.is_adjusted_to_u_t_c, nanoseconds: matches!(kind.unit, TimeUnit::NANOS) }
            }
            _ => Annotation::Other,
        });
    }
    let integer = |bits, signed| Some(Annotation::Integer { bits, signed });
    match info.converted_type() {
        ConvertedType::NONE => None,
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Some(Annotation::Text),
        ConvertedType::DATE => Some(Annotation::Date),
        ConvertedType::INT_8 => integer(8, true),
        ConvertedType::INT_16 => integer(16, true),
        ConvertedType::INT_32 => integer(32, true),
        ConvertedType::INT_64 => integer(64, true),
        ConvertedType::UINT_8 => integer(8, false),
        ConvertedType::UINT_16 => integer(16, false),
        ConvertedType::UINT_32 => integer(32, false),
        ConvertedType::UINT_64 => integer(64, false),
        ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIMESTAMP_MILLIS => {
            Some(Annotation::Timestamp { adjusted: true, nanoseconds: false })
        }
        ConvertedType::DECIMAL => match field {
            ParquetType::PrimitiveType { precision, scale, .. } => Some(Annotation::Decimal { precision: *precision, scale: *scale }),
            ParquetType::GroupType { .. } => Some(Annotation::Other),
        },
        _ => Some(Annotation::Other),
    }
}

/// `Err(None)` is the general mismatch.
fn decimal(file: &File<'_>, field: &ParquetType, target: &Target, precision: u32, scale: u32) -> Result<(), Option<LoadFailure>> {
    let Some(Annotation::Decimal { precision: file_precision, scale: file_scale }) = annotation(field) else { return Err(None) };
    let failure = |text: String| {
        let context = format!("File '{}' column '{}' {text}", file.url, target.name);
        Some(LoadFailure::scan(CODE_SCHEMA, file.path, context).on_column(&target.name, &target.short_type(), target.length()))
    };
    match field.get_physical_type() {
        // Decimals in INT32 have not been seen to load: refused until they have.
        Physical::INT64 if precision <= 18 => {}
        Physical::FIXED_LEN_BYTE_ARRAY => {
            let ParquetType::PrimitiveType { type_length, .. } = field else { return Err(None) };
            let expected = decimal_bytes(precision);
            if *type_length != expected {
                return Err(failure(format!("has an invalid type length. Expecting: {expected} len in file: {type_length}")));
            }
        }
        _ => return Err(None),
    }
    if u32::try_from(file_scale).ok() != Some(scale) {
        return Err(failure(format!(
            "has a scale that does not match the table metadata scale. File metadata scale: {file_scale} Table metadata scale: {scale}"
        )));
    }
    if u32::try_from(file_precision).ok() != Some(precision) {
        return Err(failure(format!(
            "has a precision that does not match the table metadata precision. File metadata precision: {file_precision} Table metadata precision: {precision}"
        )));
    }
    Ok(())
}

/// The fewest bytes that hold a signed number of so many digits.
fn decimal_bytes(precision: u32) -> i32 {
    let largest = 10_i128.checked_pow(precision).map_or(i128::MAX, |power| power - 1);
    (1..=16).find(|bytes| *bytes == 16 || largest < 1_i128 << (8 * bytes - 1)).unwrap_or(16)
}

fn column_type(kind: &DataType) -> String {
    kind.to_string()
        .to_uppercase()
        .replace("CHARACTER VARYING", "VARCHAR")
        .replace("CHARACTER", "CHAR")
        .replace("NUMERIC", "DECIMAL")
        .replace("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP")
        .replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
}

/// A field as the scanner prints it: `optional int64 id [i:0 d:1 r:0]`.
fn describe(field: &ParquetType, index: usize) -> String {
    let info = field.get_basic_info();
    let repetition = if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED };
    let (word, definition, repeated) = match repetition {
        Repetition::REQUIRED => ("required", 0, 0),
        Repetition::OPTIONAL => ("optional", 1, 0),
        Repetition::REPEATED => ("repeated", 1, 1),
    };
    let kind = if field.is_primitive() { field.get_physical_type().to_string().to_lowercase() } else { "group".to_owned() };
    format!("{word} {kind} {} [i:{index} d:{definition} r:{repeated}]", field.name())
}

#[cfg(test)]
mod tests {
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn failure(kind: DataType, field: &str) -> Option<String> {
        let message = parse_message_type(&format!("message m {{ {field} }}")).unwrap();
        let target = Target { name: "c".into(), kind, not_null: false };
        let file = File { url: "https://s3.eu-west-1.amazonaws.com/b/k.parquet", path: "s3://b/k.parquet" };
        check(&file, 0, &message.get_fields()[0], &target, false).err().map(|failure| failure.context)
    }

    const DECIMAL_18_2: DataType = DataType::Decimal { precision: 18, scale: 2 };

    #[test]
    fn equal_types_load() {
        for (kind, field) in [
            (DataType::Boolean, "optional boolean c;"),
            (DataType::SmallInt, "optional int32 c (INTEGER(16, true));"),
            (DataType::Integer, "required int32 c;"),
            (DataType::Integer, "optional int32 c (INT_32);"),
            (DataType::BigInt, "optional int64 c;"),
            (DataType::Real, "optional float c;"),
            (DataType::Double, "optional double c;"),
            (DECIMAL_18_2, "optional int64 c (DECIMAL(18, 2));"),
            (DataType::Decimal { precision: 38, scale: 4 }, "optional fixed_len_byte_array(16) c (DECIMAL(38, 4));"),
            (DataType::Decimal { precision: 20, scale: 0 }, "optional fixed_len_byte_array(9) c (DECIMAL(20, 0));"),
            (DataType::Varchar { bytes: 10 }, "optional binary c (STRING);"),
            (DataType::Varchar { bytes: 10 }, "optional binary c;"),
            (DataType::Char { bytes: 3 }, "optional binary c (UTF8);"),
            (DataType::Date, "optional int32 c (DATE);"),
            (DataType::Timestamp, "optional int64 c (TIMESTAMP(MICROS, false));"),
            (DataType::Timestamp, "optional int64 c (TIMESTAMP(MILLIS, false));"),
            (DataType::Timestamp, "optional int96 c;"),
            (DataType::TimestampTz, "optional int64 c (TIMESTAMP(MICROS, true));"),
            (DataType::TimestampTz, "optional int64 c (TIMESTAMP_MICROS);"),
            (DataType::Varbyte { bytes: 64_000, bounded: false }, "optional binary c;"),
        ] {
            assert_eq!(failure(kind.clone(), field), None, "{kind} {field}");
        }
    }

    #[test]
    fn nothing_is_widened_narrowed_or_converted() {
        for (kind, field) in [
            (DataType::SmallInt, "optional int32 c;"),
            (DataType::Integer, "optional int64 c;"),
            (DataType::BigInt, "optional int32 c;"),
            (DataType::BigInt, "optional int64 c (INTEGER(64, false));"),
            (DataType::Integer, "optional int32 c (INTEGER(32, false));"),
            (DataType::Integer, "optional int32 c (INTEGER(8, true));"),
            (DataType::Integer, "optional int32 c (DATE);"),
            (DataType::BigInt, "optional fixed_len_byte_array(9) c (DECIMAL(20, 0));"),
            (DataType::Real, "optional double c;"),
            (DataType::Double, "optional float c;"),
            (DECIMAL_18_2, "optional double c;"),
            (DECIMAL_18_2, "optional int64 c;"),
            (DECIMAL_18_2, "optional int64 c (DECIMAL(18, 3));"),
            (DECIMAL_18_2, "optional int64 c (DECIMAL(12, 2));"),
            (DataType::Decimal { precision: 9, scale: 2 }, "optional int32 c (DECIMAL(9, 2));"),
            (DataType::Date, "optional int32 c;"),
            (DataType::Timestamp, "optional int64 c (TIMESTAMP(NANOS, false));"),
            (DataType::Timestamp, "optional int64 c (TIMESTAMP(MICROS, true));"),
            (DataType::TimestampTz, "optional int64 c (TIMESTAMP(MICROS, false));"),
            (DataType::TimestampTz, "optional int64 c (TIMESTAMP(NANOS, true));"),
            (DataType::Timestamp, "optional int64 c;"),
            (DataType::Time, "optional int64 c (TIME(MICROS, false));"),
            (DataType::Time, "optional int32 c (TIME(MILLIS, false));"),
            (DataType::Varbyte { bytes: 10, bounded: true }, "optional binary c;"),
            (DataType::Varchar { bytes: 10 }, "optional fixed_len_byte_array(4) c;"),
            (DataType::Varchar { bytes: 10 }, "optional int32 c;"),
            (DataType::Varchar { bytes: 10 }, "optional group c { optional int32 x; }"),
            (DataType::BigInt, "repeated int64 c;"),
            (DataType::BigInt, "optional group c (LIST) { repeated group list { optional int64 element; } }"),
        ] {
            assert!(failure(kind.clone(), field).is_some(), "{kind} {field}");
        }
    }

    #[test]
    fn mismatches_are_told_in_the_scanners_words() {
        assert_eq!(
            failure(DataType::BigInt, "optional int32 c;").unwrap(),
            "File 'https://s3.eu-west-1.amazonaws.com/b/k.parquet' has an incompatible Parquet schema for column 's3://b/k.parquet.c'. Column type: BIGINT, Parquet schema:\noptional int32 c [i:0 d:1 r:0]"
        );
        assert!(
            failure(DataType::Decimal { precision: 18, scale: 9 }, "optional fixed_len_byte_array(13) c (DECIMAL(29, 9));")
                .unwrap()
                .ends_with("column 'c' has an invalid type length. Expecting: 8 len in file: 13")
        );
        assert_eq!(
            failure(DataType::Super, "optional binary c (STRING);").unwrap(),
            "SUPER column in COPY query requires SERIALIZETOJSON option"
        );
    }

    #[test]
    fn decimals_take_the_fewest_bytes() {
        assert_eq!([1, 2, 3, 9, 10, 18, 19, 20, 28, 38].map(decimal_bytes), [1, 1, 2, 4, 5, 8, 9, 9, 12, 16]);
    }
}
