//! The program `pipeline`: order history, payments and deliveries in one place, and made useful.
//!
//! This crate holds the commands, the wiring of configuration to connected parts, the SQL ledger, progress and reports. It
//! is the only code that prints, reads the environment, or ends the process.

mod arguments;
mod codes;
mod commands;
mod destinations;
mod ledger;
mod map;
mod models;
mod openlineage;
mod output;
mod project;
mod secrets;
mod sources;
mod telemetry;
#[cfg(test)]
mod types_page;

use std::process::ExitCode;

use clap::Parser;
use pipeline_core::error::{BUG, Error};

use arguments::{Arguments, Command};
use output::Printer;

/// Gives freed memory back soon and wastes little between threads: with the C library's allocator the same nights held twice as much.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = Printer::new(&arguments.global, secrets::environment("NO_COLOR").is_some());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&Error::new(&BUG, "the runtime could not be started").caused_by(error.kind()));
            return ExitCode::from(BUG.kind.exit_code());
        }
    };
    // On a worker, not on the main thread: planning of deep queries recurses, and only workers have the larger stack.
    let result = runtime.block_on(async move {
        tokio::spawn(dispatch(arguments, printer)).await.unwrap_or_else(|_| Err(Error::new(&BUG, "the command stopped without a word")))
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Unoptimized query planning needs more than the usual 2 MiB.
const STACK_BYTES: usize = 16 << 20;

async fn dispatch(arguments: Arguments, printer: Printer) -> pipeline_core::error::Result<()> {
    let Arguments { command, global } = arguments;
    match command {
        Command::Run(arguments) => commands::run::run(&global, printer, arguments).await,
        Command::Backfill(arguments) => commands::backfill::backfill(&global, printer, arguments).await,
        Command::Plan(arguments) => commands::plan::plan(&global, printer, arguments).await,
        Command::Status(arguments) => commands::status::status(&global, printer, arguments).await,
        Command::History(arguments) => commands::status::history(&global, printer, arguments).await,
        Command::Doctor(arguments) => commands::doctor::doctor(&global, printer, arguments).await,
        Command::Query(arguments) => commands::query::query(&global, printer, arguments).await,
        Command::Test(arguments) => commands::test::test(&global, printer, arguments).await,
        Command::Segment(arguments) => commands::segment::segment(&global, printer, arguments).await,
        Command::Why(arguments) => commands::why::why(&global, printer, arguments).await,
        Command::Init(arguments) => commands::init::init(&global, printer, arguments).await,
        Command::Schema(arguments) => commands::schema::schema(&global, printer, arguments).await,
        Command::Quarantine(arguments) => commands::quarantine::quarantine(&global, printer, arguments).await,
        Command::Map(arguments) => commands::map::map(&global, printer, arguments).await,
        Command::Coverage(arguments) => commands::coverage::coverage(&global, printer, arguments).await,
        Command::Cluster(arguments) => commands::cluster::cluster(&global, printer, arguments).await,
        Command::Config(arguments) => commands::config::config(&global, printer, arguments).await,
        Command::Demo(arguments) => commands::demo::demo(&global, printer, arguments).await,
    }
}
