//! The files themselves: same options, same bytes; compressed or not; what stands in the way.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use pipeline_demo::{Answers, Error, Options, generate_to_directory};
use sha2::{Digest, Sha256};

use crate::support::{generate, runtime, small};

/// All files below a folder with the digests of what they hold, unpacked, by name.
fn digests(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut bytes = fs::read(&path).unwrap();
                if path.extension().is_some_and(|extension| extension == "gz") {
                    let packed = std::mem::take(&mut bytes);
                    GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
                }
                let digest = hex::encode(Sha256::digest(bytes));
                found.push((path.strip_prefix(directory).unwrap().to_owned(), digest));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn same_options_give_the_same_bytes() {
    for compress in [false, true] {
        let options = Options { compress, change_share: 0.01, ..small() };
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate(&options, first.path());
        generate(&options, second.path());
        let files = digests(first.path());
        assert_eq!(files.len(), 9 + 2 + 1 + 1);
        assert_eq!(files, digests(second.path()));
    }
}

#[test]
fn another_seed_gives_other_rows() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = generate(&small(), first.path());
    let other = generate(&Options { seed: 8, ..small() }, second.path());
    assert_ne!(one.marts["orders"].sums, other.marts["orders"].sums);
}

#[test]
fn compressed_files_hold_the_same_bytes() {
    let (plain, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generate(&small(), plain.path());
    generate(&Options { compress: true, ..small() }, packed.path());
    for name in ["mongodb/shop/orders.bson", "mongodb/shop/orders.metadata.json", "postgres/payments.transactions.copy"] {
        let mut unpacked = Vec::new();
        GzDecoder::new(fs::File::open(packed.path().join(format!("{name}.gz"))).unwrap()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, fs::read(plain.path().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_filled_folder_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mine.txt"), "kept").unwrap();
    let refused = runtime().block_on(generate_to_directory(&small(), directory.path(), &|_| {})).unwrap_err();
    assert!(matches!(refused, Error::NotEmpty { kind: "folder", .. }), "{refused}");
    assert_eq!(digests(directory.path()).len(), 1);
    generate(&Options { replace: true, ..small() }, directory.path());
    generate(&Options { replace: true, compress: true, ..small() }, directory.path());
    assert_eq!(fs::read_to_string(directory.path().join("mine.txt")).unwrap(), "kept");
    assert!(!directory.path().join("mongodb/shop/orders.bson").exists());
}

#[test]
fn options_out_of_range_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for (options, name) in [
        (Options { stores: 0, ..small() }, "stores"),
        (Options { customers: 0, ..small() }, "customers"),
        (Options { days: 100_000, ..small() }, "days"),
        (Options { orders: Some(0), ..small() }, "orders"),
        (Options { change_share: 1.5, ..small() }, "change-share"),
    ] {
        let refused = runtime().block_on(generate_to_directory(&options, directory.path(), &|_| {})).unwrap_err();
        assert!(matches!(refused, Error::Option { option, .. } if option == name), "{refused}");
        assert!(!refused.hint().is_empty());
    }
    assert!(digests(directory.path()).is_empty());
}

#[test]
fn the_smallest_data_sets_can_be_made() {
    for (customers, stores, days, orders) in [(1, 1, 1, 1), (3, 2, 2, 40), (5, 1, 400, 90)] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { customers, stores, days, orders: Some(orders), change_share: 0.1, ..Options::default() };
        let answers = generate(&options, directory.path());
        let orders_read = &answers.tables["shop.orders"];
        assert!(orders_read.rows + orders_read.rejected > orders);
    }
}

#[test]
fn answers_are_written_as_returned() {
    let directory = tempfile::tempdir().unwrap();
    let answers = generate(&small(), directory.path());
    let text = fs::read_to_string(directory.path().join("answers.json")).unwrap();
    assert_eq!(serde_json::from_str::<Answers>(&text).unwrap(), answers);
}

#[test]
fn the_fixture_is_what_the_generator_writes() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/demo");
    let directory = tempfile::tempdir().unwrap();
    let options = Options { customers: 400, stores: 14, days: 45, seed: 1, compress: true, ..Options::default() };
    generate(&options, directory.path());
    let mut expected = digests(&fixture);
    expected.retain(|(name, _)| name != Path::new("README.md"));
    assert_eq!(digests(directory.path()), expected);
}
