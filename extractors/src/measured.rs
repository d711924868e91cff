//! What is measured of the decoders: each kind of value as each declared type, and whole rows. Instructions are counted in a test
//! (`instructions.rs`), nanoseconds in `benches/decoders.rs`.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "what cannot be measured is a mistake in what is measured")]

use std::collections::HashSet;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

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
pub const ROWS: u32 = 500;

/// What is done once.
pub type Work = Box<dyn FnOnce()>;

/// What is measured, and its name.
pub struct Case {
    /// What is decoded into what.
    pub name: String,
    /// Makes what one measurement decodes with: that is not measured.
    pub prepare: Box<dyn Fn() -> Work>,
}

impl Case {
    fn new<W: FnOnce() + 'static>(name: String, prepare: impl Fn() -> W + 'static) -> Self {
        Self { name, prepare: Box::new(move || Box::new(prepare())) }
    }
}

/// Every case, in the order in which they are counted.
#[must_use]
pub fn cases() -> Vec<Case> {
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
    let documents: Arc<Vec<Vec<u8>>> = Arc::new((0..ROWS).map(|n| document(n).to_vec().unwrap()).collect());
    let contract = contract(columns);
    Case::new(name.to_owned(), move || {
        let (documents, mut decoder) = (Arc::clone(&documents), Decoder::new(&contract, Some(&key())).unwrap());
        move || {
            for document in documents.iter() {
                decoder.append(document).unwrap();
            }
            assert_eq!(black_box(decoder.finish().unwrap()).num_rows(), documents.len());
        }
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
        let data: Arc<[u8]> = [header, &tuple.repeat(ROWS as usize), &[0xFF, 0xFF]].concat().into();
        let column = SourceColumn::new(*name, PostgresType::parse(source, &|_| None).unwrap());
        let contract = contract(&[(*name, *declared)]);
        Case::new(format!("copy {source} as {declared}"), move || {
            let mut decoder = copy::Decoder::new(&contract, std::slice::from_ref(&column), Some(key())).unwrap();
            let data = Arc::clone(&data);
            move || {
                decoder.push(&data).unwrap();
                decoder.finish().unwrap();
                assert_eq!(black_box(decoder.take_batch().unwrap()).num_rows(), ROWS as usize);
            }
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
    let body: Arc<str> = body.into();
    let contract = contract(DOCUMENT_COLUMNS);
    Case::new("json page".to_owned(), move || {
        let (body, mut decoder) = (Arc::clone(&body), Decoder::new(&contract, Some(&key())).unwrap());
        move || {
            opensearch::each_document(body.as_bytes(), &mut |source: Value<'_>, id: Option<Value<'_>>| {
                json::append(&mut decoder, source, &[("_id", id.unwrap())]).unwrap();
            });
            assert_eq!(black_box(decoder.finish().unwrap()).num_rows(), ROWS as usize);
        }
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
    let messages: Arc<Vec<Vec<u8>>> = Arc::new([begin, relation].into_iter().chain(std::iter::repeat_n(insert, ROWS as usize)).collect());
    Case::new("log insert".to_owned(), move || {
        let messages = Arc::clone(&messages);
        move || {
            let mut taken = 0;
            fold_messages(&mut messages.iter().inspect(|_| taken += 1).map(Vec::as_slice), HashSet::from([7]));
            assert_eq!(taken, messages.len(), "every message can be read");
        }
    })
}
