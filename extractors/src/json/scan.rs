//! JSON text, one value at a time, without building values.
//!
//! The text is checked once as a whole ([`Value::checked`]); after that a value is a kind and a piece of that text, and nothing is copied
//! but texts with escapes.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::bson::element::Malformed;

/// What a value is (RFC 8259, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// A value: its kind and exactly its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
}

const BROKEN: Malformed = Malformed("the text is not JSON");

impl<'a> Value<'a> {
    /// The value that fills `bytes`, after checking all of it.
    pub(crate) fn checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("the text is not valid UTF-8"))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| BROKEN)?;
        let (value, _) = Self::at_head(text)?;
        Ok(value)
    }

    /// The value at the head of `text` after white space, and what follows it.
    fn at_head(text: &'a str) -> Result<(Self, &'a str), Malformed> {
        let text = text.trim_start_matches(is_space);
        let kind = match text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => return Err(BROKEN),
        };
        let length = match kind {
            Kind::Object | Kind::Array => nested_length(text.as_bytes()),
            Kind::String => string_length(text.as_bytes()),
            Kind::Null | Kind::Boolean | Kind::Number => {
                Some(text.find(|c: char| is_space(c) || matches!(c, ',' | ']' | '}')).unwrap_or(text.len()))
            }
        };
        let (text, rest) = length.and_then(|length| text.split_at_checked(length)).ok_or(BROKEN)?;
        Ok((Self { kind, text }, rest))
    }

    /// The text of a string, without quotes and escapes.
    pub(crate) fn string(self) -> Result<Cow<'a, str>, Malformed> {
        let inner = self.text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(BROKEN)?;
        if inner.contains('\\') {
            // The only place where text is copied; a lone half of a surrogate pair has no text.
            return serde_json::from_str(self.text).map(Cow::Owned).map_err(|_| Malformed("a text has an escape without a character"));
        }
        Ok(Cow::Borrowed(inner))
    }

    /// The kind's name for people.
    pub(crate) fn name(self) -> &'static str {
        match self.kind {
            Kind::Null => "NULL",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }

    /// The member of an object; None if there is none of that name, or the value is no object.
    pub(crate) fn member(self, wanted: &str) -> Result<Option<Self>, Malformed> {
        if self.kind != Kind::Object {
            return Ok(None);
        }
        let mut members = Members::of(self);
        let mut found = None;
        while let Some((name, value)) = members.next()? {
            if name == wanted {
                found = Some(value);
            }
        }
        Ok(found)
    }

    /// Appends the value's text without the white space between its parts.
    pub(crate) fn write(self, into: &mut Vec<u8>) {
        let mut in_string = false;
        let mut escaped = false;
        for byte in self.text.bytes() {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if byte.is_ascii_whitespace() {
                continue;
            } else {
                in_string = byte == b'"';
            }
            into.push(byte);
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The length of the string at the head, with its quotes.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut place = 1;
    loop {
        match text.get(place)? {
            b'"' => return Some(place + 1),
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
}

/// The length of the array or object at the head.
fn nested_length(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut place = 0;
    loop {
        match text.get(place)? {
            b'"' => {
                place += string_length(text.get(place..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(place + 1);
                }
            }
            _ => {}
        }
        place += 1;
    }
}

/// What stands between the brackets of an array or object.
fn inside(value: Value<'_>) -> &str {
    value.text.get(1..value.text.len().saturating_sub(1)).unwrap_or_default().trim_start_matches(is_space)
}

/// What follows the comma after a member or element.
fn after_comma(rest: &str) -> &str {
    rest.trim_start_matches(is_space).trim_start_matches(',').trim_start_matches(is_space)
}

/// The members of an object, in order.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    rest: &'a str,
}

impl<'a> Members<'a> {
    pub(crate) fn of(object: Value<'a>) -> Self {
        Self { rest: inside(object) }
    }

    /// The next name and value.
    pub(crate) fn next(&mut self) -> Result<Option<(Cow<'a, str>, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (name, rest) = Value::at_head(self.rest)?;
        let rest = rest.trim_start_matches(is_space).strip_prefix(':').ok_or(BROKEN)?;
        let (value, rest) = Value::at_head(rest)?;
        self.rest = after_comma(rest);
        Ok(Some((name.string()?, value)))
    }
}

/// The elements of an array, in order.
#[derive(Debug)]
pub(crate) struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Elements<'a> {
    pub(crate) fn of(array: Value<'a>) -> Self {
        Self { rest: inside(array) }
    }

    /// The next element.
    pub(crate) fn next(&mut self) -> Result<Option<Value<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (value, rest) = Value::at_head(self.rest)?;
        self.rest = after_comma(rest);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_between_all_kinds_of_space_and_brackets_in_texts() {
        let text = " {\"a\" : [1, \"]}\\\"\", {}] ,\n\"b\\u00e9\":-1.50e3,\"c\":null,\"d\":{\"e\":true} } ";
        let value = Value::checked(text.as_bytes()).unwrap();
        let mut members = Members::of(value);
        let mut found = Vec::new();
        while let Some((name, value)) = members.next().unwrap() {
            found.push(format!("{name} {:?} {}", value.kind, value.text));
        }
        assert_eq!(found, ["a Array [1, \"]}\\\"\", {}]", "bé Number -1.50e3", "c Null null", "d Object {\"e\":true}"]);
        let mut elements = Elements::of(value.member("a").unwrap().unwrap());
        let mut texts = Vec::new();
        while let Some(element) = elements.next().unwrap() {
            texts.push(element.text);
        }
        assert_eq!(texts, ["1", "\"]}\\\"\"", "{}"]);
        let mut compact = Vec::new();
        value.write(&mut compact);
        assert_eq!(String::from_utf8(compact).unwrap(), "{\"a\":[1,\"]}\\\"\",{}],\"b\\u00e9\":-1.50e3,\"c\":null,\"d\":{\"e\":true}}");
    }

    #[test]
    fn what_is_not_json_is_refused_and_depth_does_not_exhaust_the_stack() {
        for text in ["", "{", "{\"a\":}", "[1,]", "{\"a\" 1}", "nul", "\"a", "[1] 2", "\"\u{1}\""] {
            assert!(Value::checked(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Value::checked(b"\"\xff\"").is_err());
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(Value::checked(deep.as_bytes()).unwrap().text.len(), deep.len());
    }
}
