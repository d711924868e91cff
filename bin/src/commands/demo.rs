//! `pipeline demo generate`.

use std::path::Path;

use pipeline_core::error::{Code, Error, ErrorKind, Result};

use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::{DemoArguments, DemoCommand, GenerateArguments, Global, OutputForm, ProgressForm};
use crate::output::{Printer, Style, count};
use crate::project::Project;

/// The data set could not be made.
pub(crate) static DEMO: Code = Code {
    name: "E-DEMO",
    kind: ErrorKind::Usage,
    meaning: "The demonstration's data set could not be made or written.",
    remedy: "Check the options, and that the folder or the servers can be written.",
};

pub(crate) async fn demo(global: &Global, printer: Printer, arguments: DemoArguments) -> Result<()> {
    match arguments.command {
        DemoCommand::Generate(arguments) => generate(global, printer, arguments).await,
    }
}

async fn generate(global: &Global, printer: Printer, arguments: GenerateArguments) -> Result<()> {
    let defaults = pipeline_demo::Options::default();
    let options = pipeline_demo::Options {
        customers: arguments.customers,
        stores: arguments.stores,
        days: arguments.days,
        seed: arguments.seed,
        orders: arguments.orders,
        until: arguments.until.unwrap_or(defaults.until),
        compress: arguments.compress,
        change_share: arguments.change_percent / 100.0,
        replace: arguments.replace,
    };
    let bar = bar(printer);
    let shown = bar.clone();
    let progress = move |progress: &pipeline_demo::Progress| {
        shown.set_length(progress.orders_total);
        shown.set_position(progress.orders_done);
    };
    let answers = if arguments.to == "live" {
        let project = Project::open(global, printer)?;
        let (mongodb_url, postgres_url) = project.live_urls().await?;
        pipeline_demo::generate_to_servers(&options, &mongodb_url, &postgres_url, &progress).await
    } else {
        pipeline_demo::generate_to_directory(&options, Path::new(&arguments.to), &progress).await
    };
    bar.finish_and_clear();
    let answers = answers.map_err(|error| {
        let mut converted = Error::new(&DEMO, error.to_string()).hint(error.hint());
        if let Some(cause) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>()) {
            converted = converted.caused_by(cause.kind());
        }
        converted
    })?;
    if printer.form != OutputForm::Human {
        return printer.json(&answers);
    }
    let orders = answers.tables.get("shop.orders").map_or(0, |table| table.rows);
    printer.line(format!(
        "{} {} orders, {} seeded defects, in \"{}\"",
        printer.styled(Style::Good, "made"),
        count(orders),
        answers.defects.len(),
        arguments.to
    ));
    if arguments.to != "live" {
        printer.line(format!(
            "  {} {}",
            printer.styled(Style::Dim, "what every mart must hold:"),
            Path::new(&arguments.to).join("answers.json").display()
        ));
    }
    Ok(())
}

fn bar(printer: Printer) -> ProgressBar {
    if printer.progress != ProgressForm::Bar {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("  {bar:32.cyan/dim} {percent:>3}%  {human_pos} orders  {per_sec}  {eta:.dim}");
    ProgressBar::new(0).with_style(style.expect("the template is fixed and valid"))
}
