//! What is personal never leaves the source in the clear: not in landing, lake, ledger, working folder or log.

use std::collections::BTreeSet;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use pipeline_tests::Project;

use crate::local::{DataSet, contents};

/// Shorter values occur by chance in compressed bytes.
const BYTES_MIN: usize = 6;

/// The rows of a dump in PostgreSQL's binary COPY format, as bytes of their fields: header of 11 bytes of signature, flags and
/// extension; then for each row a count of fields, and each field's length and bytes; -1 ends
/// (<https://www.postgresql.org/docs/15/sql-copy.html>, "Binary Format").
fn rows(file: &Path) -> Vec<Vec<Option<Vec<u8>>>> {
    let bytes = std::fs::read(file).unwrap();
    let integer = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut at = 19 + usize::try_from(integer(15)).unwrap();
    let mut found = Vec::new();
    loop {
        let count = i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
        at += 2;
        if count < 0 {
            return found;
        }
        let mut row = Vec::new();
        for _ in 0..count {
            let length = usize::try_from(integer(at)).ok();
            at += 4;
            row.push(length.map(|length| bytes[at..at + length].to_vec()));
            at += length.unwrap_or(0);
        }
        found.push(row);
    }
}

/// The text in these columns of a dump.
fn texts(file: &Path, columns: &[usize]) -> BTreeSet<String> {
    let values = rows(file).into_iter().flat_map(|row| columns.iter().filter_map(|column| row[*column].clone()).collect::<Vec<_>>());
    values.map(|bytes| String::from_utf8(bytes).unwrap()).filter(|text| text.len() >= BYTES_MIN).collect()
}

/// Every value of every row of a Parquet file, as text.
fn values_of(bytes: Vec<u8>) -> String {
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_value_of_a_person_is_written_anywhere() {
    let mut project = Project::new();
    let data = DataSet::generate(&["--customers", "120", "--stores", "3", "--days", "6", "--orders", "200", "--seed", "17"], 0);
    data.feed(&mut project);
    let customers = data.folder.join("postgres/admin.customers.copy");
    let (contact, names) = (texts(&customers, &[1, 2]), texts(&customers, &[3, 4]));
    let couriers = texts(&data.folder.join("postgres/delivery.couriers.copy"), &[1]);
    assert!(contact.len() > 200 && contact.iter().any(|text| text.contains('@')), "{contact:?}");
    assert!(names.len() > 20 && couriers.len() > 5, "{names:?} {couriers:?}");
    let personal: BTreeSet<&String> = contact.iter().chain(&names).chain(&couriers).collect();

    let outcome = project.pipeline(&["run", "nightly", "-vv"]);
    outcome.succeeded();
    assert!(outcome.stderr.len() > 10_000, "the log is detailed: {} bytes", outcome.stderr.len());
    // A dead run leaves more behind than one that ends well.
    DataSet::generate(&["--customers", "120", "--stores", "3", "--days", "6", "--orders", "200", "--seed", "17"], 30).feed(&mut project);
    project.kill_at("model.after_compute", 1, &["run", "nightly", "-vv"]);

    let mut looked_at = (0, 0);
    for (path, bytes) in contents(&project.folder().join(".pipeline")) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // What is compressed is read as what it says.
        let said = if path.extension().is_some_and(|extension| extension == "parquet") {
            looked_at.0 += 1;
            values_of(bytes)
        } else {
            looked_at.1 += 1;
            String::new()
        };
        for value in &personal {
            assert!(!text.contains(*value) && !said.contains(*value), "\"{}\" has a personal value in the clear", path.display());
        }
    }
    assert!(looked_at.0 > 38 && looked_at.1 > 38, "landing and lake of 19 relations: {looked_at:?}");
    for value in &personal {
        assert!(outcome.keeps_secret(value), "the log has a personal value in the clear");
    }

    // They are there as keyed hashes: equal values stay equal, and another key makes other hashes.
    let hashes = project.contents("SELECT DISTINCT email FROM platform.customers WHERE email IS NOT NULL");
    let mails = contact.iter().filter(|text| text.contains('@')).count();
    assert_eq!(hashes.len(), mails, "each e-mail is one hash");
    let file = project.folder().join("other.key");
    std::fs::write(&file, "another key of thirty-two bytes!").unwrap();
    let mut other = Project::new();
    data.feed(&mut other);
    other.set("profiles.local.project.privacy.key", format!("file:{}", file.display()));
    other.pipeline(&["run", "nightly", "--only", "platform.customers"]).succeeded();
    let others = other.contents("SELECT DISTINCT email FROM platform.customers WHERE email IS NOT NULL");
    assert_eq!(others.len(), hashes.len());
    assert!(others.iter().all(|hash| !hashes.contains(hash)), "hashes depend on the key");
}
