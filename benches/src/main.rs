//! Measurements of the program as users run it: `cargo run --release -p pipeline-benches -- night`.
//!
//! Each prints a table in Markdown, ready for `docs/benchmarks.md`. What is measured is the optimized program beside this one,
//! so `cargo build --release` comes first. Nothing here fails because a machine is slow.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its tables are its output")]

mod extract;
mod night;
mod process;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures `pipeline` and prints tables in Markdown.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Whole nights over generated dumps into an embedded lake: the first, one without changes, one with 1 % of changes
    Night(night::Night),
    /// One table from a source to Parquet, beside other programs
    Extract(extract::Extract),
}

/// The program's own: what is measured is what people run.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Night(night) => night.measure(),
        What::Extract(extract) => extract.measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
