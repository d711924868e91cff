//! The manifest of a columnar load: files, whether they must exist, and their exact sizes.

use serde_json::Value;

use super::command::Location;
use super::failure::LoadFailure;

/// One file of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) location: Location,
    /// A missing file fails the load; the default is false.
    pub(crate) mandatory: bool,
    /// The object's size in bytes.
    pub(crate) content_length: u64,
}

/// Reads a manifest. `file` names it in failures.
pub(crate) fn parse(text: &[u8], file: &str) -> Result<Vec<Entry>, LoadFailure> {
    let failure = |context: &str| LoadFailure::manifest(file, context);
    let manifest: Value = serde_json::from_slice(text).map_err(|_| failure("Manifest file is not in correct json format"))?;
    let entries = manifest.get("entries").and_then(Value::as_array).ok_or_else(|| failure("Manifest file does not have 'entries' key."))?;
    entries.iter().map(|entry| parse_entry(entry).map_err(failure)).collect()
}

fn parse_entry(entry: &Value) -> Result<Entry, &'static str> {
    let url = entry.get("url").and_then(Value::as_str).ok_or("File entry does not have 'url' key.")?;
    let location = Location::parse(url).ok_or("File entry has an invalid 'url'.")?;
    let mandatory = match entry.get("mandatory") {
        None => false,
        Some(value) => value.as_bool().ok_or("File entry has an invalid 'mandatory' key.")?,
    };
    let meta = entry.get("meta").ok_or("File entry does not have 'meta' key.")?;
    let content_length = meta.get("content_length").ok_or("File entry does not have 'content_length' key.")?;
    let content_length = content_length.as_u64().ok_or("File entry has an invalid 'content_length' key.")?;
    Ok(Entry { location, mandatory, content_length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_manifest_is_read() {
        let entries = parse(br#"{"entries":[{"url":"s3://b/a.parquet","mandatory":true,"meta":{"content_length":7}},{"url":"s3://b/b.parquet","meta":{"content_length":8}}]}"#, "m").unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].mandatory);
        assert!(!entries[1].mandatory, "mandatory is false unless written");
        assert_eq!(entries[1].content_length, 8);
    }

    #[test]
    fn the_size_is_required() {
        let context = |text: &str| parse(text.as_bytes(), "m").unwrap_err().context;
        assert_eq!(context(r#"{"entries":[{"url":"s3://b/a"}]}"#), "File entry does not have 'meta' key.");
        assert_eq!(context(r#"{"entries":[{"url":"s3://b/a","meta":{}}]}"#), "File entry does not have 'content_length' key.");
        assert_eq!(
            context(r#"{"entries":[{"url":"s3://b/a","meta":{"content_length":"7"}}]}"#),
            "File entry has an invalid 'content_length' key."
        );
        assert_eq!(parse(br#"{"entries":[{"url":"s3://b/a"}]}"#, "m").unwrap_err().code, 15_003);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert!(parse(b"PAR1", "m").is_err());
        assert!(parse(b"{}", "m").is_err());
        assert!(parse(br#"{"entries":[{"meta":{"content_length":7}}]}"#, "m").is_err());
        assert!(parse(br#"{"entries":[{"url":"http://b/a","meta":{"content_length":7}}]}"#, "m").is_err());
    }
}
