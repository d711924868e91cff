//! `docs/reference/types.md`: what a column's type is from the source to the warehouse, found out by asking the code that converts.

use std::path::Path;

use arrow::datatypes::Schema;
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc, spec::BinarySubtype};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::printer::print_schema;
use pipeline_core::contract::{Column, ColumnType, Contract, parse_column};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_extractors::bson::Decoder;
use pipeline_extractors::postgres::copy::can_be_read;
use pipeline_extractors::postgres::{CompositeField, PostgresType, declaration};
use pipeline_loaders::redshift::declared_type;

/// Every type that a column can be declared with; one of a kind where there are many.
const DECLARED: [&str; 17] = [
    "boolean",
    "smallint",
    "int",
    "bigint",
    "real",
    "double",
    "decimal(18,2)",
    "text",
    "json",
    "uuid",
    "bytes",
    "date",
    "time",
    "timestamp",
    "local_timestamp",
    "list<text>",
    "struct<a text>",
];

/// Those of which more can be said than one of a kind does.
const MORE_DECLARED: [&str; 6] = ["decimal(9,2)", "decimal(38,9)", "decimal(60,2)", "text(1000)", "text pii hash", "text pii mask"];

const HEAD: &str = r#"# Columns and types

A column of a table in `pipelines.toml` reads

```
name = "type [not null] [from path] [only string|document] [pii none|hash|mask|drop|keep]"
```

- `from path`: where the source has the value: a field or column, `totals.total` for one within a document, `coordinates.0` for an element of a
  list, `dropoff.x` and `dropoff.y` for PostgreSQL's `point`. Without it, the column's own name, spelled as the source spells names
  (`naming = "camelCase"`).
- `only string`, `only document`: the column takes only values of that kind; two columns with one source take apart a field that changed its shape.
- `pii`: `hash` (HMAC-SHA256 with the project's key), `mask` (`***`), `drop` (NULL), `keep` and `none` (as it is). Columns named in
  `[project.privacy] hash` are hashed unless they say otherwise.

Conversions are exact or do not happen. A number becomes another kind of number if nothing is lost (`2.0` fits `int`, an `int64` within range
fits `int`, a double fits a decimal if its shortest decimal form does); a string never becomes a number or a date. A row with a value that
does not fit goes to quarantine: raw, with column and reason.

The tables below are made by asking the code that converts; `BLESS=1 cargo test -p pipeline types_page` writes this page.
"#;

fn column(declared: &str) -> Column {
    parse_column(&ColumnName::new("value").unwrap(), declared, &|name| name.to_owned()).unwrap()
}

fn contract(declared: &str) -> Contract {
    let table = TableName::new("source", "values").unwrap();
    Contract { table, columns: vec![column(declared)], key: vec![], cursor: None, description: String::new() }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn code(texts: &[String]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" ")
}

/// The physical type in Parquet, and what its annotation says.
fn in_parquet(declared: &str) -> String {
    let schema: Schema = contract(declared).schema().as_ref().clone();
    let converted = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let leaf = converted.column(0);
    let mut printed = Vec::new();
    print_schema(&mut printed, leaf.self_type());
    let printed = String::from_utf8(printed).unwrap();
    let annotation = printed.trim().trim_end_matches(';').split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
    let physical = leaf.physical_type().to_string();
    annotation.map_or_else(|| physical.clone(), |annotation| format!("{physical}, {annotation}"))
}

fn in_redshift(declared: &str) -> String {
    match declared_type(&column(declared)) {
        Ok(data_type) => data_type,
        Err(error) => format!("refused: {}", error.remedy()),
    }
}

fn destinations() -> String {
    let mut page = String::from(
        "\n## Declared, and what becomes of it\n\n| declared | Arrow | Parquet, and so the lake | Redshift |\n|---|---|---|---|\n",
    );
    let mut all: Vec<&str> = DECLARED.to_vec();
    all.extend(MORE_DECLARED);
    for declared in all {
        let arrow = contract(declared).schema().field(0).data_type().to_string();
        page.push_str(&row(&[format!("`{declared}`"), arrow, in_parquet(declared), in_redshift(declared)]));
    }
    page
}

/// Every kind of type that PostgreSQL columns have.
fn postgres_types() -> Vec<PostgresType> {
    let names = "boolean smallint integer bigint oid real|double precision|numeric money text \"char\" character json jsonb uuid date|\
                 timestamp without time zone|timestamp with time zone|time without time zone|time with time zone|interval bytea bit inet cidr \
                 macaddr pg_lsn point line lseg box path polygon circle int4range tstzrange nummultirange text[] numeric[]";
    let split = |part: &str| -> Vec<String> {
        if part.contains("time zone") || part.starts_with("double") {
            vec![part.to_owned()]
        } else {
            part.split_whitespace().map(str::to_owned).collect()
        }
    };
    let mut types: Vec<PostgresType> =
        names.split('|').flat_map(split).map(|name| PostgresType::parse(&name, &|_| None).expect("a built-in type")).collect();
    types.push(PostgresType::Composite(vec![CompositeField { name: "a".to_owned(), type_: PostgresType::Text }]));
    types
}

fn from_postgres() -> String {
    let mut page = String::from(
        "\n## From PostgreSQL\n\nEnumerated types and `varchar` are as `text`, domains as what they stand for, other types as the text that the server makes of \
         them. `init` declares a `numeric(p,s)` as `decimal(p,s)`. *Also* takes value by value: what does not fit goes to quarantine.\n\n\
         | PostgreSQL | `init` declares | also |\n|---|---|---|\n",
    );
    for type_ in postgres_types() {
        let (first, _) = declaration(&type_, -1);
        let also: Vec<String> = DECLARED
            .iter()
            .filter(|declared| **declared != first.to_string() && can_be_read(&type_, &column(declared).data_type))
            .map(|declared| (*declared).to_owned())
            .collect();
        page.push_str(&row(&[type_.to_string(), format!("`{first}`"), code(&also)]));
    }
    page
}

/// Values of every kind that documents hold, ordinary ones and such as fit less often.
fn bson_kinds() -> Vec<(&'static str, Vec<Bson>)> {
    let number = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let binary = |subtype| Bson::Binary(bson::Binary { subtype, bytes: vec![7; 16] });
    vec![
        ("double", vec![Bson::Double(2.0), Bson::Double(2.125), Bson::Double(f64::NAN), Bson::Double(1e300)]),
        ("string", vec!["a".into(), "018f3c1e-0000-7000-8000-000000000000".into()]),
        ("document", vec![Bson::Document(doc! { "a": "b" }), Bson::Document(doc! { "a": 1 })]),
        ("array", vec![Bson::Array(vec!["a".into()]), Bson::Array(vec![1.into()])]),
        ("binary, UUID", vec![binary(BinarySubtype::Uuid)]),
        ("binary, other", vec![binary(BinarySubtype::Generic)]),
        ("undefined, null, missing", vec![Bson::Undefined, Bson::Null]),
        ("objectId", vec![Bson::ObjectId(ObjectId::from_bytes([7; 12]))]),
        ("boolean", vec![true.into()]),
        (
            "date",
            vec![
                Bson::DateTime(DateTime::from_millis(86_400_000)),
                Bson::DateTime(DateTime::from_millis(1)),
                Bson::DateTime(DateTime::MAX),
            ],
        ),
        ("regular expression", vec![Bson::RegularExpression(Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() })]),
        ("DBPointer, JavaScript", vec![Bson::JavaScriptCode("f()".to_owned())]),
        (
            "JavaScript with scope",
            vec![Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "f()".to_owned(), scope: Document::new() })],
        ),
        ("symbol", vec![Bson::Symbol("a".to_owned())]),
        ("int32", vec![Bson::Int32(7), Bson::Int32(100_000)]),
        ("internal timestamp", vec![Bson::Timestamp(Timestamp { time: 7, increment: 1 })]),
        ("int64", vec![Bson::Int64(7), Bson::Int64(100_000), Bson::Int64(i64::MAX)]),
        ("decimal128", vec![number("2"), number("2.125"), number("NaN"), number("1E+40")]),
        ("min key, max key", vec![Bson::MinKey, Bson::MaxKey]),
    ]
}

/// How many of these values fit a declared type.
fn fitting(declared: &str, values: &[Bson]) -> usize {
    let fits = |value: &&Bson| {
        let mut decoder = Decoder::new(&contract(declared), None).unwrap();
        decoder.append(&doc! { "value": (*value).clone() }.to_vec().unwrap()).is_ok()
    };
    values.iter().filter(fits).count()
}

fn from_bson() -> String {
    let mut page = String::from(
        "\n## From MongoDB\n\nBSON's types, also deprecated ones. *Value by value*: what does not fit goes to quarantine. Dates have milliseconds.\n\n\
         | BSON | fits | value by value |\n|---|---|---|\n",
    );
    for (kind, values) in bson_kinds() {
        let readable = DECLARED.iter().filter(|declared| Decoder::new(&contract(declared), None).is_ok());
        let (mut always, mut sometimes) = (Vec::new(), Vec::new());
        for declared in readable {
            match fitting(declared, &values) {
                0 => {}
                count if count == values.len() => always.push((*declared).to_owned()),
                _ => sometimes.push((*declared).to_owned()),
            }
        }
        page.push_str(&row(&[kind.to_owned(), code(&always), code(&sometimes)]));
    }
    page
}

#[test]
fn the_types_page_is_what_the_code_does() {
    let page = [HEAD.to_owned(), destinations(), from_postgres(), from_bson()].concat();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/types.md");
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    if std::env::var("BLESS").is_ok() {
        std::fs::write(&file, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(stored, page, "docs/reference/types.md is stale: run BLESS=1 cargo test -p pipeline types_page");
}

#[test]
fn init_declares_only_what_can_be_read() {
    for type_ in postgres_types() {
        let (declared, _): (ColumnType, _) = declaration(&type_, -1);
        assert!(can_be_read(&type_, &declared), "{type_}");
    }
}
