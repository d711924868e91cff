//! Data sets made for tests.

use std::path::Path;

use pipeline_demo::{Answers, Options, generate_to_directory};

pub(crate) fn small() -> Options {
    Options { customers: 300, stores: 14, days: 40, seed: 7, ..Options::default() }
}

/// Writes a data set and returns its answers.
pub(crate) fn generate(options: &Options, directory: &Path) -> Answers {
    runtime().block_on(generate_to_directory(options, directory, &|_| {})).unwrap()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
