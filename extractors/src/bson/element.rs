//! Raw BSON, one element at a time, without building documents.
//!
//! Layout and type numbers: the BSON specification 1.1, <https://bsonspec.org/spec.html>. Every length is checked against the
//! bytes at hand before it is used, so that no input can lead outside them.

/// Type bytes of BSON.
pub(crate) mod kind {
    pub(crate) const DOUBLE: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const DOCUMENT: u8 = 0x03;
    pub(crate) const ARRAY: u8 = 0x04;
    pub(crate) const BINARY: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const OBJECT_ID: u8 = 0x07;
    pub(crate) const BOOLEAN: u8 = 0x08;
    pub(crate) const DATE: u8 = 0x09;
    pub(crate) const NULL: u8 = 0x0A;
    pub(crate) const REGEX: u8 = 0x0B;
    pub(crate) const DB_POINTER: u8 = 0x0C;
    pub(crate) const CODE: u8 = 0x0D;
    pub(crate) const SYMBOL: u8 = 0x0E;
    pub(crate) const CODE_WITH_SCOPE: u8 = 0x0F;
    pub(crate) const INT32: u8 = 0x10;
    pub(crate) const TIMESTAMP: u8 = 0x11;
    pub(crate) const INT64: u8 = 0x12;
    pub(crate) const DECIMAL128: u8 = 0x13;
    pub(crate) const MAX_KEY: u8 = 0x7F;
    pub(crate) const MIN_KEY: u8 = 0xFF;
}

/// Smallest document: its length and the closing zero.
pub(crate) const DOCUMENT_BYTES_MIN: usize = 5;

/// Deepest nesting that is followed, the limit of the MongoDB server.
pub(crate) const DEPTH_MAX: usize = 100;

/// Bytes that are not BSON. The text says what is wrong and holds no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

const CUT: Malformed = Malformed("a value ends outside its document");

/// A value: its type and exactly its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) kind: u8,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The value of type `kind` at the head of `rest`.
    pub(crate) fn at_head(kind: u8, rest: &'a [u8]) -> Result<Self, Malformed> {
        let length = length_of(kind, rest)?;
        Ok(Self { kind, bytes: rest.get(..length).ok_or(CUT)? })
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.kind, kind::NULL | kind::UNDEFINED)
    }

    /// Four little-endian bytes at the head.
    pub(crate) fn int32(self) -> i32 {
        self.bytes.first_chunk().copied().map_or(0, i32::from_le_bytes)
    }

    /// Eight little-endian bytes at the head.
    pub(crate) fn int64(self) -> i64 {
        self.bytes.first_chunk().copied().map_or(0, i64::from_le_bytes)
    }

    /// Eight bytes at the head as a double.
    pub(crate) fn double(self) -> f64 {
        self.bytes.first_chunk().copied().map_or(0.0, f64::from_le_bytes)
    }

    /// The text of a string, symbol or code, without its length and closing zero.
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        let text = self.bytes.get(4..self.bytes.len().saturating_sub(1)).ok_or(CUT)?;
        std::str::from_utf8(text).map_err(|_| Malformed("a text is not valid UTF-8"))
    }

    /// Subtype and content of a binary value. The old subtype 2 repeats its length inside, which is taken off.
    pub(crate) fn binary(self) -> Result<(u8, &'a [u8]), Malformed> {
        let (subtype, content) = self.bytes.get(4..).and_then(<[u8]>::split_first).ok_or(CUT)?;
        if *subtype != 2 {
            return Ok((*subtype, content));
        }
        match content.split_first_chunk::<4>() {
            Some((length, inner)) if usize::try_from(i32::from_le_bytes(*length)) == Ok(inner.len()) => Ok((2, inner)),
            _ => Err(Malformed("an old binary value has a wrong inner length")),
        }
    }

    /// What stands between a document's (or array's) length and its closing zero.
    pub(crate) fn body(self) -> Result<&'a [u8], Malformed> {
        body(self.bytes)
    }

    /// The type's name for people.
    pub(crate) fn name(self) -> &'static str {
        match self.kind {
            kind::DOUBLE => "a double",
            kind::STRING => "a string",
            kind::DOCUMENT => "a document",
            kind::ARRAY => "an array",
            kind::BINARY => "a binary value",
            kind::UNDEFINED | kind::NULL => "NULL",
            kind::OBJECT_ID => "an ObjectId",
            kind::BOOLEAN => "a boolean",
            kind::DATE => "a date",
            kind::REGEX => "a regular expression",
            kind::DB_POINTER => "a DBPointer",
            kind::CODE | kind::CODE_WITH_SCOPE => "JavaScript code",
            kind::SYMBOL => "a symbol",
            kind::INT32 => "an int32",
            kind::TIMESTAMP => "an internal timestamp",
            kind::INT64 => "an int64",
            kind::DECIMAL128 => "a Decimal128",
            kind::MIN_KEY => "a MinKey",
            kind::MAX_KEY => "a MaxKey",
            _ => "a value of an unknown type",
        }
    }
}

/// What stands between the length and the closing zero of a document that fills `document` exactly.
pub(crate) fn body(document: &[u8]) -> Result<&[u8], Malformed> {
    let length = document.first_chunk().copied().map(i32::from_le_bytes);
    if length.and_then(|length| usize::try_from(length).ok()) != Some(document.len()) || document.len() < DOCUMENT_BYTES_MIN {
        return Err(Malformed("a document's length does not agree with its bytes"));
    }
    match document.split_last() {
        Some((0, rest)) => rest.get(4..).ok_or(CUT),
        _ => Err(Malformed("a document does not end with a zero byte")),
    }
}

/// The length of the name at the head of `rest`, without its closing zero.
pub(crate) fn name_length(rest: &[u8]) -> Result<usize, Malformed> {
    rest.iter().position(|byte| *byte == 0).ok_or(Malformed("a field's name does not end"))
}

fn length_of(kind: u8, rest: &[u8]) -> Result<usize, Malformed> {
    let declared = |minimum: i32| -> Result<usize, Malformed> {
        let length = rest.first_chunk().copied().map(i32::from_le_bytes).ok_or(CUT)?;
        if length < minimum {
            return Err(Malformed("a value has an impossible length"));
        }
        usize::try_from(length).map_err(|_| CUT)
    };
    let string = || -> Result<usize, Malformed> {
        let length = declared(1)?.saturating_add(4);
        match rest.get(length - 1) {
            Some(0) => Ok(length),
            Some(_) => Err(Malformed("a text does not end with a zero byte")),
            None => Err(CUT),
        }
    };
    match kind {
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => Ok(8),
        kind::STRING | kind::CODE | kind::SYMBOL => string(),
        kind::DOCUMENT | kind::ARRAY => declared(5),
        kind::BINARY => Ok(declared(0)?.saturating_add(5)),
        kind::UNDEFINED | kind::NULL | kind::MIN_KEY | kind::MAX_KEY => Ok(0),
        kind::OBJECT_ID => Ok(12),
        kind::BOOLEAN => Ok(1),
        kind::REGEX => {
            let pattern = name_length(rest)? + 1;
            Ok(pattern + name_length(rest.get(pattern..).ok_or(CUT)?)? + 1)
        }
        kind::DB_POINTER => Ok(string()?.saturating_add(12)),
        kind::CODE_WITH_SCOPE => declared(14),
        kind::INT32 => Ok(4),
        kind::DECIMAL128 => Ok(16),
        _ => Err(Malformed("a value has an unknown type")),
    }
}

/// The elements of a document's body, in order.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The next name (without its closing zero) and value.
    pub(crate) fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Malformed> {
        let Some((kind, rest)) = self.rest.split_first() else { return Ok(None) };
        let length = name_length(rest)?;
        let (name, rest) = rest.split_at(length);
        let rest = rest.get(1..).ok_or(CUT)?;
        let value = Value::at_head(*kind, rest)?;
        self.rest = rest.get(value.bytes.len()..).ok_or(CUT)?;
        Ok(Some((name, value)))
    }
}

/// The value at a path of names (an array's elements are named `0`, `1`, …); the last one of equal names counts.
pub(crate) fn find<'a>(document: &'a [u8], path: &[Box<[u8]>]) -> Result<Option<Value<'a>>, Malformed> {
    let Some((wanted, deeper)) = path.split_first() else { return Ok(None) };
    let mut elements = Elements::of(body(document)?);
    let mut found = None;
    while let Some((name, value)) = elements.next()? {
        if name == &**wanted {
            found = Some(value);
        }
    }
    match found {
        Some(value) if !deeper.is_empty() => match value.kind {
            kind::DOCUMENT | kind::ARRAY => find(value.bytes, deeper),
            _ => Ok(None),
        },
        other => Ok(other),
    }
}

/// The documents of an array, such as a batch of a server's reply.
#[derive(Debug)]
pub struct Documents<'a> {
    elements: Result<Elements<'a>, Malformed>,
}

impl<'a> Documents<'a> {
    /// The documents of an array that fills `array` exactly.
    #[must_use]
    pub fn of_array(array: &'a [u8]) -> Self {
        Self { elements: body(array).map(Elements::of) }
    }

    /// The next document's bytes.
    ///
    /// # Errors
    /// What is wrong with the array, in words.
    pub fn next_document(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        let elements = self.elements.as_mut().map_err(|malformed| malformed.0)?;
        match elements.next() {
            Ok(None) => Ok(None),
            Ok(Some((_, value))) if value.kind == kind::DOCUMENT => Ok(Some(value.bytes)),
            Ok(Some(_)) => Err("an array holds something other than documents"),
            Err(malformed) => Err(malformed.0),
        }
    }
}
