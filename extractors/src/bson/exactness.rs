//! Every type, every number and every odd key: what arrives is what was written, or nothing does.
//!
//! Documents are written byte by byte as the specification says (<https://bsonspec.org/spec.html>), because the driver's library writes
//! neither deprecated types nor repeated names. What they mean is the library's word: it reads the same bytes.

use std::str::FromStr;
use std::sync::Arc;

use ::bson::{Decimal128, Document};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use super::element::kind;
use super::tests::{Random, contract};
use super::{DOCUMENT_BYTES_MAX, Decoder, Misfit, identity};

/// A document as it grows.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn field(&mut self, kind: u8, name: &[u8], value: &[u8]) -> &mut Self {
        self.0.push(kind);
        self.0.extend_from_slice(name);
        self.0.push(0);
        self.0.extend_from_slice(value);
        self
    }

    fn int(&mut self, name: &str, value: i32) -> &mut Self {
        self.field(kind::INT32, name.as_bytes(), &value.to_le_bytes())
    }

    fn document(&self) -> Vec<u8> {
        let length = i32::try_from(self.0.len() + 5).unwrap();
        [&length.to_le_bytes(), self.0.as_slice(), &[0]].concat()
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [&i32::try_from(text.len() + 1).unwrap().to_le_bytes(), text, &[0]].concat()
}

fn decode(columns: &[(&str, &str)], document: &[u8]) -> Result<RecordBatch, Box<Misfit>> {
    let mut decoder = Decoder::new(&contract(columns), None).unwrap();
    decoder.append(document)?;
    Ok(decoder.finish().unwrap())
}

fn json_of(columns: &[(&str, &str)], column: usize, document: &[u8]) -> String {
    decode(columns, document).unwrap().column(column).as_string::<i32>().value(0).to_owned()
}

/// Bytes of a random value and their type.
fn value(random: &mut Random, depth: usize) -> (u8, Vec<u8>) {
    const TEXTS: &[&str] = &["", "zażółć", "\u{1F600}", "a\"\\\n\u{1}", "$oid", "nul\0inside"];
    const OPTIONS: &[&str] = &["", "i", "imx"];
    let mut eight = || random.next().to_le_bytes().to_vec();
    let (first, second) = (eight(), eight());
    let text = TEXTS[random.below(TEXTS.len() as u64) as usize].as_bytes();
    let name = text.split(|byte| *byte == 0).next().unwrap();
    match random.below(if depth > 4 { 19 } else { 24 }) {
        0 => (kind::DOUBLE, first),
        1 => (kind::DOUBLE, f64::from(random.next() as i32).to_le_bytes().to_vec()),
        2 => (kind::STRING, string(text)),
        3 => {
            let subtype = [0, 1, 3, 4, 5, 6, 7, 8, 9, 0x80, 0xFF][random.below(11) as usize];
            (kind::BINARY, [&16_i32.to_le_bytes(), [subtype].as_slice(), &first, &second].concat())
        }
        4 => (kind::BINARY, [12_i32.to_le_bytes().as_slice(), &[2], &8_i32.to_le_bytes(), &first].concat()),
        5 => (kind::UNDEFINED, Vec::new()),
        6 => (kind::OBJECT_ID, [first.as_slice(), &second[..4]].concat()),
        7 => (kind::BOOLEAN, vec![u8::from(random.below(2) == 0)]),
        // The library holds instants up to the year 9999 only.
        8 => (kind::DATE, (i64::from_le_bytes(first.try_into().unwrap()) >> (17 + random.below(46))).to_le_bytes().to_vec()),
        9 => (kind::NULL, Vec::new()),
        10 => (kind::REGEX, [name, &[0], OPTIONS[random.below(3) as usize].as_bytes(), &[0]].concat()),
        11 => (kind::DB_POINTER, [string(text).as_slice(), &first, &second[..4]].concat()),
        12 => (kind::CODE, string(text)),
        13 => (kind::SYMBOL, string(text)),
        14 => (kind::INT32, first[..4].to_vec()),
        15 => (kind::TIMESTAMP, first),
        16 => (kind::INT64, first),
        17 => (kind::DECIMAL128, random_decimal(random).bytes().to_vec()),
        18 => ([kind::MIN_KEY, kind::MAX_KEY][random.below(2) as usize], Vec::new()),
        19 => {
            let code = string(text);
            let scope = document(random, depth + 1);
            let length = i32::try_from(4 + code.len() + scope.len()).unwrap();
            (kind::CODE_WITH_SCOPE, [length.to_le_bytes().as_slice(), &code, &scope].concat())
        }
        20 | 21 => {
            let mut array = Writer::default();
            for index in 0..random.below(4) {
                let (kind, bytes) = value(random, depth + 1);
                array.field(kind, index.to_string().as_bytes(), &bytes);
            }
            (kind::ARRAY, array.document())
        }
        _ => (kind::DOCUMENT, document(random, depth + 1)),
    }
}

fn document(random: &mut Random, depth: usize) -> Vec<u8> {
    const NAMES: &[&str] = &["", "a", "b.c", "$set", "$", ".", "..", "0", "ż", "a\\b", "\"", "\n", "_id"];
    let mut writer = Writer::default();
    // Each name once: what the library makes of repeated ones is not what counts here.
    for name in NAMES {
        if random.below(3) == 0 {
            let (kind, bytes) = value(random, depth);
            writer.field(kind, name.as_bytes(), &bytes);
        }
    }
    writer.document()
}

fn random_decimal(random: &mut Random) -> Decimal128 {
    let digits = random.below(34) as usize;
    let coefficient: String = (0..=digits).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
    let exponent = match random.below(4) {
        0 => random.below(12_000) as i64 - 6_000,
        _ => random.below(40) as i64 - 20,
    };
    let sign = if random.below(2) == 0 { "-" } else { "" };
    match random.below(30) {
        0 => "NaN".parse().unwrap(),
        1 => "Infinity".parse().unwrap(),
        2 => "-Infinity".parse().unwrap(),
        _ => Decimal128::from_str(&format!("{sign}{coefficient}E{exponent}")).unwrap_or_else(|_| "0".parse().unwrap()),
    }
}

/// Whether two JSON values say the same: numbers by what they are, and dates too, which have more than one text.
fn same(ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (ours, theirs) {
        (Json::Number(ours), Json::Number(theirs)) => {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            let is_double = |text: &str| text.contains(['.', 'e', 'E']);
            is_double(&ours) == is_double(&theirs)
                && (ours == theirs
                    || (is_double(&ours) && ours.parse::<f64>().unwrap().to_bits() == theirs.parse::<f64>().unwrap().to_bits()))
        }
        (Json::Array(ours), Json::Array(theirs)) => ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b)),
        (Json::Object(ours), Json::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(name, a)| match (name.as_str(), a, theirs.get(name)) {
                    ("$date", Json::String(a), Some(Json::String(b))) => {
                        let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok();
                        a == b || (instant(a).is_some() && instant(a) == instant(b))
                    }
                    (_, a, b) => b.is_some_and(|b| same(a, b)),
                })
        }
        (ours, theirs) => ours == theirs,
    }
}

#[test]
fn documents_of_every_type_are_the_json_that_the_library_makes_of_them() {
    let mut random = Random::new(0xB50A_0001);
    let mut kinds = std::collections::BTreeSet::new();
    for round in 0..4_000 {
        let inner = document(&mut random, 0);
        let (kind, bytes) = value(&mut random, 0);
        kinds.insert(kind);
        let whole = Writer::default().field(kind::DOCUMENT, b"d", &inner).field(kind, b"_id", &bytes).document();
        let theirs = Document::from_reader(whole.as_slice()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let batch = decode(&[("id", "json from _id"), ("d", "json")], &whole).unwrap();
        for (column, name) in ["_id", "d"].into_iter().enumerate() {
            let theirs = theirs.get(name).unwrap().clone().into_relaxed_extjson();
            if matches!(kind, kind::NULL | kind::UNDEFINED) && name == "_id" {
                assert!(batch.column(column).is_null(0), "round {round}");
                continue;
            }
            let text = batch.column(column).as_string::<i32>().value(0);
            let ours: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("round {round}: {error}: {text}"));
            assert!(same(&ours, &theirs), "round {round}, {name}:\n  ours {ours}\ntheirs {theirs}");
        }
        assert!(identity(&whole).is_some(), "a rejected document can be told by any kind of _id");
    }
    crate::tests_tried("4000 random documents beside the JSON that the BSON library makes of them");
    assert_eq!(kinds.len(), 21, "every type stood for itself");
}

/// A finite decimal: sign, digits without zeros at either end, and the power of ten of the last digit.
type Plain = (bool, String, i64);

/// Reads `-12.50E+3` by its text alone. None if it is not finite.
fn plain(text: &str) -> Option<Plain> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (number, exponent) = text.split_once(['E', 'e']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut power = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).unwrap();
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    power += i64::try_from(digits.len() - kept.len()).unwrap();
    if kept.is_empty() { Some((false, String::new(), 0)) } else { Some((negative, kept.to_owned(), power)) }
}

/// A number in a document, and its exact meaning: of a double, the shortest decimal that reads back as itself.
fn number(random: &mut Random) -> (u8, Vec<u8>, Option<Plain>) {
    let small = random.next() as i64 >> (random.below(60) + 3);
    match random.below(6) {
        0 => (kind::INT32, (small as i32).to_le_bytes().to_vec(), plain(&(small as i32).to_string())),
        1 => (kind::INT64, small.to_le_bytes().to_vec(), plain(&small.to_string())),
        2 => {
            let number = small as f64 / [1.0, 10.0, 100.0, 1_000.0][random.below(4) as usize];
            (kind::DOUBLE, number.to_le_bytes().to_vec(), plain(&format!("{number:e}")))
        }
        3 => {
            let number = f64::from_bits(random.next());
            (kind::DOUBLE, number.to_le_bytes().to_vec(), number.is_finite().then(|| plain(&format!("{number:e}"))).flatten())
        }
        4 => {
            let decimal: Decimal128 = format!("{small}E-{}", random.below(4)).parse().unwrap();
            (kind::DECIMAL128, decimal.bytes().to_vec(), plain(&decimal.to_string()))
        }
        _ => {
            let decimal = random_decimal(random);
            (kind::DECIMAL128, decimal.bytes().to_vec(), plain(&decimal.to_string()))
        }
    }
}

/// Whether a decimal has at most `scale` digits after the point, and is below `10^(precision - scale)`.
fn has_room((_, digits, power): &Plain, precision: i64, scale: i64) -> bool {
    digits.is_empty() || (*power >= -scale && i64::try_from(digits.len()).unwrap() + power <= precision - scale)
}

fn whole_number(number: &Plain) -> Option<i128> {
    let (negative, digits, power) = number;
    if digits.is_empty() {
        return Some(0);
    }
    if *power < 0 || *power > 40 {
        return None;
    }
    let magnitude: i128 = format!("{digits}{}", "0".repeat(usize::try_from(*power).unwrap())).parse().ok()?;
    Some(if *negative { -magnitude } else { magnitude })
}

#[test]
fn one_field_of_many_kinds_arrives_exactly_or_not_at_all() {
    let mut random = Random::new(0xB50A_0002);
    let (mut arrived, mut refused) = (0, 0);
    for round in 0..30_000 {
        let (kind, bytes, meaning) = number(&mut random);
        let whole = Writer::default().field(kind, b"c", &bytes).document();
        let read = |declared: &str| decode(&[("c", declared)], &whole).map(|batch| Arc::clone(batch.column(0))).ok();
        let mut check = |declared: &str, read: Option<Option<Plain>>, meaning: &Option<Plain>, fits: bool| {
            if fits {
                arrived += 1;
                assert_eq!(read.as_ref(), Some(meaning), "round {round}: type {kind:#x} as {declared}");
            } else {
                refused += 1;
                assert_eq!(read, None, "round {round}: type {kind:#x} as {declared} of {meaning:?}");
            }
        };
        // A whole double is the integer it is, beyond the digits that tell it from its neighbours too.
        let double = (kind == kind::DOUBLE).then(|| f64::from_le_bytes(bytes.as_slice().try_into().unwrap()));
        let integer = match double {
            Some(number) if number.fract() == 0.0 => plain(&format!("{number:.0}")),
            Some(_) => None,
            None => meaning.clone(),
        };
        for (declared, minimum, maximum) in [
            ("smallint", i128::from(i16::MIN), i128::from(i16::MAX)),
            ("int", i128::from(i32::MIN), i128::from(i32::MAX)),
            ("bigint", i128::from(i64::MIN), i128::from(i64::MAX)),
        ] {
            let array = read(declared);
            let text = array.map(|array| match declared {
                "smallint" => array.as_primitive::<Int16Type>().value(0).to_string(),
                "int" => array.as_primitive::<Int32Type>().value(0).to_string(),
                _ => array.as_primitive::<Int64Type>().value(0).to_string(),
            });
            let fits = integer.as_ref().and_then(whole_number).is_some_and(|number| (minimum..=maximum).contains(&number));
            check(declared, text.map(|text| plain(&text)), &integer, fits);
        }
        for (declared, precision, scale) in [("decimal(18,2)", 18, 2), ("decimal(38,10)", 38, 10), ("decimal(76,30)", 76, 30)] {
            let text = read(declared).map(|array| match precision {
                76 => array.as_primitive::<Decimal256Type>().value_as_string(0),
                _ => array.as_primitive::<Decimal128Type>().value_as_string(0),
            });
            let fits = meaning.as_ref().is_some_and(|number| has_room(number, precision, scale));
            check(declared, text.map(|text| plain(&text)), &meaning, fits);
        }
        // As a binary number: a double as it is to the bit, of everything else what reads back as itself.
        let double = read("double").map(|array| array.as_primitive::<Float64Type>().value(0));
        if kind == kind::DOUBLE {
            assert_eq!(double.unwrap().to_bits().to_le_bytes().as_slice(), bytes, "round {round}");
        } else if let Some(meaning) = &meaning {
            let nearest: f64 = format!("{}0{}E{}", if meaning.0 { "-" } else { "" }, meaning.1, meaning.2).parse().unwrap();
            let is_exact = match kind {
                kind::DECIMAL128 => nearest.is_finite() && plain(&format!("{nearest:e}")).as_ref() == Some(meaning),
                _ => whole_number(meaning).is_some_and(|number| nearest as i128 == number),
            };
            assert_eq!(double.map(|double| double == nearest), is_exact.then_some(true), "round {round}: {meaning:?}");
        } else {
            assert!(double.is_some_and(|double| !double.is_finite()), "round {round}: NaN and infinities are doubles");
        }
        let single = read("real").map(|array| f64::from(array.as_primitive::<Float32Type>().value(0)));
        assert!(single.is_none_or(|single| Some(single.to_bits()) == double.map(f64::to_bits) || single.is_nan()), "round {round}");
        for declared in ["text", "uuid", "timestamp", "date", "boolean", "bytes", "list<int>", "struct<a int>"] {
            assert!(read(declared).is_none(), "round {round}: type {kind:#x} as {declared}");
        }
    }
    crate::tests_tried(&format!(
        "30000 numbers of every kind in BSON under every declared type: {arrived} arrived exactly, {refused} were refused"
    ));
    assert!(arrived > 50_000 && refused > 50_000, "both ways are tried: {arrived} and {refused}");
}

#[test]
fn out_of_range_coefficients_and_special_decimals_are_what_the_standard_says() {
    let bits = |high: u64, low: u64| [low.to_le_bytes(), high.to_le_bytes()].concat();
    let as_json = |bytes: &[u8]| json_of(&[("c", "json")], 0, &Writer::default().field(kind::DECIMAL128, b"c", bytes).document());
    for (high, low, text) in [
        (0x7C00_0000_0000_0000, 0, "NaN"),
        (0xFC00_0000_0000_0001, 7, "NaN"),
        (0x7800_0000_0000_0000, 0, "Infinity"),
        (0xF800_0000_0000_0000, 9, "-Infinity"),
        // 10^34 and more in the usual form, and the form whose coefficients are all too large: both count as zero.
        (0x3041_ED09_BEAD_87C0, 0x378D_8E64_0000_0000, "0"),
        (0x6C10_0000_0000_0000, 1, "0"),
        (0x3041_ED09_BEAD_87C0, 0x378D_8E63_FFFF_FFFF, "9999999999999999999999999999999999"),
        (0xB040_0000_0000_0000, 0, "-0"),
    ] {
        assert_eq!(as_json(&bits(high, low)), format!("{{\"$numberDecimal\":\"{text}\"}}"), "{high:x} {low:x}");
    }
}

#[test]
fn keys_with_points_dollars_and_nothing_stay_apart() {
    let columns = [("c", "int from a.c"), ("_extra", "json")];
    let mut writer = Writer::default();
    let inner = Writer::default().int("b", 1).int("c", 2).int("b.b", 3).int("", 4).document();
    writer.field(kind::DOCUMENT, b"a", &inner).int("a.b", 5).int("a\\.b", 6).int("", 7).int("$set", 8).int("a.c", 9);
    let batch = decode(&columns, &writer.document()).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), 2, "a path is not a key with a point");
    assert_eq!(
        batch.column(1).as_string::<i32>().value(0),
        r#"{"a.b":1,"a.b\\.b":3,"a.":4,"a\\.b":5,"a\\\\\\.b":6,"":7,"$set":8,"a\\.c":9}"#
    );
}

#[test]
fn of_a_repeated_field_nothing_but_the_last_is_left() {
    let columns = [("b", "int from a.b"), ("t", "text only string"), ("z", "int"), ("_extra", "json")];
    let part = |fields: &[(&str, i32)]| {
        let mut writer = Writer::default();
        fields.iter().for_each(|(name, value)| {
            writer.int(name, *value);
        });
        writer.document()
    };
    // The first has nothing that is declared, so that no column tells of it.
    let mut writer = Writer::default();
    writer.field(kind::DOCUMENT, b"a", &part(&[("x", 1)])).int("t", 5).int("z", 1).field(kind::STRING, b"t", &string(b"last"));
    writer.field(kind::DOCUMENT, b"a", &part(&[("b", 2)])).int("a.x", 3);
    let batch = decode(&columns, &writer.document()).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), 2);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "last");
    assert_eq!(batch.column(3).as_string::<i32>().value(0), r#"{"a\\.x":3}"#);
    // Fields in another order than declared are no repetition.
    let whole = Writer::default().int("z", 1).int("y", 2).field(kind::DOCUMENT, b"a", &part(&[("x", 1), ("b", 2)])).document();
    assert_eq!(json_of(&columns, 3, &whole), r#"{"y":2,"a.x":1}"#);
}

#[test]
fn text_that_is_not_utf_8_is_refused_wherever_it_stands() {
    let bad = string(b"\xC3(");
    let inner = Writer::default().field(kind::STRING, b"s", &bad).document();
    let good = Writer::default().int("i", 1).document();
    let mut decoder = Decoder::new(&contract(&[("i", "int"), ("s", "text"), ("j", "json"), ("_extra", "json")]), None).unwrap();
    decoder.append(&good).unwrap();
    for (kind, name, value) in [
        (kind::STRING, b"s".as_slice(), bad.as_slice()),
        (kind::SYMBOL, b"s", &bad),
        (kind::DOCUMENT, b"j", &inner),
        (kind::CODE, b"j", &bad),
        (kind::REGEX, b"j", b"\xFF\0i\0"),
        (kind::STRING, b"other", &bad),
        (kind::INT32, b"\xFF", &[1, 0, 0, 0]),
    ] {
        let misfit = decoder.append(&Writer::default().field(kind, name, value).document()).unwrap_err();
        assert!(misfit.reason.contains("UTF-8"), "{}: {}", misfit.column, misfit.reason);
    }
    decoder.append(&good).unwrap();
    assert_eq!(decoder.finish().unwrap().num_rows(), 2);
}

#[test]
fn a_hundred_levels_are_read_and_more_are_refused() {
    // The value of field `d` is the first level.
    let nested = |levels: usize, kind_of: fn(usize) -> u8| {
        let mut inner = Writer::default().int("0", 7).document();
        for level in 1..levels {
            inner = Writer::default().field(kind_of(level), b"0", &inner).document();
        }
        Writer::default().field(kind::DOCUMENT, b"d", &inner).document()
    };
    let mixed: fn(usize) -> u8 = |level| if level % 2 == 0 { kind::ARRAY } else { kind::DOCUMENT };
    for kind_of in [|_| kind::DOCUMENT, mixed] {
        for (column, columns) in [(0, [("d", "json"), ("_extra", "json")]), (1, [("x", "json"), ("_extra", "json")])] {
            let text = json_of(&columns, column, &nested(99, kind_of));
            assert_eq!(text.matches(['{', '[']).count(), 99 + column);
            assert!(decode(&columns, &nested(120, kind_of)).is_err());
            // So deep that a stack would end.
            assert!(decode(&columns, &nested(100_000, kind_of)).is_err());
        }
    }
    assert!(decode(&[("x", "int")], &nested(100_000, mixed)).is_ok(), "what is not read is passed over");
}

#[test]
fn documents_of_sixteen_mebibytes_are_read() {
    let columns = [("items", "list<struct<a int>>"), ("text", "text"), ("raw", "bytes"), ("_extra", "json")];
    // Each field compared with each other would take many minutes.
    // One long text; one long run of bytes; hundreds of thousands of fields that nobody declared, at the top and in a list.
    let long = vec![b'x'; (16 << 20) - 100];
    let batch = decode(&columns, &Writer::default().field(kind::STRING, b"text", &string(&long)).document()).unwrap();
    assert_eq!(batch.column(1).as_string::<i32>().value(0).len(), long.len());
    let binary = [&i32::try_from(long.len()).unwrap().to_le_bytes(), [0].as_slice(), &long].concat();
    let batch = decode(&columns, &Writer::default().field(kind::BINARY, b"raw", &binary).document()).unwrap();
    assert_eq!(batch.column(2).as_binary::<i32>().value(0), long);
    let mut many = Writer::default();
    for field in 0..400_000 {
        many.int(&format!("field {field}"), field);
    }
    let text = json_of(&columns, 3, &many.document());
    assert_eq!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap().len(), 400_000);
    let item = Writer::default().int("a", 1).int("b", 2).document();
    let mut items = Writer::default();
    for index in 0..300_000 {
        items.field(kind::DOCUMENT, index.to_string().as_bytes(), &item);
    }
    let whole = Writer::default().field(kind::ARRAY, b"items", &items.document()).document();
    assert!(whole.len() < DOCUMENT_BYTES_MAX);
    let batch = decode(&columns, &whole).unwrap();
    assert_eq!(batch.column(0).as_list::<i32>().value(0).len(), 300_000);
    assert!(batch.column(3).as_string::<i32>().value(0).ends_with(r#","items.299999.b":2}"#));
}
