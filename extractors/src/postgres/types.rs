//! PostgreSQL's types, as far as their binary form is known here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type of a column, with domains replaced by what they stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `oid`, also `xid` and `cid`: 32 bits without a sign
    Oid,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`; every value says its own number of digits, so the declared ones are not needed
    Numeric,
    /// `money`: hundredths, as in every currency with two decimals; a live server is asked for `numeric` instead
    Money,
    /// `text`, `varchar`, `name`, `citext` and every enumerated type: their binary form is their text
    Text,
    /// `"char"`: one byte
    Char,
    /// `character(n)`: trailing blanks are padding, and are removed as PostgreSQL's own cast to text does
    Bpchar,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `time without time zone`
    Time,
    /// `time with time zone`
    TimeTz,
    /// `interval`
    Interval,
    /// `bytea`
    Bytea,
    /// `bit(n)` and `bit varying(n)`
    Bit,
    /// `inet`
    Inet,
    /// `cidr`
    Cidr,
    /// `macaddr` and `macaddr8`
    Macaddr,
    /// `pg_lsn`
    Lsn,
    /// `point`
    Point,
    /// `line`
    Line,
    /// `lseg`
    Segment,
    /// `box`
    Box,
    /// `path`
    Path,
    /// `polygon`
    Polygon,
    /// `circle`
    Circle,
    /// A range of values.
    Range(Box<Self>),
    /// A set of ranges, of which the type of the values is given.
    Multirange(Box<Self>),
    /// An array of any number of dimensions.
    Array(Box<Self>),
    /// A row type.
    Composite(Vec<CompositeField>),
    /// A type whose binary form is not known here: it is read as the text that the server makes of it.
    Other(String),
}

/// A field of a composite type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompositeField {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: PostgresType,
}

impl PostgresType {
    /// The type of an object identifier that every server has (`src/include/catalog/pg_type.dat`). Arrays and types that users make are the
    /// catalog's to tell.
    #[must_use]
    pub fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::Char,
            19 | 25 | 1043 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 | 28 | 29 => Self::Oid,
            114 => Self::Json,
            600 => Self::Point,
            601 => Self::Segment,
            602 => Self::Path,
            603 => Self::Box,
            604 => Self::Polygon,
            628 => Self::Line,
            650 => Self::Cidr,
            700 => Self::Float4,
            701 => Self::Float8,
            718 => Self::Circle,
            774 | 829 => Self::Macaddr,
            790 => Self::Money,
            869 => Self::Inet,
            1042 => Self::Bpchar,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1560 | 1562 => Self::Bit,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3220 => Self::Lsn,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// Reads a type as DDL and `format_type` write it: `numeric(12,2)`, `timestamp with time zone`, `text[]`. What is not built in is asked
    /// of `named`; None if neither knows it.
    pub fn parse(text: &str, named: &dyn Fn(&str) -> Option<Self>) -> Option<Self> {
        let text = text.trim();
        let mut element = text;
        // PostgreSQL does not tell `text[][]` from `text[]` either: the dimensions are a matter of each value.
        while let Some((inner, _)) = element.strip_suffix(']').and_then(|head| head.rsplit_once('[')) {
            element = inner.trim_end();
        }
        if element.len() < text.len() {
            // An array of a domain that is an array itself is not the same as one of two dimensions.
            return Some(Self::Array(Box::new(Self::parse(element, named)?)));
        }
        let plain = without_parentheses(text);
        let lower = plain.to_ascii_lowercase();
        let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
        Some(match lower {
            "boolean" | "bool" => Self::Bool,
            "smallint" | "int2" | "smallserial" | "serial2" => Self::Int2,
            "integer" | "int" | "int4" | "serial" | "serial4" => Self::Int4,
            "bigint" | "int8" | "bigserial" | "serial8" => Self::Int8,
            "oid" | "xid" | "cid" => Self::Oid,
            "real" | "float4" => Self::Float4,
            "double precision" | "float8" => Self::Float8,
            "float" => float_of_bits(text),
            "numeric" | "decimal" | "dec" => Self::Numeric,
            "money" => Self::Money,
            "text" | "character varying" | "char varying" | "varchar" | "name" | "citext" | "public.citext" => Self::Text,
            "\"char\"" => Self::Char,
            "character" | "char" | "bpchar" => Self::Bpchar,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "timestamp" | "timestamp without time zone" => Self::Timestamp,
            "timestamptz" | "timestamp with time zone" => Self::TimestampTz,
            "time" | "time without time zone" => Self::Time,
            "timetz" | "time with time zone" => Self::TimeTz,
            "bytea" => Self::Bytea,
            "bit" | "bit varying" | "varbit" => Self::Bit,
            "inet" => Self::Inet,
            "cidr" => Self::Cidr,
            "macaddr" | "macaddr8" => Self::Macaddr,
            "pg_lsn" => Self::Lsn,
            "point" => Self::Point,
            "line" => Self::Line,
            "lseg" => Self::Segment,
            "box" => Self::Box,
            "path" => Self::Path,
            "polygon" => Self::Polygon,
            "circle" => Self::Circle,
            "int4range" => Self::Range(Box::new(Self::Int4)),
            "int8range" => Self::Range(Box::new(Self::Int8)),
            "numrange" => Self::Range(Box::new(Self::Numeric)),
            "daterange" => Self::Range(Box::new(Self::Date)),
            "tsrange" => Self::Range(Box::new(Self::Timestamp)),
            "tstzrange" => Self::Range(Box::new(Self::TimestampTz)),
            "int4multirange" => Self::Multirange(Box::new(Self::Int4)),
            "int8multirange" => Self::Multirange(Box::new(Self::Int8)),
            "nummultirange" => Self::Multirange(Box::new(Self::Numeric)),
            "datemultirange" => Self::Multirange(Box::new(Self::Date)),
            "tsmultirange" => Self::Multirange(Box::new(Self::Timestamp)),
            "tstzmultirange" => Self::Multirange(Box::new(Self::TimestampTz)),
            // `interval day to second` and the like restrict values, not their form.
            interval if interval == "interval" || interval.starts_with("interval ") => Self::Interval,
            _ => return named(&plain),
        })
    }

    /// Whether every part of it has a known binary form.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Other(_) => false,
            Self::Range(inner) | Self::Multirange(inner) | Self::Array(inner) => inner.is_known(),
            Self::Composite(fields) => fields.iter().all(|field| field.type_.is_known()),
            _ => true,
        }
    }
}

/// `float(1)` to `float(24)` are `real`, everything else is `double precision`.
fn float_of_bits(text: &str) -> PostgresType {
    let bits = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).and_then(|(bits, _)| bits.trim().parse::<u8>().ok());
    if bits.is_some_and(|bits| bits <= 24) { PostgresType::Float4 } else { PostgresType::Float8 }
}

/// `timestamp(3) with time zone` without its `(3)`, with single blanks.
fn without_parentheses(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                plain.push('"');
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            character if character.is_whitespace() && !quoted => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            character => plain.push(character),
        }
    }
    plain.trim().to_owned()
}

impl fmt::Display for PostgresType {
    /// The type's name in PostgreSQL, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Oid => "oid",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Money => "money",
            Self::Text => "text",
            Self::Char => "\"char\"",
            Self::Bpchar => "character",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampTz => "timestamp with time zone",
            Self::Time => "time without time zone",
            Self::TimeTz => "time with time zone",
            Self::Interval => "interval",
            Self::Bytea => "bytea",
            Self::Bit => "bit",
            Self::Inet => "inet",
            Self::Cidr => "cidr",
            Self::Macaddr => "macaddr",
            Self::Lsn => "pg_lsn",
            Self::Point => "point",
            Self::Line => "line",
            Self::Segment => "lseg",
            Self::Box => "box",
            Self::Path => "path",
            Self::Polygon => "polygon",
            Self::Circle => "circle",
            Self::Range(inner) => return write!(f, "range of {inner}"),
            Self::Multirange(inner) => return write!(f, "multirange of {inner}"),
            Self::Array(inner) => return write!(f, "{inner}[]"),
            Self::Composite(_) => "composite",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_people_and_catalogs_write_them() {
        let parse = |text: &str| PostgresType::parse(text, &|name| (name == "payments.kind").then_some(PostgresType::Text));
        for (text, type_) in [
            ("numeric(12,2)", PostgresType::Numeric),
            ("timestamp(3) with time zone", PostgresType::TimestampTz),
            ("TIMESTAMPTZ", PostgresType::TimestampTz),
            ("char(3)", PostgresType::Bpchar),
            ("\"char\"", PostgresType::Char),
            ("float(10)", PostgresType::Float4),
            ("interval day to second(3)", PostgresType::Interval),
            ("text[][]", PostgresType::Array(Box::new(PostgresType::Text))),
            ("character varying(20)[3]", PostgresType::Array(Box::new(PostgresType::Text))),
            ("payments.kind", PostgresType::Text),
        ] {
            assert_eq!(parse(text), Some(type_), "{text}");
        }
        assert_eq!(parse("payments.unknown"), None);
    }
}
