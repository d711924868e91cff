//! Redshift's column types, and what stands for them in PostgreSQL.

use std::fmt;

use super::cursor::Cursor;
use super::error::SqlError;
use super::token::Token;

/// VARCHAR(MAX), in bytes. Developer guide, "Character types".
pub(crate) const VARCHAR_BYTES_MAX: u32 = 65_535;
/// VARCHAR without a length, TEXT and BPCHAR, in bytes.
const VARCHAR_BYTES_DEFAULT: u32 = 256;
const CHAR_BYTES_MAX: u32 = 4096;
const VARBYTE_BYTES_DEFAULT: u32 = 64_000;
const VARBYTE_BYTES_MAX: u32 = 16_777_216;
const DECIMAL_DIGITS_MAX: u32 = 38;
const DECIMAL_SCALE_MAX: u32 = 37;

/// PostgreSQL's types that Redshift does not have.
const UNSUPPORTED: &str = " json jsonb uuid bytea enum serial serial2 serial4 serial8 bigserial smallserial money inet cidr macaddr macaddr8 xml tsvector tsquery bit \
varbit int4range int8range numrange tsrange tstzrange daterange hstore citext point line lseg box path polygon circle pg_lsn ";

/// A column's or cast's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Char {
        bytes: u32,
    },
    Varchar {
        bytes: u32,
    },
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Super,
    /// `bounded`: whether a length was written.
    Varbyte {
        bytes: u32,
        bounded: bool,
    },
    Interval {
        fields: String,
    },
}

impl DataType {
    /// Reads a type; `column` names the column in refusals.
    pub(crate) fn parse(cursor: &mut Cursor<'_>, column: &str) -> Result<Self, SqlError> {
        let Some(Token::Word(word)) = cursor.peek() else { return Err(cursor.unexpected()) };
        cursor.take()?;
        let parsed = match word.as_str() {
            "boolean" | "bool" => Self::Boolean,
            "smallint" | "int2" => Self::SmallInt,
            "integer" | "int" | "int4" => Self::Integer,
            "bigint" | "int8" => Self::BigInt,
            "real" | "float4" => Self::Real,
            "float8" => Self::Double,
            "double" => {
                cursor.expect(&["precision"])?;
                Self::Double
            }
            "float" => match length(cursor)? {
                Some(Length::Number(digits)) if digits <= 24 => Self::Real,
                _ => Self::Double,
            },
            "decimal" | "numeric" => decimal(cursor)?,
            "char" | "nchar" => char_or_varchar(cursor)?,
            "character" => char_or_varchar(cursor)?,
            "bpchar" => Self::Char { bytes: VARCHAR_BYTES_DEFAULT },
            "varchar" | "nvarchar" => varchar(cursor)?,
            "text" => {
                length(cursor)?;
                Self::Varchar { bytes: VARCHAR_BYTES_DEFAULT }
            }
            "date" => Self::Date,
            "timestamptz" => Self::TimestampTz,
            "timetz" => Self::TimeTz,
            "timestamp" => zoned(cursor, Self::TimestampTz, Self::Timestamp)?,
            "time" => zoned(cursor, Self::TimeTz, Self::Time)?,
            "super" => Self::Super,
            "varbyte" | "varbinary" => varbyte(cursor)?,
            "binary" => {
                cursor.expect(&["varying"])?;
                varbyte(cursor)?
            }
            "interval" => interval(cursor)?,
            "geometry" | "geography" | "hllsketch" => return Err(SqlError::beyond_double(&format!("the type {}", word.to_uppercase()))),
            other if UNSUPPORTED.contains(&format!(" {other} ")) => return Err(unsupported(column, other)),
            other => return Err(SqlError::new("42704", format!("type \"{other}\" does not exist"))),
        };
        if cursor.is_symbol("[") || cursor.is_word("array") {
            return Err(unsupported(column, &format!("{word}[]")));
        }
        Ok(parsed)
    }

    /// The PostgreSQL type that holds it.
    pub(crate) fn postgres(&self) -> String {
        match self {
            Self::Boolean => "boolean".to_owned(),
            Self::SmallInt => "smallint".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::BigInt => "bigint".to_owned(),
            Self::Real => "real".to_owned(),
            Self::Double => "double precision".to_owned(),
            Self::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
            Self::Char { bytes } => format!("character({bytes})"),
            Self::Varchar { bytes } => format!("character varying({bytes})"),
            Self::Date => "date".to_owned(),
            Self::Time => "time without time zone".to_owned(),
            Self::TimeTz => "time with time zone".to_owned(),
            Self::Timestamp => "timestamp without time zone".to_owned(),
            Self::TimestampTz => "timestamp with time zone".to_owned(),
            Self::Super => "jsonb".to_owned(),
            Self::Varbyte { .. } => "bytea".to_owned(),
            Self::Interval { fields } => format!("interval {fields}").trim_end().to_owned(),
        }
    }

    /// Whether a column of this type may be a distribution or sort key.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Super)
    }
}

/// As Redshift writes it.
impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Super => formatter.write_str("super"),
            Self::Varbyte { bytes, .. } => write!(formatter, "binary varying({bytes})"),
            other => formatter.write_str(&other.postgres()),
        }
    }
}

fn unsupported(column: &str, kind: &str) -> SqlError {
    SqlError::unsupported(format!("Column \"{column}\" has unsupported type \"{kind}\"."))
}

enum Length {
    Number(u32),
    Max,
}

fn length(cursor: &mut Cursor<'_>) -> Result<Option<Length>, SqlError> {
    if !cursor.accept_symbol("(") {
        return Ok(None);
    }
    let found = if cursor.accept(&["max"]) {
        Length::Max
    } else {
        Length::Number(u32::try_from(cursor.number()?).map_err(|_| cursor.unexpected())?)
    };
    cursor.expect_symbol(")")?;
    Ok(Some(found))
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let (mut precision, mut scale) = (18, 0);
    if cursor.accept_symbol("(") {
        precision = u32::try_from(cursor.number()?).map_err(|_| cursor.unexpected())?;
        if cursor.accept_symbol(",") {
            scale = u32::try_from(cursor.number()?).map_err(|_| cursor.unexpected())?;
        }
        cursor.expect_symbol(")")?;
    }
    if precision == 0 || precision > DECIMAL_DIGITS_MAX {
        return Err(SqlError::new("22023", format!("DECIMAL precision {precision} must be between 1 and {DECIMAL_DIGITS_MAX}")));
    }
    if scale > precision || scale > DECIMAL_SCALE_MAX {
        return Err(SqlError::new("22023", format!("DECIMAL scale {scale} must be between 0 and precision {precision}")));
    }
    Ok(DataType::Decimal { precision, scale })
}

fn varchar(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let bytes = match length(cursor)? {
        None => VARCHAR_BYTES_DEFAULT,
        Some(Length::Max) => VARCHAR_BYTES_MAX,
        Some(Length::Number(bytes)) => bytes,
    };
    if bytes == 0 || bytes > VARCHAR_BYTES_MAX {
        return Err(SqlError::new("22023", format!("length for type varchar cannot exceed {VARCHAR_BYTES_MAX}")));
    }
    Ok(DataType::Varchar { bytes })
}

fn char_or_varchar(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    if cursor.accept(&["varying"]) {
        return varchar(cursor);
    }
    let bytes = match length(cursor)? {
        None => 1,
        Some(Length::Max) => CHAR_BYTES_MAX,
        Some(Length::Number(bytes)) => bytes,
    };
    if bytes == 0 || bytes > CHAR_BYTES_MAX {
        return Err(SqlError::new("22023", format!("length for type char cannot exceed {CHAR_BYTES_MAX}")));
    }
    Ok(DataType::Char { bytes })
}

fn varbyte(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let (bytes, bounded) = match length(cursor)? {
        None => (VARBYTE_BYTES_DEFAULT, false),
        Some(Length::Max) => (VARBYTE_BYTES_MAX, true),
        Some(Length::Number(bytes)) => (bytes, true),
    };
    if bytes == 0 || bytes > VARBYTE_BYTES_MAX {
        return Err(SqlError::new("22023", format!("length for type varbyte cannot exceed {VARBYTE_BYTES_MAX}")));
    }
    Ok(DataType::Varbyte { bytes, bounded })
}

fn zoned(cursor: &mut Cursor<'_>, with: DataType, without: DataType) -> Result<DataType, SqlError> {
    if cursor.is_symbol("(") {
        return Err(cursor.unexpected());
    }
    if cursor.accept(&["with", "time", "zone"]) {
        return Ok(with);
    }
    cursor.accept(&["without", "time", "zone"]);
    Ok(without)
}

fn interval(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    const UNITS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];
    let mut fields = String::new();
    if let Some(Token::Word(unit)) = cursor.peek()
        && UNITS.contains(&unit.as_str())
    {
        fields.push_str(unit);
        cursor.take()?;
        if cursor.accept(&["to"]) {
            fields.push_str(" to ");
            fields.push_str(&cursor.name()?);
        }
    }
    Ok(DataType::Interval { fields })
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn parse(text: &str) -> Result<DataType, SqlError> {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let mut cursor = Cursor::new(&tokens);
        let parsed = DataType::parse(&mut cursor, "t.c")?;
        cursor.expect_end()?;
        Ok(parsed)
    }

    #[test]
    fn defaults_are_redshifts_own() {
        assert_eq!(parse("decimal").unwrap(), DataType::Decimal { precision: 18, scale: 0 });
        assert_eq!(parse("TEXT").unwrap(), DataType::Varchar { bytes: 256 });
        assert_eq!(parse("varchar").unwrap(), DataType::Varchar { bytes: 256 });
        assert_eq!(parse("varchar(max)").unwrap(), DataType::Varchar { bytes: 65_535 });
        assert_eq!(parse("character varying(7)").unwrap(), DataType::Varchar { bytes: 7 });
        assert_eq!(parse("char").unwrap(), DataType::Char { bytes: 1 });
        assert_eq!(parse("bpchar").unwrap(), DataType::Char { bytes: 256 });
        assert_eq!(parse("varbyte").unwrap(), DataType::Varbyte { bytes: 64_000, bounded: false });
        assert_eq!(parse("timestamp with time zone").unwrap(), DataType::TimestampTz);
    }

    #[test]
    fn limits_are_kept() {
        assert!(parse("decimal(39,2)").is_err());
        assert!(parse("decimal(10,11)").is_err());
        assert!(parse("varchar(65536)").is_err());
        assert!(parse("char(4097)").is_err());
        assert!(parse("varbyte(16777217)").is_err());
    }

    #[test]
    fn postgres_types_are_refused() {
        for kind in ["json", "jsonb", "uuid", "bytea", "serial", "bigserial", "money", "int[]", "varchar(10)[]", "integer array"] {
            let error = parse(kind).unwrap_err();
            assert_eq!(error.code, "0A000", "{kind}");
            assert!(error.message.starts_with("Column \"t.c\" has unsupported type"), "{kind}");
        }
        assert!(parse("geometry").unwrap_err().message.contains("double"));
    }
}
