//! What a contract's column is in Redshift, and which columns COPY cannot bring there.
//!
//! COPY neither widens nor narrows: a column's type must be the very one that the file's physical type stands for. So a type
//! whose pairing is refused, or was never seen to work, is refused here with what to declare instead:
//!
//! | contract | Redshift | why |
//! |---|---|---|
//! | `smallint` | refused | a plain INT32 into SMALLINT fails, and an annotated one is not known to work |
//! | `decimal` below 10 digits | refused | written as INT32, which is not known to work |
//! | `decimal` over 38 digits | refused | Redshift's limit |
//! | `time` | refused | COPY cannot read TIME from Parquet |
//! | `list`, `struct` | refused | would need SUPER, which analysts' tools skip |

use std::fmt;

use pipeline_core::contract::{Column, ColumnType, Contract, Privacy, TEXT_BYTES_DEFAULT};
use pipeline_core::error::{Error, Result};

/// Most bytes of a VARCHAR column.
const VARCHAR_BYTES_MAX: u32 = 65_535;

/// Bytes of a VARBYTE column without a length. A length is not given: `VARBYTE(n)` was seen to fail from Parquet.
const VARBYTE_BYTES_DEFAULT: u32 = 64_000;

/// Bytes of a hashed value: HMAC-SHA256 as hexadecimal digits.
const HASH_BYTES: u32 = 64;

/// Bytes of a UUID's text.
const UUID_BYTES: u32 = 36;

/// Fewest digits that are written as INT64, the narrowest form of a decimal that is known to load.
const DECIMAL_PRECISION_MIN: u8 = 10;

/// Most digits of a DECIMAL.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// The type that a contract's column has in Redshift, as DDL writes it.
///
/// # Errors
/// [`super::UNFIT_TYPE`] with what to declare instead.
pub fn declared_type(column: &Column) -> Result<String> {
    WarehouseType::of(column).map(|data_type| data_type.to_string())
}

/// A column's type in Redshift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WarehouseType {
    Boolean,
    Integer,
    Bigint,
    Real,
    Double,
    Decimal { precision: u8, scale: i8 },
    Varchar { bytes: u32 },
    Varbyte,
    Date,
    Timestamp,
    Timestamptz,
}

impl WarehouseType {
    /// The type of a contract's column.
    ///
    /// # Errors
    /// [`super::UNFIT_TYPE`] with what to declare instead.
    pub(super) fn of(column: &Column) -> Result<Self> {
        match column.privacy {
            Privacy::Hash => return Ok(Self::Varchar { bytes: HASH_BYTES }),
            // Asterisks; as wide as any text, so that a later, longer mask fits.
            Privacy::Mask => return Ok(Self::Varchar { bytes: TEXT_BYTES_DEFAULT }),
            Privacy::None | Privacy::Drop | Privacy::Keep => {}
        }
        let refuse = |hint: &str| {
            let what = format!("column \"{}\" of type {} cannot be loaded into Redshift", column.name, column.data_type);
            Err(Error::new(&super::UNFIT_TYPE, what).hint(hint))
        };
        match &column.data_type {
            ColumnType::Boolean => Ok(Self::Boolean),
            ColumnType::Int16 => refuse("Declare it as int: it holds the same values."),
            ColumnType::Int32 => Ok(Self::Integer),
            ColumnType::Int64 => Ok(Self::Bigint),
            ColumnType::Float32 => Ok(Self::Real),
            ColumnType::Float64 => Ok(Self::Double),
            ColumnType::Decimal { precision, scale } => match *precision {
                DECIMAL_PRECISION_MIN..=DECIMAL_PRECISION_MAX => Ok(Self::Decimal { precision: *precision, scale: *scale }),
                0..DECIMAL_PRECISION_MIN => refuse(&format!("Declare it as decimal({DECIMAL_PRECISION_MIN},{scale}) or wider.")),
                _ => refuse(&format!("Declare it as decimal({DECIMAL_PRECISION_MAX},{scale}) or narrower, or as text.")),
            },
            ColumnType::Text { bytes_max } => Ok(Self::Varchar { bytes: bytes_max.unwrap_or(TEXT_BYTES_DEFAULT).min(VARCHAR_BYTES_MAX) }),
            ColumnType::Json => Ok(Self::Varchar { bytes: VARCHAR_BYTES_MAX }),
            ColumnType::Uuid => Ok(Self::Varchar { bytes: UUID_BYTES }),
            ColumnType::Bytes => Ok(Self::Varbyte),
            ColumnType::Date => Ok(Self::Date),
            ColumnType::Time => refuse("Declare it as bigint (microseconds) or as text."),
            ColumnType::Timestamp => Ok(Self::Timestamptz),
            ColumnType::LocalTimestamp => Ok(Self::Timestamp),
            ColumnType::List(_) | ColumnType::Struct(_) => {
                refuse("Leave the table out of `publish`, unnest the column in a model, or declare it as json.")
            }
        }
    }

    /// Reads a type as `svv_columns` tells it; None for types that no contract makes.
    pub(super) fn of_catalog(data_type: &str, length: Option<u32>, precision: Option<u8>, scale: Option<i8>) -> Option<Self> {
        let name = data_type.to_ascii_lowercase();
        match name.split('(').next().unwrap_or_default().trim() {
            "boolean" | "bool" => Some(Self::Boolean),
            "integer" | "int4" | "int" => Some(Self::Integer),
            "bigint" | "int8" => Some(Self::Bigint),
            "real" | "float4" => Some(Self::Real),
            "double precision" | "float8" => Some(Self::Double),
            "numeric" | "decimal" => Some(Self::Decimal { precision: precision?, scale: scale? }),
            "character varying" | "varchar" => Some(Self::Varchar { bytes: length? }),
            "binary varying" | "varbyte" | "varbinary" => Some(Self::Varbyte),
            "date" => Some(Self::Date),
            "timestamp without time zone" | "timestamp" => Some(Self::Timestamp),
            "timestamp with time zone" | "timestamptz" => Some(Self::Timestamptz),
            _ => None,
        }
    }

    /// Most bytes a value may have, for types of varying length.
    pub(super) fn bytes_max(self) -> Option<u32> {
        match self {
            Self::Varchar { bytes } => Some(bytes),
            Self::Varbyte => Some(VARBYTE_BYTES_DEFAULT),
            _ => None,
        }
    }

    /// Whether Redshift ignores trailing blanks when it compares such values, so that their length must be compared too.
    pub(super) fn ignores_trailing_blanks(self) -> bool {
        matches!(self, Self::Varchar { .. })
    }
}

impl fmt::Display for WarehouseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Integer => f.write_str("INTEGER"),
            Self::Bigint => f.write_str("BIGINT"),
            Self::Real => f.write_str("REAL"),
            Self::Double => f.write_str("DOUBLE PRECISION"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Self::Varchar { bytes } => write!(f, "VARCHAR({bytes})"),
            Self::Varbyte => f.write_str("VARBYTE"),
            Self::Date => f.write_str("DATE"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Timestamptz => f.write_str("TIMESTAMPTZ"),
        }
    }
}

/// The types of all columns, in order.
///
/// # Errors
/// [`super::UNFIT_TYPE`] naming every column that does not fit, each with what to declare instead.
pub(super) fn column_types(contract: &Contract) -> Result<Vec<WarehouseType>> {
    let mut types = Vec::with_capacity(contract.columns.len());
    let mut unfit: Vec<Error> = Vec::new();
    for column in &contract.columns {
        match WarehouseType::of(column) {
            Ok(data_type) => types.push(data_type),
            Err(error) => unfit.push(error),
        }
    }
    let Some(first) = unfit.first() else { return Ok(types) };
    let mut error = Error::new(&super::UNFIT_TYPE, format!("table \"{}\" cannot be loaded into Redshift", contract.table));
    for one in &unfit {
        error = error.caused_by(format!("{} ({})", one.message(), one.remedy().trim_end_matches('.')));
    }
    Err(error.hint(first.remedy().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline_core::contract::parse_column;
    use pipeline_core::name::ColumnName;

    fn column(text: &str) -> Column {
        parse_column(&ColumnName::new("c").unwrap(), text, &str::to_owned).unwrap()
    }

    #[test]
    fn every_type_has_its_twin_or_a_hint() {
        for (contract, redshift) in [
            ("boolean", "BOOLEAN"),
            ("int", "INTEGER"),
            ("bigint", "BIGINT"),
            ("real", "REAL"),
            ("double", "DOUBLE PRECISION"),
            ("decimal(10,2)", "DECIMAL(10,2)"),
            ("decimal(38,9)", "DECIMAL(38,9)"),
            ("text", "VARCHAR(256)"),
            ("text(1000)", "VARCHAR(1000)"),
            ("text(65535)", "VARCHAR(65535)"),
            ("json", "VARCHAR(65535)"),
            ("uuid", "VARCHAR(36)"),
            ("bytes", "VARBYTE"),
            ("date", "DATE"),
            ("timestamp", "TIMESTAMPTZ"),
            ("local_timestamp", "TIMESTAMP"),
            ("int pii hash", "VARCHAR(64)"),
            ("text(10) pii hash", "VARCHAR(64)"),
            ("date pii mask", "VARCHAR(256)"),
            ("text(20) pii keep", "VARCHAR(20)"),
        ] {
            assert_eq!(WarehouseType::of(&column(contract)).unwrap().to_string(), redshift, "{contract}");
        }
        for (contract, hint) in [
            ("smallint", "int"),
            ("decimal(9,2)", "decimal(10,2)"),
            ("decimal(39,0)", "decimal(38,0)"),
            ("time", "bigint"),
            ("list<text>", "json"),
            ("struct<a int>", "json"),
        ] {
            let error = WarehouseType::of(&column(contract)).unwrap_err();
            assert!(error.remedy().contains(hint), "{contract}: {}", error.remedy());
        }
    }

    #[test]
    fn the_catalog_is_read_back() {
        let read = |name: &str, length, precision, scale| WarehouseType::of_catalog(name, length, precision, scale);
        assert_eq!(read("character varying", Some(64), None, None), Some(WarehouseType::Varchar { bytes: 64 }));
        assert_eq!(read("numeric", None, Some(18), Some(2)), Some(WarehouseType::Decimal { precision: 18, scale: 2 }));
        assert_eq!(read("timestamp with time zone", None, None, None), Some(WarehouseType::Timestamptz));
        assert_eq!(read("timestamp without time zone", None, None, None), Some(WarehouseType::Timestamp));
        assert_eq!(read("super", None, None, None), None);
    }
}
