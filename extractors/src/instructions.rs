//! Instructions that the decoders take for a row, counted by valgrind and compared with the figures in `instructions.toml`.
//!
//! Seconds depend on what else a machine does; counted instructions do not, so that a test can tell when a decoder has become slower. The
//! figures are of the unoptimized build that all tests use: they say by how much a change makes a decoder dearer, not how fast it is. On one
//! machine they repeat to a millionth. They are of one compiler: with another nothing is compared. Another C library or processor, whose copying
//! of memory is another, may need new ones.
//!
//! `BLESS=1 cargo test -p pipeline-extractors --lib instructions` writes the figures.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::bson::oid::ObjectId;
use ::bson::spec::BinarySubtype;
use ::bson::{Binary, Bson, DateTime, Document, doc};

use crate::bson::Decoder;
use crate::fuzzing::{DOCUMENT_COLUMNS, TABLE_COLUMNS, contract, key};
use crate::json::{self, Value};
use crate::opensearch;
use crate::postgres::copy::SourceColumn;
use crate::postgres::{PostgresType, copy, fold_messages};

/// Rows of each case: enough that what happens once per batch hardly counts.
const ROWS: u32 = 500;

/// By how much a count may be greater than its figure, in parts of a thousand.
const MORE_MAX_PER_THOUSAND: u64 = 30;

/// What is decoded once, and its name.
struct Case {
    name: String,
    work: Box<dyn FnMut()>,
}

impl Case {
    fn new(name: String, work: impl FnMut() + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }
}

/// Every case, in the order in which they are counted.
fn cases() -> Vec<Case> {
    let mut cases = vec![documents("bson order", DOCUMENT_COLUMNS, &order)];
    cases.extend(BSON_VALUES.iter().map(|(kind, declared, value)| {
        let columns = [("column", *declared)];
        documents(&format!("bson {kind} as {declared}"), &columns, &|n| doc! {"column": value(n)})
    }));
    cases.extend(copied());
    cases.push(page());
    cases.push(messages());
    cases
}

/// The value of the row of a number.
type Sample = fn(u32) -> Bson;

/// Kinds of values, and what they are declared as.
const BSON_VALUES: &[(&str, &str, Sample)] = &[
    ("boolean", "boolean", |n| Bson::Boolean(n % 2 == 0)),
    ("int32", "int", |n| Bson::Int32(n.cast_signed())),
    ("int64", "bigint", |n| Bson::Int64(i64::from(n) << 32)),
    ("double", "double", |n| Bson::Double(f64::from(n) / 7.0)),
    ("double", "decimal(18,2)", |n| Bson::Double(f64::from(n) / 4.0)),
    ("decimal128", "decimal(18,2)", money),
    ("string", "text", |n| Bson::String(format!("text number {n}"))),
    ("string", "uuid", |n| Bson::String(format!("{n:08x}-3a64-4d9a-8f4e-0123456789ab"))),
    ("objectId", "text", |n| Bson::ObjectId(identifier(n))),
    ("date", "timestamp", |n| Bson::DateTime(at(n))),
    ("binary", "bytes", |n| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![7; (n % 40) as usize] })),
    ("array", "list<text>", |n| Bson::Array(vec![Bson::String("x".repeat((n % 8) as usize)), Bson::Null])),
    ("document", "struct<a int, b text>", |n| Bson::Document(doc! {"a": n.cast_signed(), "b": "x"})),
    ("document", "json", |n| Bson::Document(doc! {"a": n.cast_signed(), "b": [1.5, Bson::Null, at(n)]})),
];

fn money(n: u32) -> Bson {
    Bson::Decimal128(format!("{}.{:02}", n / 4, n % 100).parse().unwrap())
}

fn identifier(n: u32) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn at(n: u32) -> DateTime {
    DateTime::from_millis(1_735_689_600_000 + i64::from(n) * 86_400_000)
}

/// A document with a field for every column of the contract that documents are fuzzed with, and one that nobody declared.
fn order(n: u32) -> Document {
    let items: Vec<Document> =
        (0..=n % 4).map(|i| doc! {"sku": format!("SKU{i:04}"), "price": money(n + i), "parts": [1, 2, i.cast_signed()]}).collect();
    doc! {
        "_id": identifier(n), "b": true, "n": 7, "d": 1500.25, "m": money(n), "t": format!("an order's words {n}"), "at": at(n),
        "u": Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] }),
        "any": {"a": [1, Bson::Null, "x"]}, "tags": ["new", Bson::Null], "items": items,
        "nested": {"a": 1, "b": {"c": "x", "d": [1.5, 2.5]}}, "place": {"type": "Point", "coordinates": [21.012_345, 52.212_345]},
        "contact": {"phone": "123456789", "name": "a name", "secret": "x"}, "coupon": "nobody declared this",
    }
}

fn documents(name: &str, columns: &[(&str, &str)], document: &dyn Fn(u32) -> Document) -> Case {
    let documents: Vec<Vec<u8>> = (0..ROWS).map(|n| document(n).to_vec().unwrap()).collect();
    let mut decoder = Decoder::new(&contract(columns), Some(&key())).unwrap();
    Case::new(name.to_owned(), move || {
        for document in &documents {
            decoder.append(document).unwrap();
        }
        assert_eq!(black_box(decoder.finish().unwrap()).num_rows(), documents.len());
    })
}

/// A case for each type of PostgreSQL: the values are those of a seed of the fuzz target.
fn copied() -> Vec<Case> {
    const HEADER: usize = 19;
    let seed = seed("copy_binary/row");
    let (header, mut rest) = seed[1..].split_at(HEADER);
    let count = u16::from_be_bytes(take(&mut rest, 2).try_into().unwrap());
    assert_eq!(usize::from(count), TABLE_COLUMNS.len());
    let case = |(name, source, declared): &(&str, &str, &str)| {
        let length: [u8; 4] = take(&mut rest, 4).try_into().unwrap();
        let value = take(&mut rest, usize::try_from(u32::from_be_bytes(length)).unwrap());
        let tuple = [&1_u16.to_be_bytes()[..], &length, value].concat();
        let data = [header, &tuple.repeat(ROWS as usize), &[0xFF, 0xFF]].concat();
        let column = SourceColumn { name: (*name).to_owned(), type_: PostgresType::parse(source, &|_| None).unwrap() };
        let mut decoder = Some(copy::Decoder::new(&contract(&[(*name, *declared)]), &[column], Some(key())).unwrap());
        Case::new(format!("copy {source} as {declared}"), move || {
            let mut decoder = decoder.take().unwrap();
            decoder.push(&data).unwrap();
            decoder.finish().unwrap();
            assert_eq!(black_box(decoder.take_batch().unwrap()).num_rows(), ROWS as usize);
        })
    };
    TABLE_COLUMNS.iter().map(case).collect()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/seeds").join(name)).unwrap()
}

/// An answer of OpenSearch.
fn page() -> Case {
    let hits: Vec<String> = (0..ROWS)
        .map(|n| {
            format!(
                r#"{{"_id":"e-{n}","_source":{{"n":7,"b":true,"d":1500.25,"m":{n}.5,"t":"words {n}\n","at":"2025-03-30T00:00:00.000Z",
                "any":{{"a":[1,null]}},"tags":["x",null],"items":[{{"sku":"s","price":1.2}}],"nested":{{"a":1,"b":{{"c":"x","d":[1]}}}},
                "place":{{"coordinates":[21.0,52.2]}},"contact":{{"phone":"0"}},"coupon":4}},"sort":[{n}]}}"#
            )
        })
        .collect();
    let hits = hits.join(",");
    let body = format!(r#"{{"took":1,"timed_out":false,"_shards":{{"total":1,"failed":0}},"hits":{{"max_score":null,"hits":[{hits}]}}}}"#);
    let mut decoder = Decoder::new(&contract(DOCUMENT_COLUMNS), Some(&key())).unwrap();
    Case::new("json page".to_owned(), move || {
        opensearch::each_document(body.as_bytes(), &mut |source: Value<'_>, id: Option<Value<'_>>| {
            json::append(&mut decoder, source, &[("_id", id.unwrap())]).unwrap();
        });
        assert_eq!(black_box(decoder.finish().unwrap()).num_rows(), ROWS as usize);
    })
}

/// Messages of PostgreSQL's log: a transaction whose rows have one key.
fn messages() -> Case {
    let seed = seed("log_messages/many");
    let mut rest = seed.as_slice();
    let mut next = || {
        let length = u16::from_be_bytes(take(&mut rest, 2).try_into().unwrap());
        take(&mut rest, usize::from(length)).to_vec()
    };
    let (begin, relation, insert) = (next(), next(), next());
    assert_eq!([begin[0], relation[0], insert[0]], *b"BRI");
    let messages: Vec<Vec<u8>> = [begin, relation].into_iter().chain(std::iter::repeat_n(insert, ROWS as usize)).collect();
    Case::new("log insert".to_owned(), move || {
        let mut taken = 0;
        fold_messages(&mut messages.iter().inspect(|_| taken += 1).map(Vec::as_slice), HashSet::from([7]));
        assert_eq!(taken, messages.len(), "every message can be read");
    })
}

/// What is counted: valgrind looks for this function's name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Without something behind it the call could become a jump, and this function would be left before the work began.
    black_box(());
}

#[test]
#[ignore = "what valgrind runs"]
fn every_case_once() {
    for mut case in cases() {
        counted(&mut *case.work);
    }
}

/// Counts every case; None where there is no valgrind.
fn count() -> Option<BTreeMap<String, u64>> {
    let folder = tempfile::tempdir().unwrap();
    // Not a pattern: those have no dumps.
    let name = format!("{}::counted", module_path!());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--toggle-collect={name}"), &format!("--dump-after={name}")])
        .arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()))
        .arg(std::env::current_exe().unwrap())
        .args(["instructions::every_case_once", "--exact", "--ignored", "--test-threads=1"])
        .output()
        .ok()?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let counts = cases().into_iter().enumerate().map(|(index, case)| {
        let dump = std::fs::read_to_string(folder.path().join(format!("counts.{}", index + 1))).unwrap();
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        (case.name, total.trim().parse::<u64>().unwrap() / u64::from(ROWS))
    });
    Some(counts.collect())
}

fn figures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/instructions.toml")
}

/// The compiler, as it calls itself.
fn compiler() -> String {
    let output = Command::new("rustc").arg("-V").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn bless(counts: &BTreeMap<String, u64>) {
    let mut text = format!(
        "# Instructions that decoders take for a row in the build of the tests. Made by\n\
         # `BLESS=1 cargo test -p pipeline-extractors --lib instructions`; do not edit.\n\
         compiler = \"{}\"\n\n[instructions_per_row]\n",
        compiler()
    );
    for (name, count) in counts {
        writeln!(text, "\"{name}\" = {count}").unwrap();
    }
    std::fs::write(figures(), text).unwrap();
}

/// Where counting makes sense: valgrind is at home there, and the tests are not optimized.
const IS_COUNTED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64", debug_assertions));

/// Shown also when the test passes.
fn tell(text: &str) {
    writeln!(std::io::stderr(), "instructions: {text}").unwrap();
}

#[test]
fn no_decoder_needs_more_instructions() {
    if !IS_COUNTED {
        return tell("not counted on this machine or in this build");
    }
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the test, not by the program")]
    let is_blessing = std::env::var("BLESS").is_ok();
    let figures: toml::Table = if is_blessing { toml::Table::new() } else { std::fs::read_to_string(figures()).unwrap().parse().unwrap() };
    if !is_blessing && figures["compiler"].as_str() != Some(compiler().as_str()) {
        return tell(&format!("not compared: the figures are of {}", figures["compiler"]));
    }
    let Some(counts) = count() else { return tell("not counted: valgrind is not installed") };
    if is_blessing {
        return bless(&counts);
    }
    let figures = figures["instructions_per_row"].as_table().unwrap();
    let names: Vec<&String> = figures.keys().collect();
    let mut more = Vec::new();
    for (name, count) in &counts {
        let figure = figures.get(name).and_then(toml::Value::as_integer).map_or(0, |figure| u64::try_from(figure).unwrap());
        if *count * 1_000 > figure * (1_000 + MORE_MAX_PER_THOUSAND) {
            more.push(format!("{name}: {count} instead of {figure}"));
        } else if *count * 1_000 < figure * (1_000 - MORE_MAX_PER_THOUSAND) {
            tell(&format!("{name} needs only {count} instead of {figure}: lower the figure with BLESS=1"));
        }
    }
    assert!(names.iter().all(|name| counts.contains_key(*name)), "instructions.toml has a figure of what is not counted");
    assert!(more.is_empty(), "more instructions per row than instructions.toml says:\n{}\n", more.join("\n"));
}
