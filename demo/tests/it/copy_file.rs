//! Reads PostgreSQL's binary COPY files the plain way: every field as bytes.

use std::fs;
use std::path::Path;

/// One tuple's fields; `None` is NULL.
pub(crate) type Tuple = Vec<Option<Vec<u8>>>;

pub(crate) fn read(path: &Path) -> Vec<Tuple> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..11], b"PGCOPY\n\xff\r\n\0");
    assert_eq!(&bytes[11..19], [0; 8]);
    let mut at = 19;
    let mut tuples = Vec::new();
    loop {
        let fields = i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
        at += 2;
        if fields == -1 {
            assert_eq!(at, bytes.len(), "nothing follows the trailer");
            return tuples;
        }
        let tuple = (0..fields)
            .map(|_| {
                let length = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
                at += 4;
                let length = usize::try_from(length).ok()?;
                at += length;
                Some(bytes[at - length..at].to_vec())
            })
            .collect();
        tuples.push(tuple);
    }
}

pub(crate) fn integer(field: &Option<Vec<u8>>) -> i64 {
    let bytes = field.as_ref().unwrap();
    match bytes.len() {
        4 => i64::from(i32::from_be_bytes(bytes.as_slice().try_into().unwrap())),
        _ => i64::from_be_bytes(bytes.as_slice().try_into().unwrap()),
    }
}

pub(crate) fn text(field: &Option<Vec<u8>>) -> Option<String> {
    field.clone().map(|bytes| String::from_utf8(bytes).unwrap())
}

pub(crate) fn uuid(field: &Option<Vec<u8>>) -> Option<String> {
    field.as_ref().map(|bytes| uuid::Uuid::from_slice(bytes).unwrap().to_string())
}

/// A numeric in units of 10⁻⁴.
pub(crate) fn ten_thousandths(field: &Option<Vec<u8>>) -> i64 {
    let bytes = field.as_ref().unwrap();
    let word = |at: usize| i16::from_be_bytes([bytes[2 * at], bytes[2 * at + 1]]);
    let (digits, weight, sign) = (word(0), word(1), word(2));
    // A digit's weight counts powers of 10,000; one below the point is the unit here.
    let value: i64 = (0..digits).map(|digit| i64::from(word(4 + digit as usize)) * 10_000_i64.pow((weight - digit + 1) as u32)).sum();
    if sign == 0 { value } else { -value }
}
