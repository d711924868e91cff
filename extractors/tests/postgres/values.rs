//! Types and values by chance: what a user's tables might hold.

use super::random::Random;

/// A built-in type and how to write one of its values.
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    literal: fn(&mut Random) -> String,
    /// The declared type that takes its values as they are, and what the server says of them.
    pub(crate) typed: Option<Typed>,
}

/// How a value is compared in a column of its own kind. `{}` stands for the column.
#[derive(Clone, Copy)]
pub(crate) struct Typed {
    pub(crate) declared: &'static str,
    /// The value as the text that [`super::random_tables`] makes of what was read.
    pub(crate) shown: &'static str,
    /// Which values fit at all.
    pub(crate) fits: &'static str,
}

/// A type that a column may have.
pub(crate) enum Kind {
    Scalar(&'static Scalar),
    Enum { name: String, labels: Vec<String> },
    Domain { name: String, base: Box<Self> },
    Array(Box<Self>),
    Composite { name: String, fields: Vec<Self> },
}

const ALWAYS: &str = "true";
const PLAIN: &str = "{}::text";
const FINITE: &str = "{} NOT IN ('NaN', 'Infinity', '-Infinity')";
const INSTANT: &str = "(extract(epoch FROM {}) * 1000000)::numeric(30,0)::text";
/// Beyond this, microseconds since 1970 have more than 64 bits, although those since 2000 do not.
const INSTANT_FITS: &str = "isfinite({}) AND extract(epoch FROM {}) * 1000000 <= 9223372036854775807";

const fn typed(declared: &'static str, shown: &'static str, fits: &'static str) -> Option<Typed> {
    Some(Typed { declared, shown, fits })
}

const fn scalar(name: &'static str, literal: fn(&mut Random) -> String, typed: Option<Typed>) -> Scalar {
    Scalar { name, literal, typed }
}

static SCALARS: &[Scalar] = &[
    scalar("boolean", |r| r.once_in(2).to_string(), typed("boolean", PLAIN, ALWAYS)),
    scalar("smallint", |r| whole(r, 16), typed("smallint", PLAIN, ALWAYS)),
    scalar("integer", |r| whole(r, 32), typed("int", PLAIN, ALWAYS)),
    scalar("bigint", |r| whole(r, 64), typed("bigint", PLAIN, ALWAYS)),
    scalar("oid", |r| (r.next() >> 32).to_string(), typed("bigint", PLAIN, ALWAYS)),
    scalar("real", |r| special(r, |r| finite(f32::from_bits(r.next() as u32))), typed("real", PLAIN, ALWAYS)),
    scalar("double precision", |r| special(r, |r| finite(f64::from_bits(r.next()))), typed("double", PLAIN, ALWAYS)),
    scalar("double precision", |r| format!("{:e}", r.between(-1 << 40, 1 << 40) as f64 / 1_000.0), typed("double", PLAIN, ALWAYS)),
    scalar("numeric", |r| special(r, |r| decimal(r, 60, 60)), None),
    scalar("numeric", |r| special(r, |r| decimal(r, 1_000, 1_000)), None),
    scalar("numeric(12,2)", |r| if r.once_in(20) { "NaN".to_owned() } else { decimal(r, 10, 2) }, typed("decimal(12,2)", PLAIN, FINITE)),
    scalar("numeric(38,10)", |r| decimal(r, 28, 10), typed("decimal(38,10)", PLAIN, FINITE)),
    scalar("numeric(76,20)", |r| decimal(r, 56, 20), typed("decimal(76,20)", PLAIN, FINITE)),
    scalar("numeric(6,-3)", |r| decimal(r, 9, 1), typed("decimal(9,0)", PLAIN, FINITE)),
    scalar("money", |r| format!("{}.{:02}", r.between(-1 << 45, 1 << 45), r.below(100)), None),
    scalar("text", text, typed("text", PLAIN, ALWAYS)),
    scalar("character varying(40)", |r| text(r).chars().take(40).collect(), typed("text", PLAIN, ALWAYS)),
    scalar("character(7)", |r| text(r).chars().take(7).collect(), None),
    scalar("\"char\"", |r| char::from(r.between(1, 127) as u8).to_string(), None),
    scalar("name", |r| text(r).chars().take(15).collect(), typed("text", PLAIN, ALWAYS)),
    scalar("json", |r| json(r, 0), None),
    scalar("jsonb", |r| json(r, 0), None),
    scalar("uuid", |r| format!("{:016x}{:016x}", r.next(), r.next()), typed("uuid", PLAIN, ALWAYS)),
    scalar("bytea", |r| format!("\\x{}", hex(r, 20)), typed("bytes", "encode({}, 'hex')", ALWAYS)),
    scalar("date", |r| infinite(r, |r| day(r, 5_874_897)), typed("date", "({} - date '1970-01-01')::text", "isfinite({})")),
    scalar("timestamp", |r| infinite(r, moment), typed("local_timestamp", INSTANT, INSTANT_FITS)),
    scalar("timestamptz", |r| infinite(r, zoned_moment), typed("timestamp", INSTANT, INSTANT_FITS)),
    scalar("timestamp(2) with time zone", |r| infinite(r, zoned_moment), typed("timestamp", INSTANT, INSTANT_FITS)),
    scalar("time", |r| if r.once_in(20) { "24:00".to_owned() } else { clock(r) }, typed("time", INSTANT, "{} < time '24:00'")),
    scalar("timetz", |r| format!("{}{}", clock(r), offset(r)), None),
    scalar("interval", interval, None),
    scalar("bit(9)", |r| bits(r, 9), None),
    scalar(
        "bit varying",
        |r| {
            let count = r.below(40);
            bits(r, count)
        },
        None,
    ),
    scalar(
        "inet",
        |r| {
            let (address, width) = address(r);
            format!("{address}/{}", r.below(width + 1))
        },
        None,
    ),
    scalar("inet", |r| address(r).0, None),
    scalar("cidr", |r| address(r).0, None),
    scalar("macaddr", |r| format!("{:012x}", r.next() >> 16), None),
    scalar("macaddr8", |r| format!("{:016x}", r.next()), None),
    scalar("pg_lsn", |r| format!("{:X}/{:X}", r.next() >> 32, r.next() >> 40), None),
    scalar("tid", |r| format!("({},{})", r.below(1 << 30), r.below(1 << 15)), None),
    scalar("xid", |r| (r.next() >> 32).to_string(), None),
    scalar("xid8", |r| r.next().to_string(), None),
    scalar("int2vector", |r| format!("{} {}", whole(r, 16), whole(r, 16)), None),
    scalar("oidvector", |r| format!("{} 7", r.below(1 << 30)), None),
    scalar("regtype", |r| (*r.pick(&["integer", "text[]", "\"char\""])).to_owned(), None),
    scalar("jsonpath", |r| (*r.pick(&["$.a[*] ? (@.b > 1)", "strict $", "$.\"x y\""])).to_owned(), None),
    scalar("xml", |r| (*r.pick(&["<a b=\"1\">x</a>", "", "text &amp; more", "<ż/>"])).to_owned(), None),
    scalar("tsvector", |r| (*r.pick(&["fat:2A cat:3", "", "'it''s':1"])).to_owned(), None),
    scalar("tsquery", |r| (*r.pick(&["fat & (rat | !cat)", "a <-> b", ""])).to_owned(), None),
    scalar("point", point, None),
    scalar("line", |r| format!("{{{},{},{}}}", number(r), 1 + r.below(9), number(r)), None),
    scalar("lseg", |r| format!("[{},{}]", point(r), point(r)), None),
    scalar("box", |r| format!("{},{}", point(r), point(r)), None),
    scalar(
        "path",
        |r| if r.once_in(2) { format!("({},{})", point(r), point(r)) } else { format!("[{},{},{}]", point(r), point(r), point(r)) },
        None,
    ),
    scalar("polygon", |r| format!("({},{},{})", point(r), point(r), point(r)), None),
    scalar("circle", |r| format!("<{},{}>", point(r), r.below(1 << 20)), None),
    scalar("int4range", |r| bounds(r, |r| i64::from(r.next() as i32 >> 1), |n| n.to_string()), None),
    scalar("int8range", |r| bounds(r, |r| r.next() as i64 >> 2, |n| n.to_string()), None),
    scalar("numrange", |r| bounds(r, |r| r.next() as i64 >> 20, |n| format!("{}.{:03}", n / 1_000, (n % 1_000).abs())), None),
    scalar("daterange", |r| bounds(r, |r| r.between(1_000, 9_999), |n| format!("{n}-02-03")), None),
    scalar("tsrange", |r| bounds(r, |r| r.between(1_000, 9_999), |n| format!("\"{n}-02-03 04:05:06.7\"")), None),
    scalar("tstzrange", |r| bounds(r, |r| r.between(1_000, 9_999), |n| format!("\"{n}-02-03 04:05:06+03\"")), None),
    scalar("int4multirange", |r| multirange(r, |n| n.to_string()), None),
    scalar("nummultirange", |r| multirange(r, |n| format!("{n}.50")), None),
    scalar("datemultirange", |r| multirange(r, |n| format!("{}-01-01", 2_000 + n)), None),
];

impl Kind {
    /// A type of up to `depth` further levels. New types are called `prefix` and a number, and `ddl` gets what makes them.
    pub(crate) fn random(random: &mut Random, depth: usize, prefix: &str, ddl: &mut Vec<String>) -> Self {
        match if depth == 0 { 0 } else { random.below(12) } {
            0..=5 => Self::Scalar(random.pick(SCALARS)),
            6 => {
                let labels: Vec<String> =
                    (0..3).map(|place| format!("{place}{}", text(random).chars().take(12).collect::<String>())).collect();
                let name = new_name(prefix, ddl);
                let quoted: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
                ddl.push(format!("CREATE TYPE {name} AS ENUM ({})", quoted.join(", ")));
                Self::Enum { name, labels }
            }
            7 | 8 => {
                let base = Box::new(Self::random(random, depth - 1, prefix, ddl));
                let name = new_name(prefix, ddl);
                ddl.push(format!("CREATE DOMAIN {name} AS {}", base.sql()));
                Self::Domain { name, base }
            }
            9 => {
                let fields: Vec<Self> = (0..=random.below(4)).map(|_| Self::random(random, depth - 1, prefix, ddl)).collect();
                let name = new_name(prefix, ddl);
                let mut columns: Vec<String> =
                    fields.iter().enumerate().map(|(place, field)| format!("\"f {place}\" {}", field.sql())).collect();
                // An attribute that is gone leaves its place in the catalog.
                columns.insert(random.below(columns.len() + 1), "gone int".to_owned());
                ddl.push(format!("CREATE TYPE {name} AS ({})", columns.join(", ")));
                ddl.push(format!("ALTER TYPE {name} DROP ATTRIBUTE gone"));
                Self::Composite { name, fields }
            }
            _ => match Self::random(random, depth - 1, prefix, ddl) {
                // There is no array of arrays, only one of more dimensions.
                array @ Self::Array(_) => array,
                element => Self::Array(Box::new(element)),
            },
        }
    }

    /// The type's name in SQL.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.name.to_owned(),
            Self::Enum { name, .. } | Self::Domain { name, .. } | Self::Composite { name, .. } => name.clone(),
            Self::Array(element) => format!("{}[]", element.sql()),
        }
    }

    /// An expression of a value that may be NULL.
    pub(crate) fn value(&self, random: &mut Random) -> String {
        if random.once_in(8) { format!("NULL::{}", self.sql()) } else { self.present(random) }
    }

    fn present(&self, random: &mut Random) -> String {
        let sql = self.sql();
        match self {
            Self::Scalar(scalar) => format!("{}::{sql}", quoted(&(scalar.literal)(random))),
            Self::Enum { labels, .. } => format!("{}::{sql}", quoted(random.pick::<String>(labels))),
            Self::Domain { base, .. } => format!("({})::{sql}", base.present(random)),
            Self::Composite { fields, .. } => {
                let values: Vec<String> = fields.iter().map(|field| field.value(random)).collect();
                format!("ROW({})::{sql}", values.join(", "))
            }
            Self::Array(element) => {
                let list = |random: &mut Random, count: usize| {
                    let values: Vec<String> = (0..count).map(|_| element.value(random)).collect();
                    format!("ARRAY[{}]", values.join(", "))
                };
                match random.below(8) {
                    0 => format!("'{{}}'::{sql}"),
                    1 if !element.is_array() => format!("ARRAY[{}, {}]::{sql}", list(random, 2), list(random, 2)),
                    _ => {
                        let count = 1 + random.below(3);
                        format!("{}::{sql}", list(random, count))
                    }
                }
            }
        }
    }

    /// Whether it is an array under another name.
    fn is_array(&self) -> bool {
        match self {
            Self::Array(_) => true,
            Self::Domain { base, .. } => base.is_array(),
            _ => false,
        }
    }

    /// The scalar below all domains.
    pub(crate) fn scalar(&self) -> Option<&'static Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::Domain { base, .. } => base.scalar(),
            _ => None,
        }
    }
}

fn new_name(prefix: &str, ddl: &[String]) -> String {
    format!("\"{prefix} {}\"", ddl.len())
}

/// A string in SQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Texts with everything that needs quoting somewhere, and some that need none.
pub(crate) fn text(random: &mut Random) -> String {
    const PIECES: &[&str] = &[
        "a",
        "B",
        "null",
        "NULL",
        "\"",
        "\\",
        ",",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        " ",
        "\t",
        "\n",
        "\r",
        "'",
        ";",
        ":",
        "é",
        "ż",
        "中",
        "\u{1F600}",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{feff}",
        "e\u{301}",
        "$",
        "%",
        "\\N",
        "\\.",
        "0",
        "-1",
    ];
    (0..random.below(9)).map(|_| *random.pick(PIECES)).collect()
}

fn whole(random: &mut Random, bits: u32) -> String {
    let number = random.next() as i64 >> (64 - bits);
    // As many small numbers as large ones, and the ends.
    match random.below(16) {
        0 => (i64::MIN >> (64 - bits)).to_string(),
        1 => (i64::MAX >> (64 - bits)).to_string(),
        _ => (number >> random.below(usize::try_from(bits).unwrap())).to_string(),
    }
}

fn finite(number: impl Into<f64> + std::fmt::LowerExp + Copy) -> String {
    if number.into().is_finite() { format!("{number:e}") } else { "0".to_owned() }
}

fn special(random: &mut Random, usual: fn(&mut Random) -> String) -> String {
    if random.once_in(12) { (*random.pick(&["NaN", "Infinity", "-Infinity", "0", "-0"])).to_owned() } else { usual(random) }
}

fn infinite(random: &mut Random, usual: fn(&mut Random) -> String) -> String {
    if random.once_in(12) { (*random.pick(&["infinity", "-infinity", "epoch"])).to_owned() } else { usual(random) }
}

/// A decimal of up to so many digits before and after the point.
fn decimal(random: &mut Random, before: usize, after: usize) -> String {
    let mut digits = |limit: usize| -> String {
        let count = random.below(limit + 1);
        // Runs of zeros are where groups of digits go wrong.
        let is_sparse = random.once_in(2);
        (0..count).map(|_| if is_sparse && !random.once_in(6) { '0' } else { char::from(b'0' + random.below(10) as u8) }).collect()
    };
    let (before, after) = (digits(before), digits(after));
    let sign = if random.once_in(2) { "-" } else { "" };
    format!("{sign}0{before}{}{after}", if after.is_empty() { "" } else { "." })
}

fn hex(random: &mut Random, bytes_max: usize) -> String {
    (0..random.below(bytes_max + 1)).map(|_| format!("{:02x}", random.below(256))).collect()
}

fn bits(random: &mut Random, count: usize) -> String {
    (0..count).map(|_| if random.once_in(2) { '1' } else { '0' }).collect()
}

/// A day of the years 4712 BC to one before `year_end`, of which most are near.
fn day(random: &mut Random, year_end: i64) -> String {
    let (month, date) = (random.between(1, 13), random.between(1, 29));
    let (year, era) = match random.below(6) {
        0 => (random.between(1, 4_713), " BC"),
        1 => (random.between(1, year_end), ""),
        _ => (random.between(1_500, 2_500), ""),
    };
    format!("{year:04}-{month:02}-{date:02}{era}")
}

fn clock(random: &mut Random) -> String {
    let fraction = match random.below(4) {
        0 => String::new(),
        1 => format!(".{}", random.below(1_000)),
        _ => format!(".{:06}", random.below(1_000_000)),
    };
    format!("{:02}:{:02}:{:02}{fraction}", random.below(24), random.below(60), random.below(60))
}

fn offset(random: &mut Random) -> String {
    let sign = if random.once_in(2) { '+' } else { '-' };
    match random.below(3) {
        0 => format!("{sign}{:02}", random.below(15)),
        1 => format!("{sign}{:02}:{:02}", random.below(15), random.below(60)),
        _ => format!("{sign}{:02}:{:02}:{:02}", random.below(15), random.below(60), random.below(60)),
    }
}

/// `1999-12-31 23:59:59.999 BC`, with `zone` behind the time of day.
fn dated(random: &mut Random, zone: &str) -> String {
    let day = day(random, 294_276);
    let clock = clock(random);
    match day.strip_suffix(" BC") {
        Some(day) => format!("{day} {clock}{zone} BC"),
        None => format!("{day} {clock}{zone}"),
    }
}

fn moment(random: &mut Random) -> String {
    dated(random, "")
}

fn zoned_moment(random: &mut Random) -> String {
    let zone = offset(random);
    dated(random, &zone)
}

fn interval(random: &mut Random) -> String {
    let mut text = String::from("@");
    for unit in ["years", "months", "days", "hours", "minutes"] {
        if random.once_in(2) {
            text.push_str(&format!(" {} {unit}", random.between(-2_000, 2_000)));
        }
    }
    if random.once_in(2) {
        text.push_str(&format!(" {}.{:06} seconds", random.between(-100_000, 100_000), random.below(1_000_000)));
    }
    if text == "@" { "0".to_owned() } else { text }
}

/// An address and the width of its kind.
fn address(random: &mut Random) -> (String, usize) {
    if random.once_in(2) {
        let [a, b, c, d] = (random.next() as u32).to_be_bytes();
        return (format!("{a}.{b}.{c}.{d}"), 32);
    }
    // Zeros are what is left out of the text.
    let words: Vec<String> =
        (0..8).map(|_| if random.once_in(2) { "0".to_owned() } else { format!("{:x}", random.below(1 << 16)) }).collect();
    (words.join(":"), 128)
}

fn number(random: &mut Random) -> String {
    match random.below(6) {
        0 => (*random.pick(&["0", "-0", "1e300", "-1e-300"])).to_owned(),
        1 => random.between(-9, 9).to_string(),
        _ => finite(f64::from_bits(random.next())),
    }
}

fn point(random: &mut Random) -> String {
    // Far apart, since shapes are checked with sums and products of these.
    let mut coordinate = || format!("{}.{}", random.between(-100_000, 100_000), random.below(10_000));
    format!("({},{})", coordinate(), coordinate())
}

fn bounds(random: &mut Random, bound: fn(&mut Random) -> i64, write: fn(i64) -> String) -> String {
    if random.once_in(12) {
        return "empty".to_owned();
    }
    let (one, other) = (bound(random), bound(random));
    let mut side = |bound: i64| if random.once_in(6) { String::new() } else { write(bound) };
    let (lower, upper) = (side(one.min(other)), side(one.max(other)));
    format!("{}{lower},{upper}{}", random.pick(&["[", "("]), random.pick(&["]", ")"]))
}

fn multirange(random: &mut Random, write: fn(i64) -> String) -> String {
    let mut from = 0;
    let ranges: Vec<String> = (0..random.below(4))
        .map(|_| {
            let lower = from + random.between(1, 9);
            from = lower + random.between(1, 9);
            format!("[{},{})", write(lower), write(from))
        })
        .collect();
    format!("{{{}}}", ranges.join(","))
}

/// JSON as people type it: blanks, repeated names, exponents.
fn json(random: &mut Random, depth: usize) -> String {
    let blank = *random.pick(&["", " ", "\n\t"]);
    let inner = match random.below(if depth > 3 { 5 } else { 8 }) {
        0 => (*random.pick(&["null", "true", "false"])).to_owned(),
        1 => random.next().to_string(),
        2 => format!("-{}.{}e{}", random.below(1_000), random.below(1_000), random.between(-40, 40)),
        3 => format!("{}E+{}", random.below(10), random.below(20)),
        4 => json_text(random),
        5 => {
            let items: Vec<String> = (0..random.below(4)).map(|_| json(random, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let members: Vec<String> = (0..random.below(5))
                .map(|_| {
                    let name = if random.once_in(3) { json_text(random) } else { (*random.pick(&["\"a\"", "\"bb\"", "\"\""])).to_owned() };
                    format!("{name} :{}", json(random, depth + 1))
                })
                .collect();
            format!("{{{}}}", members.join(" , "))
        }
    };
    format!("{blank}{inner}{blank}")
}

fn json_text(random: &mut Random) -> String {
    if random.once_in(4) {
        return (*random.pick(&["\"\\u0041\\u00e9\"", "\"\\ud83d\\ude00\"", "\"\\/\\b\\f\"", "\"\\u001f\""])).to_owned();
    }
    let mut escaped = String::from("\"");
    for character in text(random).chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            control if control < ' ' => escaped.push_str(&format!("\\u{:04x}", control as u32)),
            other => escaped.push(other),
        }
    }
    escaped.push('"');
    escaped
}
