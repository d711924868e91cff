//! A document without its personal fields: what may be kept of one that did not fit.

use super::element::{DEPTH_MAX, Malformed, Value, body, kind, name_length};
use crate::personal::{Field, Personal};

/// The document without the fields that are personal. Empty if there are such and the bytes are no document, because then nobody
/// can tell which they are.
pub(crate) fn open_part(document: &[u8], personal: &Personal) -> Vec<u8> {
    if personal.is_none() {
        return document.to_vec();
    }
    let mut open = Vec::with_capacity(document.len());
    match body(document).and_then(|body| write(body, personal, false, 0, &mut open)) {
        Ok(()) => open,
        Err(_) => Vec::new(),
    }
}

fn write(body: &[u8], personal: &Personal, is_array: bool, depth: usize, into: &mut Vec<u8>) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed("a document is nested too deeply"));
    }
    let cut = Malformed("a value ends outside its document");
    let begin = into.len();
    into.extend_from_slice(&[0; 4]);
    let mut rest = body;
    let mut index = 0;
    while let Some((kind, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(name_length(after)?).ok_or(cut)?;
        let after = after.get(1..).ok_or(cut)?;
        let value = Value::at_head(*kind, after)?;
        rest = after.get(value.bytes.len()..).ok_or(cut)?;
        let found = if is_array { personal.element(index) } else { personal.field(&String::from_utf8_lossy(name)) };
        index += 1;
        let mut head = || {
            into.push(*kind);
            into.extend_from_slice(name);
            into.push(0);
        };
        match found {
            Field::Closed => {}
            Field::Mixed(within) if matches!(value.kind, kind::DOCUMENT | kind::ARRAY) => {
                head();
                write(value.body()?, &within, value.kind == kind::ARRAY, depth + 1, into)?;
            }
            Field::Mixed(_) if !value.is_null() => {}
            Field::Open | Field::Mixed(_) => {
                head();
                into.extend_from_slice(value.bytes);
            }
        }
    }
    into.push(0);
    let length = i32::try_from(into.len() - begin).map_err(|_| cut)?;
    if let Some(place) = into.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::{Document, doc};
    use pipeline_core::contract::Privacy;

    fn personal(paths: &[&str]) -> Personal {
        let columns: Vec<(String, &str)> = paths.iter().enumerate().map(|(index, path)| (format!("c{index}"), *path)).collect();
        let declared: Vec<(String, String)> = columns.into_iter().map(|(name, path)| (name, format!("text from {path}"))).collect();
        let declared: Vec<(&str, &str)> = declared.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut contract = super::super::tests::contract(&declared);
        contract.columns.iter_mut().for_each(|column| column.privacy = Privacy::Hash);
        Personal::of(&contract)
    }

    fn open(document: &Document, paths: &[&str]) -> Document {
        Document::from_reader(open_part(&document.to_vec().unwrap(), &personal(paths)).as_slice()).unwrap()
    }

    #[test]
    fn personal_fields_are_left_out_wherever_they_stand() {
        let whole = doc! {
            "_id": 1, "email": "a@example.com", "contact": {"phone": "1", "since": 2020}, "people": [{"name": "A", "n": 1}, "B", 7],
            "total": "many",
        };
        let paths = ["email", "contact.phone", "people.name"];
        assert_eq!(open(&whole, &paths), doc! {"_id": 1, "contact": {"since": 2020}, "people": [{"n": 1}], "total": "many"});
        // Where a document is declared, something else may hold it all.
        assert_eq!(open(&doc! {"contact": "phone 1", "n": 1}, &paths), doc! {"n": 1});
        assert_eq!(open(&doc! {"contact": null, "n": 1}, &paths), doc! {"contact": null, "n": 1});
        assert_eq!(open(&whole, &["contact"]), {
            let mut rest = whole.clone();
            rest.remove("contact");
            rest
        });
    }

    #[test]
    fn bytes_that_are_no_document_are_not_kept_where_something_is_personal() {
        let broken = b"\x20\0\0\0a@example.com";
        assert!(open_part(broken, &personal(&["email"])).is_empty());
        assert_eq!(open_part(broken, &Personal::of(&super::super::tests::contract(&[("email", "text")]))), broken);
    }
}
