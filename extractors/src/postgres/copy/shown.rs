//! Rejected tuples for people: each field by its name, its value as PostgreSQL's `to_jsonb` shows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::json;
use super::wire::Wire;
use crate::postgres::types::PostgresType;

/// A field of a tuple that may be shown.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    name: String,
    #[serde(rename = "type")]
    type_: PostgresType,
}

/// What is written down beside tuples: name and type of each field, null for one that is not shown.
pub(super) fn layout<'a>(fields: impl Iterator<Item = (&'a String, &'a PostgresType, bool)>) -> Arc<str> {
    let fields: Vec<Option<Shown>> =
        fields.map(|(name, type_, is_open)| is_open.then(|| Shown { name: name.clone(), type_: type_.clone() })).collect();
    serde_json::to_string(&fields).expect("names and types are always JSON").into()
}

/// A tuple as a JSON object, in the order of its columns. What cannot be read as its type is shown as its bytes. None if tuple and layout do not
/// belong together.
pub(crate) fn to_json(tuple: &[u8], layout: &str) -> Option<String> {
    let fields: Vec<Option<Shown>> = serde_json::from_str(layout).ok()?;
    let mut wire = Wire(tuple);
    if usize::from(wire.u16().ok()?) != fields.len() {
        return None;
    }
    let mut members = Vec::with_capacity(fields.len());
    for field in fields {
        let value = wire.field().ok()?;
        let Some(Shown { name, type_ }) = field else { continue };
        members.push(format!(
            "{}: {}",
            serde_json::Value::from(name),
            value.map_or_else(|| "null".to_owned(), |value| text(&type_, value))
        ));
    }
    Some(format!("{{{}}}", members.join(", ")))
}

fn text(type_: &PostgresType, value: &[u8]) -> String {
    let mut text = Vec::new();
    let written = if type_.is_known() { json::write(type_, value, &mut text).ok() } else { None };
    let text = written.and_then(|()| String::from_utf8(text).ok());
    // What is called JSON is the source's word for it.
    let text = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    text.unwrap_or_else(|| format!("\"\\\\x{}\"", hex::encode(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::types::CompositeField;

    #[test]
    fn fields_are_shown_by_name_and_what_is_broken_as_its_bytes() {
        let pair = vec![CompositeField { name: "n".to_owned(), type_: PostgresType::Int4 }];
        let fields = [
            ("id".to_owned(), PostgresType::Int8, true),
            ("it's \"quoted\"".to_owned(), PostgresType::Text, true),
            ("secret".to_owned(), PostgresType::Text, false),
            ("nothing".to_owned(), PostgresType::Array(Box::new(PostgresType::Composite(pair))), true),
            ("broken".to_owned(), PostgresType::Text, true),
            ("short".to_owned(), PostgresType::Int4, true),
            ("strange".to_owned(), PostgresType::Other("hstore".to_owned()), true),
        ];
        let values: [Option<&[u8]>; 7] =
            [Some(&7_i64.to_be_bytes()), Some("zażółć".as_bytes()), None, None, Some(b"\xff\x00"), Some(b"ab"), Some(b"z")];
        let mut tuple = 7_u16.to_be_bytes().to_vec();
        for value in values {
            match value {
                None => tuple.extend((-1_i32).to_be_bytes()),
                Some(value) => {
                    tuple.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    tuple.extend(value);
                }
            }
        }
        let layout = layout(fields.iter().map(|(name, type_, is_open)| (name, type_, *is_open)));
        let text = to_json(&tuple, &layout).unwrap();
        assert_eq!(
            text,
            r#"{"id": 7, "it's \"quoted\"": "zażółć", "nothing": null, "broken": "\\xff00", "short": "\\x6162", "strange": "\\x7a"}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!((to_json(&tuple[..9], &layout), to_json(&tuple, "[]"), to_json(&tuple, "")), (None, None, None));
    }
}
