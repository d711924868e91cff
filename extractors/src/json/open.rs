//! An object without its personal members: what may be kept of one that did not fit.

use super::scan::{Elements, Kind, Members, Value};
use crate::bson::element::{DEPTH_MAX, Malformed};
use crate::personal::{Field, Personal};

/// The object without the members that are personal, and without white space between its parts. Empty if it cannot be told which
/// they are.
pub(crate) fn open_part(object: Value<'_>, personal: &Personal) -> Vec<u8> {
    let mut open = Vec::with_capacity(object.text.len());
    match write(object, personal, 0, &mut open) {
        Ok(()) => open,
        Err(_) if personal.is_none() => object.text.as_bytes().to_vec(),
        Err(_) => Vec::new(),
    }
}

fn write(value: Value<'_>, personal: &Personal, depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("an object is nested too deeply"));
    }
    match value.kind {
        Kind::Object => {
            into.push(b'{');
            let mut members = Members::of(value);
            let mut is_first = true;
            while let Some((name, value)) = members.next()? {
                let Some(within) = open(personal.field(&name), value) else { continue };
                if !std::mem::take(&mut is_first) {
                    into.push(b',');
                }
                into.extend_from_slice(serde_json::Value::from(name.as_ref()).to_string().as_bytes());
                into.push(b':');
                write_within(value, within, depth, into)?;
            }
            into.push(b'}');
        }
        Kind::Array => {
            into.push(b'[');
            let mut elements = Elements::of(value);
            let (mut is_first, mut index) = (true, 0);
            while let Some(value) = elements.next()? {
                let found = open(personal.element(index), value);
                index += 1;
                let Some(within) = found else { continue };
                if !std::mem::take(&mut is_first) {
                    into.push(b',');
                }
                write_within(value, within, depth, into)?;
            }
            into.push(b']');
        }
        Kind::Null | Kind::Boolean | Kind::Number | Kind::String => value.write(into),
    }
    Ok(())
}

/// None if the value has to go; else what of it is personal, if anything is.
fn open(found: Field, value: Value<'_>) -> Option<Option<Personal>> {
    match found {
        Field::Closed => None,
        Field::Mixed(within) if matches!(value.kind, Kind::Object | Kind::Array) => Some(Some(within)),
        Field::Mixed(_) if value.kind != Kind::Null => None,
        Field::Open | Field::Mixed(_) => Some(None),
    }
}

fn write_within(value: Value<'_>, within: Option<Personal>, depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    match within {
        Some(within) => write(value, &within, depth + 1, into),
        None => {
            value.write(into);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline_core::contract::{Contract, Privacy};

    use crate::bson::tests::contract;

    fn open(text: &str) -> String {
        let mut contract: Contract = contract(&[("email", "text from user.email"), ("name", "text from name"), ("n", "int")]);
        for column in contract.columns.iter_mut().take(2) {
            column.privacy = Privacy::Mask;
        }
        let personal = Personal::of(&contract).at("_source");
        String::from_utf8(open_part(Value::checked(text.as_bytes()).unwrap(), &personal)).unwrap()
    }

    #[test]
    fn personal_members_are_left_out_wherever_they_stand() {
        assert_eq!(
            open(r#"{"_id": "1", "_source": {"n": "x y", "name": "A", "user": {"email": "a@example.com", "id": 1.50}}}"#),
            r#"{"_id":"1","_source":{"n":"x y","user":{"id":1.50}}}"#
        );
        assert_eq!(open(r#"{"_source": {"user.email": "a@example.com", "a\"b": [1, {}]}}"#), r#"{"_source":{"a\"b":[1,{}]}}"#);
        assert_eq!(
            open(r#"{"_source": {"user": [{"email": "a"}, "b", {"id": 2}], "n": null}}"#),
            r#"{"_source":{"user":[{},{"id":2}],"n":null}}"#
        );
        assert_eq!(open(r#"{"_source": "all of it"}"#), "{}");
    }
}
