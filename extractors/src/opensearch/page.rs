//! One answer to a search: its documents, where the next page begins, and whether all shards answered.

use std::ops::Range;

use serde_json::Value as Owned;

use super::error::Failure;
use crate::bson::element::Malformed;
use crate::json::{Elements, Kind, Value};

/// A page of documents, as the server sent it.
#[derive(Debug)]
pub(super) struct Page {
    body: String,
    hits: Range<usize>,
    /// How many documents it has.
    pub(super) rows: u64,
    /// The last document's sort values: the next page begins behind them. None if there is no document.
    pub(super) last: Option<Owned>,
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Reply
    }
}

impl Page {
    /// Checks an answer's body. The documents are found, not read.
    pub(super) fn of(body: Vec<u8>) -> Result<Self, Failure> {
        let root = Value::checked(&body)?;
        let failed = root.member("_shards")?.map_or(Ok(None), |shards| shards.member("failed"))?;
        if failed.is_none_or(|failed| failed.text != "0") || root.member("timed_out")?.is_some_and(|timed_out| timed_out.text != "false") {
            return Err(Failure::Partial);
        }
        let hits = root.member("hits")?.map_or(Ok(None), |hits| hits.member("hits"))?;
        let hits = hits.filter(|hits| hits.kind == Kind::Array).ok_or(Failure::Reply)?;
        let mut elements = Elements::of(hits);
        let (mut rows, mut last) = (0, None);
        while let Some(hit) = elements.next()? {
            rows += 1;
            last = Some(hit);
        }
        let last = match last {
            None => None,
            Some(hit) => {
                let sort = hit.member("sort")?.ok_or(Failure::Reply)?;
                Some(serde_json::from_str(sort.text).map_err(|_| Failure::Reply)?)
            }
        };
        let start = hits.text.as_ptr().addr() - body.as_ptr().addr();
        let hits = start..start + hits.text.len();
        // Checking has seen that it is text.
        let body = String::from_utf8(body).map_err(|_| Failure::Reply)?;
        Ok(Self { body, hits, rows, last })
    }

    /// The documents.
    pub(super) fn hits(&self) -> Elements<'_> {
        Elements::of(Value { kind: Kind::Array, text: self.body.get(self.hits.clone()).unwrap_or("[]") })
    }

    /// Its length at the source.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// Gives every document of an answer with its identifier, until one is malformed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn each_document(body: &[u8], visit: &mut dyn FnMut(Value<'_>, Option<Value<'_>>)) {
    let Ok(page) = Page::of(body.to_vec()) else { return };
    let mut hits = page.hits();
    while let Ok(Some(hit)) = hits.next() {
        if let Ok(Some(source)) = hit.member("_source") {
            visit(source, hit.member("_id").ok().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_its_documents_and_its_end() {
        let body = r#"{"took":1,"timed_out":false,"_shards":{"total":2,"failed":0},"hits":{"max_score":null,
            "hits":[{"_id":"1","_source":{"hits":["sort"]},"sort":[5,1]},{"_id":"2","_source":{},"sort":[9223372036854775807,18446744073709551615]}]}}"#;
        let page = Page::of(body.as_bytes().to_vec()).unwrap();
        assert_eq!((page.rows, page.bytes()), (2, body.len()));
        // Sort values go back as they came, beyond what fits 64 bits with a sign.
        assert_eq!(page.last.as_ref().unwrap().to_string(), "[9223372036854775807,18446744073709551615]");
        let first = page.hits().next().unwrap().unwrap();
        assert_eq!(first.member("_source").unwrap().unwrap().text, r#"{"hits":["sort"]}"#);
        let empty = Page::of(br#"{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[]}}"#.to_vec()).unwrap();
        assert!(empty.rows == 0 && empty.last.is_none());
    }

    #[test]
    fn an_answer_of_some_shards_or_of_something_else_is_refused() {
        for (body, partial) in [
            (r#"{"timed_out":false,"_shards":{"failed":1},"hits":{"hits":[]}}"#, true),
            (r#"{"timed_out":true,"_shards":{"failed":0},"hits":{"hits":[]}}"#, true),
            (r#"{"_shards":{"failed":0},"hits":{}}"#, false),
            (r#"{"_shards":{"failed":0},"hits":{"hits":[{"_id":"1"}]}}"#, false),
            ("<html>", false),
        ] {
            let failure = Page::of(body.as_bytes().to_vec()).unwrap_err();
            assert_eq!(matches!(failure, Failure::Partial), partial, "{body}");
        }
    }
}
