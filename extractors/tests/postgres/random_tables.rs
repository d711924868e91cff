//! Tables of random shapes and values, read as a run reads them, against the server's own text of every value.
//!
//! `PIPELINE_TEST_SEED` replaces the seed, which the test prints.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::postgres::PostgresSource;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::conformance::{everything, read_plan, tried};
use super::contracts::{declared, opened, options};
use super::random::{Random, duration};
use super::server::{Server, execute};
use super::values::{Kind, quoted, text};

/// Shapes of tables, and the rows of each.
const TABLES: usize = 60;
const ROWS: usize = 200;

/// Rows in an INSERT, so that no statement gets too long to be parsed.
const ROWS_AT_ONCE: usize = 50;

struct Column {
    name: String,
    kind: Kind,
}

struct Table {
    /// What is read, as SQL names it.
    relation: String,
    columns: Vec<Column>,
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes a table of a random shape and fills it.
async fn table(random: &mut Random, connection: &mut PgConnection, number: usize) -> Table {
    let mut ddl = Vec::new();
    let columns: Vec<Column> = (0..=random.below(7))
        .map(|place| {
            // Names that have to be quoted, that look like paths, and that need no quotes.
            let text: String = text(random).chars().filter(|character| !character.is_control()).take(8).collect();
            let names = ["c", "Select", "a.b", "c.x", "c.f 0", &text];
            let name = random.pick(&names);
            Column { name: format!("{name}{place}"), kind: Kind::random(random, 3, &format!("t{number}"), &mut ddl) }
        })
        .collect();
    let schema = identifier(if random.once_in(2) { "public" } else { "Żółty. \"s\"" });
    let relation = format!("{schema}.{}", identifier(&format!("T {number}.\"x\"")));
    let mut parts: Vec<String> = columns.iter().map(|column| format!("{} {}", identifier(&column.name), column.kind.sql())).collect();
    parts.insert(random.below(parts.len() + 1), "id int".to_owned());
    parts.insert(random.below(parts.len() + 1), "gone text".to_owned());
    parts.insert(random.below(parts.len() + 1), "made text GENERATED ALWAYS AS ((id * 7)::text) STORED".to_owned());
    let shape = random.below(6);
    let other = format!("{schema}.{}", identifier(&format!("other {number}")));
    let list = parts.join(", ");
    match shape {
        // Partitions of one hash each, the second of which has its columns in another order.
        0 => {
            ddl.push(format!("CREATE TABLE {relation} ({list}) PARTITION BY HASH (id)"));
            ddl.push(format!("CREATE TABLE {other} PARTITION OF {relation} FOR VALUES WITH (MODULUS 2, REMAINDER 0)"));
            parts.reverse();
            let odd = format!("{schema}.{}", identifier(&format!("odd {number}")));
            ddl.push(format!("CREATE TABLE {odd} (older int, {})", parts.join(", ")));
            ddl.push(format!("ALTER TABLE {odd} DROP COLUMN older"));
            ddl.push(format!("ALTER TABLE {relation} ATTACH PARTITION {odd} FOR VALUES WITH (MODULUS 2, REMAINDER 1)"));
        }
        1 => {
            ddl.push(format!("CREATE TABLE {relation} ({list})"));
            ddl.push(format!("CREATE TABLE {other} (more int) INHERITS ({relation})"));
        }
        _ => ddl.push(format!("CREATE TABLE {relation} ({list})")),
    }
    for statement in &ddl {
        execute(connection, statement).await;
    }
    let names: Vec<String> = columns.iter().map(|column| identifier(&column.name)).collect();
    for first in (1..=ROWS).step_by(ROWS_AT_ONCE) {
        let rows: Vec<String> = (first..first + ROWS_AT_ONCE)
            .map(|id| {
                let values: Vec<String> = columns.iter().map(|column| column.kind.value(random)).collect();
                format!("({id}, {}, {})", quoted(&text(random)), values.join(", "))
            })
            .collect();
        let into = if shape == 1 && first > ROWS / 2 { &other } else { &relation };
        execute(connection, &format!("INSERT INTO {into} (id, gone, {}) VALUES {}", names.join(", "), rows.join(", "))).await;
    }
    execute(connection, &format!("ALTER TABLE {relation} DROP COLUMN gone; ANALYZE {relation}")).await;
    let view = format!("{schema}.{}", identifier(&format!("view {number}")));
    let relation = match shape {
        2 => {
            execute(connection, &format!("CREATE VIEW {view} AS SELECT * FROM {relation}")).await;
            view
        }
        3 => {
            execute(connection, &format!("CREATE MATERIALIZED VIEW {view} AS SELECT * FROM {relation}")).await;
            view
        }
        _ => relation,
    };
    Table { relation, columns }
}

/// What the server says: for each row, by its id, the texts of some expressions.
async fn told(connection: &mut PgConnection, table: &Table, expressions: &[String], only: &str) -> BTreeMap<String, Vec<Option<String>>> {
    let list: String = expressions.iter().map(|expression| format!(", {expression}")).collect();
    let sql = format!("SELECT id::text{list} FROM {} WHERE {only}", table.relation);
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.as_str())).fetch_all(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| (row.get_unchecked(0), (1..=expressions.len()).map(|place| row.get_unchecked(place)).collect())).collect()
}

/// Reads a table under a contract of columns `v0`, `v1`, … of these types, from the columns of these names; and how many rows did not fit.
async fn read(source: &PostgresSource, table: &Table, columns: &[(&str, &str)], with_extra: bool) -> (RecordBatch, u64) {
    let names: Vec<String> = (0..columns.len()).map(|place| format!("v{place}")).collect();
    let mut parts = vec![("id", "text not null")];
    parts.extend(names.iter().zip(columns).map(|(name, (_, type_))| (name.as_str(), *type_)));
    if with_extra {
        parts.push(("_extra", "json"));
    }
    let mut contract = declared("random", &parts, &["id"], None);
    for (column, (from, _)) in contract.columns.iter_mut().skip(1).zip(columns) {
        (*from).clone_into(&mut column.from);
    }
    let extractor = opened(source, &table.relation, contract);
    let quarantine = Quarantine::new();
    let plan = extractor.plan(&everything(), None).await.unwrap_or_else(|error| panic!("{}: {error:?}", table.relation));
    let batch = read_plan(&*extractor, &plan, &quarantine).await.unwrap_or_else(|error| panic!("{}: {error:?}", table.relation));
    (batch, quarantine.rows())
}

/// A value as the server's expression shows it.
fn shown(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Binary => array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        _ => array_value_to_string(array, row).unwrap(),
    })
}

/// Whether what was read is what the server says. Binary numbers are compared as numbers: texts of them are many.
fn agrees(array: &ArrayRef, row: usize, told: Option<&str>) -> bool {
    match (array.data_type(), told) {
        (DataType::Float32, Some(told)) if array.is_valid(row) => {
            array.as_primitive::<Float32Type>().value(row).to_bits() == told.parse::<f32>().unwrap().to_bits()
        }
        (DataType::Float64, Some(told)) if array.is_valid(row) => {
            array.as_primitive::<Float64Type>().value(row).to_bits() == told.parse::<f64>().unwrap().to_bits()
        }
        _ => shown(array, row).as_deref() == told,
    }
}

/// Compares every value; gives how many there were.
fn compare(
    batch: &RecordBatch,
    told: &BTreeMap<String, Vec<Option<String>>>,
    columns: &[(&str, String)],
    table: &Table,
    seed: &str,
) -> usize {
    assert_eq!(batch.num_rows(), told.len(), "{seed}: rows of {}", table.relation);
    let ids = batch.column(0).as_string::<i32>();
    for row in 0..batch.num_rows() {
        let expected = &told[ids.value(row)];
        for (place, (name, type_)) in columns.iter().enumerate() {
            let array = batch.column(place + 1);
            assert!(
                agrees(array, row, expected[place].as_deref()),
                "{seed}: row {} of {}, column {name} {type_}:\n   read {:?}\n server {:?}",
                ids.value(row),
                table.relation,
                shown(array, row),
                expected[place]
            );
        }
    }
    batch.num_rows() * columns.len()
}

#[tokio::test]
async fn random_tables_are_read_as_the_server_prints_them() {
    let mut random = Random::of_environment();
    let server = Server::start();
    let mut connection = server.connection().await;
    let settings = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET lc_monetary = 'C'; \
                    SET extra_float_digits = 1; SET client_encoding = 'UTF8'; CREATE SCHEMA \"Żółty. \"\"s\"\"\"";
    execute(&mut connection, settings).await;
    let (mut rows, mut values, mut typed_values, mut rejected_rows) = (0, 0, 0, 0);
    let begin = std::time::Instant::now();
    let wanted = duration(Duration::ZERO);
    let mut number = 0;
    while number < TABLES || begin.elapsed() < wanted {
        let seed = format!("table {number}");
        let table = table(&mut random, &mut connection, number).await;
        // A source reads one snapshot, which is taken when it is first asked.
        let source = PostgresSource::connect(&options(&server, "random")).await.unwrap();
        let columns: Vec<(&str, String)> = table.columns.iter().map(|column| (column.name.as_str(), column.kind.sql())).collect();
        let expressions = |write: &dyn Fn(&Column, String) -> String| -> Vec<String> {
            table.columns.iter().map(|column| write(column, identifier(&column.name))).collect()
        };
        let is_money = |column: &Column| column.kind.scalar().is_some_and(|scalar| scalar.name == "money");
        let as_json = |column: &Column, name: String| {
            if is_money(column) { format!("to_jsonb({name}::numeric)") } else { format!("to_jsonb({name})") }
        };

        let expected = told(&mut connection, &table, &expressions(&|_, name| format!("{name}::text")), "true").await;
        let wanted: Vec<(&str, &str)> = columns.iter().map(|(name, _)| (*name, "text")).collect();
        let (batch, rejected) = read(&source, &table, &wanted, false).await;
        assert_eq!(rejected, 0, "{seed}: everything is a text");
        values += compare(&batch, &expected, &columns, &table, &seed);
        rows += batch.num_rows();

        // As JSON; what is not declared goes to `_extra`.
        let split = random.below(columns.len() + 1);
        let (declared, undeclared) = columns.split_at(split);
        let mut jsons: Vec<String> = expressions(&|column, name| format!("{}::text", as_json(column, name)));
        jsons.truncate(split);
        let mut members = vec!["('made', to_jsonb(made))".to_owned()];
        members.extend(
            table
                .columns
                .iter()
                .skip(split)
                .map(|column| format!("({}, {})", quoted(&column.name), as_json(column, identifier(&column.name)))),
        );
        jsons.push(format!("(SELECT jsonb_object_agg(k, v)::text FROM (VALUES {}) AS m (k, v) WHERE v IS NOT NULL)", members.join(", ")));
        let expected = told(&mut connection, &table, &jsons, "true").await;
        let wanted: Vec<(&str, &str)> = declared.iter().map(|(name, _)| (*name, "json")).collect();
        let (batch, rejected) = read(&source, &table, &wanted, true).await;
        assert_eq!(rejected, 0, "{seed}: everything is JSON");
        let mut compared = declared.to_vec();
        compared.push(("_extra", format!("{undeclared:?}")));
        values += compare(&batch, &expected, &compared, &table, &seed);

        // As what they are: exactly, or not at all.
        let typed: Vec<_> = table.columns.iter().filter_map(|column| Some((column, column.kind.scalar()?.typed?))).collect();
        if !typed.is_empty() {
            let of = |pattern: &str, column: &Column| pattern.replace("{}", &identifier(&column.name));
            let fits: Vec<String> = typed
                .iter()
                .map(|(column, typed)| format!("({} IS NULL OR ({}))", identifier(&column.name), of(typed.fits, column)))
                .collect();
            let shown: Vec<String> = typed.iter().map(|(column, typed)| of(typed.shown, column)).collect();
            let expected = told(&mut connection, &table, &shown, &fits.join(" AND ")).await;
            let wanted: Vec<(&str, &str)> = typed.iter().map(|(column, typed)| (column.name.as_str(), typed.declared)).collect();
            let (batch, rejected) = read(&source, &table, &wanted, false).await;
            assert_eq!(u64::try_from(expected.len()).unwrap() + rejected, ROWS as u64, "{seed}: every row is read or rejected");
            let named: Vec<(&str, String)> = wanted.iter().map(|(name, type_)| (*name, (*type_).to_owned())).collect();
            if batch.num_rows() > 0 || !expected.is_empty() {
                typed_values += compare(&batch, &expected, &named, &table, &seed);
            }
            rejected_rows += rejected;
        }
        number += 1;
    }
    tried(&format!(
        "{rows} rows of {number} tables: {values} values compared as text and JSON, {typed_values} in their own type, {rejected_rows} rows rejected"
    ));
    assert!(rows >= 10_000 && values > 50_000 && typed_values > 5_000 && rejected_rows > 100, "enough was compared");
}
