//! What decoding promises, over documents that the driver's own library writes.

use ::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float64Type, Int32Type, TimestampMicrosecondType};
use pipeline_core::contract::{Contract, Privacy, parse_column};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;

use super::{Decoder, Misfit};

pub(crate) fn contract(columns: &[(&str, &str)]) -> Contract {
    let columns =
        columns.iter().map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap()).collect();
    let contract =
        Contract { table: TableName::new("shop", "orders").unwrap(), columns, key: Vec::new(), cursor: None, description: String::new() };
    contract.check().unwrap();
    contract
}

fn decode(columns: &[(&str, &str)], documents: &[Document]) -> Result<RecordBatch, Box<Misfit>> {
    let mut decoder = Decoder::new(&contract(columns), Some(&PrivacyKey::new(b"key"))).unwrap();
    for document in documents {
        decoder.append(&document.to_vec().unwrap())?;
    }
    Ok(decoder.finish().unwrap())
}

fn misfit(column: &str, value: impl Into<Bson>) -> String {
    let error = decode(&[("c", column)], &[doc! {"c": value.into()}]).unwrap_err();
    assert_eq!(error.column, "c");
    error.reason
}

/// The orders of the example, in short.
const ORDERS: &[(&str, &str)] = &[
    ("order_id", "text not null from _id"),
    ("customer_id", "uuid from customerId"),
    ("placed_at", "timestamp not null from placedAt"),
    (
        "items",
        "list<struct<sku text not null, quantity int, price decimal(18,2) from unitPrice, modifiers list<struct<name text, price decimal(18,2)>>>>",
    ),
    ("totals", "struct<total decimal(18,2), currency text>"),
    (
        "delivery",
        "struct<address struct<street text, city text> only document, address_text text from address only string, longitude double from location.coordinates.0, latitude double from location.coordinates.1>",
    ),
    ("device", "json"),
    ("_extra", "json"),
];

fn order() -> Document {
    doc! {
        "_id": ObjectId::from_bytes([7; 12]), "customerId": "5F9F1C1E-3A64-4D9A-8F4E-000000000001", "placedAt": DateTime::from_millis(1_735_689_600_123),
        "items": [
            {"sku": "A", "quantity": 2_i64, "unitPrice": Bson::Decimal128("12.50".parse().unwrap()), "modifiers": [{"name": "cheese", "price": 3.0}]},
            {"sku": "B", "quantity": 1.0, "unitPrice": 7, "modifiers": [], "weight": 12},
        ],
        "totals": {"total": 32.0, "currency": "PLN", "roundUp": true},
        "delivery": {"address": {"street": "Marszałkowska 1", "city": "Warszawa"}, "location": {"type": "Point", "coordinates": [21.0, 52.2]}},
        "device": {"os": "ios", "version": 17}, "coupon": "X",
    }
}

#[test]
fn an_order_becomes_a_row() {
    let batch = decode(ORDERS, &[order()]).unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "070707070707070707070707");
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "5f9f1c1e-3a64-4d9a-8f4e-000000000001");
    assert_eq!(batch.column(2).as_primitive::<TimestampMicrosecondType>().value(0), 1_735_689_600_123_000);
    let items = batch.column(3).as_list::<i32>().value(0);
    let items = items.as_struct();
    assert_eq!(items.column_by_name("quantity").unwrap().as_primitive::<Int32Type>().values(), &[2, 1]);
    assert_eq!(items.column_by_name("price").unwrap().as_primitive::<Decimal128Type>().values(), &[1250, 700]);
    let modifiers = items.column_by_name("modifiers").unwrap().as_list::<i32>();
    assert_eq!((modifiers.value(0).len(), modifiers.value(1).len()), (1, 0));
    let delivery = batch.column(5).as_struct();
    assert_eq!(delivery.column_by_name("longitude").unwrap().as_primitive::<Float64Type>().value(0), 21.0);
    assert_eq!(delivery.column_by_name("latitude").unwrap().as_primitive::<Float64Type>().value(0), 52.2);
    assert!(delivery.column_by_name("address_text").unwrap().is_null(0));
    assert_eq!(batch.column(6).as_string::<i32>().value(0), r#"{"os":"ios","version":17}"#);
    assert_eq!(batch.column(7).as_string::<i32>().value(0), r#"{"items.1.weight":12,"totals.roundUp":true,"coupon":"X"}"#);
}

#[test]
fn a_changed_shape_is_taken_apart() {
    let batch =
        decode(ORDERS, &[doc! {"_id": "a", "placedAt": DateTime::from_millis(0), "delivery": {"address": "Nowy Świat 2"}}, order()])
            .unwrap();
    let delivery = batch.column(5).as_struct();
    assert_eq!(delivery.column_by_name("address_text").unwrap().as_string::<i32>().value(0), "Nowy Świat 2");
    assert!(delivery.column_by_name("address").unwrap().is_null(0));
    assert!(delivery.column_by_name("address").unwrap().is_valid(1));
    assert!(batch.column(7).is_null(0));
    // A kind that neither variant takes is kept as undeclared.
    let batch = decode(ORDERS, &[doc! {"_id": "a", "placedAt": DateTime::from_millis(0), "delivery": {"address": 5}}]).unwrap();
    assert_eq!(batch.column(7).as_string::<i32>().value(0), r#"{"delivery.address":5}"#);
}

#[test]
fn a_row_that_does_not_fit_leaves_no_trace() {
    let mut bad = Vec::new();
    for (path, value) in [("quantity", Bson::String("2".into())), ("sku", Bson::Null), ("modifiers", Bson::Int32(1))] {
        let mut order = order();
        order.get_array_mut("items").unwrap()[1].as_document_mut().unwrap().insert(path, value);
        bad.push((format!("items.{path}"), order));
    }
    let mut late = order();
    late.insert("totals", doc! {"total": "32.00"});
    bad.push(("totals.total".to_owned(), late));
    let mut missing = order();
    missing.remove("placedAt");
    bad.push(("placed_at".to_owned(), missing));

    let good = decode(ORDERS, &[order(), order()]).unwrap();
    let mut decoder = Decoder::new(&contract(ORDERS), None).unwrap();
    decoder.append(&order().to_vec().unwrap()).unwrap();
    for (column, document) in &bad {
        let misfit = decoder.append(&document.to_vec().unwrap()).unwrap_err();
        assert_eq!(&misfit.column, column);
        assert!(!misfit.reason.contains("32.00"), "{}", misfit.reason);
    }
    decoder.append(&order().to_vec().unwrap()).unwrap();
    assert_eq!(decoder.rows(), 2);
    assert_eq!(decoder.finish().unwrap(), good);
    decoder.append(&order().to_vec().unwrap()).unwrap();
    assert_eq!(decoder.finish().unwrap(), good.slice(0, 1), "a second batch begins anew");
}

#[test]
fn text_never_becomes_a_number_or_a_date_and_the_reason_says_so() {
    assert_eq!(misfit("int", "5"), "a string stands where int is declared");
    assert_eq!(misfit("decimal(18,2)", "5.00"), "a string stands where decimal(18,2) is declared");
    assert_eq!(misfit("timestamp", "2025-01-01"), "a string stands where timestamp is declared");
    assert_eq!(misfit("timestamp", 5_i64), "an int64 stands where timestamp is declared");
    assert_eq!(misfit("timestamp", DateTime::MAX), "a date is out of the range of timestamp");
    assert_eq!(misfit("date", DateTime::from_millis(1)), "a date with a time of day stands where date is declared");
    assert_eq!(misfit("decimal(18,2)", 1.005), "a double has more digits after the point than decimal(18,2)");
    assert_eq!(misfit("int", i64::MAX), "an int64 is out of the range of int");
    assert_eq!(misfit("text", 5), "an int32 stands where text is declared");
    assert_eq!(misfit("boolean", 1), "an int32 stands where boolean is declared");
    assert_eq!(misfit("uuid", "not one"), "a string that is no UUID stands where uuid is declared");
    assert_eq!(misfit("list<int>", doc! {"0": 1}), "a document stands where a list is declared");
    assert_eq!(misfit("struct<a int>", Bson::Array(vec![])), "an array stands where a document is declared");
    assert_eq!(misfit("int not null", Bson::Null), "a value is missing or NULL, and the column is not null");
    assert_eq!(misfit("int not null", Bson::Undefined), "a value is missing or NULL, and the column is not null");
    let error = decode(&[("c", "int from a.b")], &[doc! {"a": "text"}]).unwrap_err();
    assert_eq!((error.column.as_str(), error.reason.as_str()), ("c", "a string stands where a document is expected"));
}

#[test]
fn uuids_come_as_text_and_as_binary() {
    let uuid = ::bson::Uuid::from_bytes([0xAB; 16]);
    let batch =
        decode(&[("c", "uuid")], &[doc! {"c": uuid.to_string().to_uppercase()}, doc! {"c": Bson::Binary(uuid.into())}, doc! {}]).unwrap();
    let column = batch.column(0).as_string::<i32>();
    assert_eq!((column.value(0), column.value(1)), (uuid.to_string().as_str(), uuid.to_string().as_str()));
    assert!(column.is_null(2));
}

#[test]
fn personal_values_do_not_pass() {
    let columns =
        &[("email", "text pii hash"), ("phone", "text pii mask"), ("note", "text pii drop"), ("age", "int pii hash"), ("_extra", "json")];
    let documents = [doc! {"email": "a@example.com", "phone": "123", "note": {"secret": 1}, "age": 7}, doc! {"email": null}];
    let batch = decode(columns, &documents).unwrap();
    let key = PrivacyKey::new(b"key");
    assert_eq!(batch.column(0).as_string::<i32>().value(0), key.hash(b"a@example.com"));
    assert!(batch.column(0).is_null(1));
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "***");
    assert!(batch.column(2).is_null(0), "never read");
    assert_eq!(batch.column(3).as_string::<i32>().value(0), key.hash(b"7"));
    assert!(batch.column(4).is_null(0), "nor kept as undeclared");
    assert!(decode(columns, &[doc! {"age": "seven"}]).is_err(), "a hashed value is checked as well");
    let mut hashed = contract(&[("email", "text")]);
    hashed.columns[0].privacy = Privacy::Hash;
    assert_eq!(Decoder::new(&hashed, None).unwrap_err().code().name, "E-PRIVACY-KEY");
}

#[test]
fn the_last_of_equal_names_counts() {
    // {"a": {"b": 1, "c": 1}, "x": 1, "a": {"b": 2}, "a": null} in parts, which the library cannot build.
    let part = |name: &str, value: Bson| {
        let bytes = doc! {name: value}.to_vec().unwrap();
        bytes[4..bytes.len() - 1].to_vec()
    };
    let whole = |parts: &[Vec<u8>]| {
        let body = parts.concat();
        let mut document = i32::try_from(body.len() + 5).unwrap().to_le_bytes().to_vec();
        document.extend(body);
        document.push(0);
        document
    };
    let columns = contract(&[("b", "int from a.b"), ("x", "int"), ("l", "list<int>"), ("_extra", "json")]);
    let mut decoder = Decoder::new(&columns, None).unwrap();
    let first = [part("a", doc! {"b": 1, "c": 1}.into()), part("x", 1.into()), part("l", vec![1, 2].into())];
    decoder.append(&whole(&[&first[..], &[part("a", doc! {"b": 2}.into()), part("l", vec![3].into())]].concat())).unwrap();
    decoder.append(&whole(&[&first[..], &[part("a", Bson::Null), part("y", 1.into()), part("y", 2.into())]].concat())).unwrap();
    let batch = decoder.finish().unwrap();
    let b = batch.column(0).as_primitive::<Int32Type>();
    assert_eq!((b.value(0), b.is_null(1)), (2, true));
    assert_eq!(batch.column(2).as_list::<i32>().value(0).as_primitive::<Int32Type>().values(), &[3]);
    assert!(batch.column(3).is_null(0), "what the first one had is gone");
    assert_eq!(batch.column(3).as_string::<i32>().value(1), r#"{"y":2}"#);
}

#[test]
fn fields_may_come_in_any_order_and_be_counted() {
    let columns = contract(&[("a", "int"), ("b", "int"), ("c", "int")]);
    let mut decoder = Decoder::new(&columns, None).unwrap();
    for document in [doc! {"c": 3, "z": 0, "a": 1, "b": 2}, doc! {"b": 2, "c": 3, "y": 1, "a": 1}] {
        decoder.append(&document.to_vec().unwrap()).unwrap();
    }
    assert_eq!(decoder.undeclared(), 2);
    let batch = decoder.finish().unwrap();
    for (index, value) in [1, 2, 3].into_iter().enumerate() {
        assert_eq!(batch.column(index).as_primitive::<Int32Type>().values(), &[value, value]);
    }
}

/// A small generator of numbers, so that a failing case can be had again from its seed.
pub(super) struct Random(u64);

impl Random {
    /// Seeds that differ little begin differently.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn value(&mut self, depth: u32) -> Bson {
        match self.below(if depth > 3 { 12 } else { 16 }) {
            0 => Bson::Null,
            1 => Bson::Int32(self.next() as i32),
            2 => Bson::Int64(self.next() as i64),
            3 => Bson::Double(f64::from_bits(self.next())),
            4 => Bson::Boolean(self.below(2) == 0),
            5 => Bson::String("zażółć gęślą".chars().take(self.below(12) as usize).collect()),
            6 => Bson::DateTime(DateTime::from_millis(self.next() as i64 >> self.below(40))),
            7 => Bson::ObjectId(ObjectId::from_bytes([self.next() as u8; 12])),
            8 => Bson::Decimal128(::bson::Decimal128::from_bytes(
                [self.next().to_le_bytes(), self.next().to_le_bytes()].concat().try_into().unwrap(),
            )),
            9 => Bson::Binary(::bson::Binary { subtype: (self.below(6) as u8).into(), bytes: self.next().to_le_bytes().repeat(2) }),
            10 => Bson::Timestamp(::bson::Timestamp { time: self.next() as u32, increment: 1 }),
            11 => Bson::MaxKey,
            12 | 13 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect::<Vec<_>>().into(),
            _ => self.document(depth + 1).into(),
        }
    }

    fn document(&mut self, depth: u32) -> Document {
        const NAMES: &[&str] = &[
            "_id",
            "customerId",
            "placedAt",
            "items",
            "totals",
            "delivery",
            "device",
            "sku",
            "quantity",
            "unitPrice",
            "modifiers",
            "total",
            "address",
            "location",
            "coordinates",
            "type",
            "other",
        ];
        (0..self.below(8)).map(|_| (NAMES[self.below(NAMES.len() as u64) as usize].to_owned(), self.value(depth))).collect()
    }
}

#[test]
fn any_document_and_any_bytes_are_taken_wholly_or_not_at_all() {
    let seed = 0x5EED_1234_ABCD_0001;
    let mut random = Random(seed);
    let mut decoder = Decoder::new(&contract(ORDERS), None).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut document = order();
        for (name, value) in random.document(0) {
            document.insert(name, value);
        }
        let mut bytes = if round % 3 == 0 { random.document(0) } else { document }.to_vec().unwrap();
        if round % 2 == 0 {
            for _ in 0..=random.below(4) {
                let place = random.below(bytes.len() as u64) as usize;
                bytes[place] = random.next() as u8;
            }
        }
        if round % 7 == 0 {
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
        }
        let rows = decoder.rows();
        match decoder.append(&bytes) {
            Ok(()) => taken += 1,
            Err(_) => refused += 1,
        }
        assert!(decoder.rows() - rows <= 1, "seed {seed:x} round {round}");
        if decoder.is_full() || round % 500 == 0 {
            let rows = decoder.rows();
            let batch = decoder.finish().unwrap();
            batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            assert_eq!(batch.num_rows(), rows);
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "both ways are tried: {taken} taken, {refused} refused");
}

#[test]
fn values_come_back_as_they_were() {
    let mut random = Random(0xC0FF_EE00_1234_5678);
    let columns = contract(&[("i", "bigint"), ("d", "double"), ("t", "text"), ("m", "decimal(38,4)"), ("b", "bytes"), ("at", "timestamp")]);
    let mut decoder = Decoder::new(&columns, None).unwrap();
    let mut expected = Vec::new();
    for _ in 0..2_000 {
        let (i, d, at) = (random.next() as i64, f64::from_bits(random.next()), (random.next() as i64) >> 12);
        let m = random.next() >> 20;
        let text: String = (0..random.below(9)).map(|_| char::from_u32(random.below(0xD7FF) as u32).unwrap()).collect();
        let bytes = random.next().to_le_bytes()[..random.below(9) as usize].to_vec();
        let decimal: ::bson::Decimal128 = format!("{}.{:04}", m / 10_000, m % 10_000).parse().unwrap();
        let document = doc! {
            "i": i, "d": d, "t": &text, "m": decimal, "at": DateTime::from_millis(at),
            "b": Bson::Binary(::bson::Binary { subtype: ::bson::spec::BinarySubtype::Generic, bytes: bytes.clone() }),
        };
        decoder.append(&document.to_vec().unwrap()).unwrap();
        expected.push((i, d.to_bits(), text, i128::from(m), bytes, at * 1000));
    }
    let batch = decoder.finish().unwrap();
    for (row, (i, d, text, m, bytes, at)) in expected.iter().enumerate() {
        assert_eq!(batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(row), *i);
        assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(row).to_bits(), *d);
        assert_eq!(batch.column(2).as_string::<i32>().value(row), text);
        assert_eq!(batch.column(3).as_primitive::<Decimal128Type>().value(row), *m);
        assert_eq!(batch.column(4).as_binary::<i32>().value(row), bytes);
        assert_eq!(batch.column(5).as_primitive::<TimestampMicrosecondType>().value(row), *at);
    }
}
