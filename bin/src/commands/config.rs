//! `pipeline config`: what is in force, and what is wrong with it.

use pipeline_core::error::Result;
use serde_json::json;

use crate::arguments::{ConfigArguments, ConfigCommand, Global, OutputForm};
use crate::output::{Printer, Style, plural, table};
use crate::project::Project;

pub(crate) async fn config(global: &Global, printer: Printer, arguments: ConfigArguments) -> Result<()> {
    match arguments.command {
        ConfigCommand::Show => show(global, printer),
        ConfigCommand::Check => check(global, printer).await,
    }
}

fn show(global: &Global, printer: Printer) -> Result<()> {
    let project = Project::open(global, printer)?;
    let leaves = project.config.layers.leaves();
    let file = project.config.layers.file().display().to_string();
    if printer.form != OutputForm::Human {
        let values: Vec<_> = leaves
            .iter()
            .map(|(path, value, origin)| json!({ "key": path, "value": value, "origin": origin.as_ref().map(ToString::to_string) }))
            .collect();
        return printer.json(&json!({ "schema_version": 1, "file": file, "profile": project.config.profile, "values": values }));
    }
    printer.line(format!(
        "{} {file}, profile {}",
        printer.styled(Style::Strong, "configuration"),
        project.config.profile.as_deref().unwrap_or("none")
    ));
    let rows = leaves.into_iter().map(|(path, value, origin)| {
        let value: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = if value.chars().count() > 80 { value.chars().take(79).chain(['…']).collect() } else { value };
        let origin = origin.map_or_else(|| "default".to_owned(), |origin| origin.to_string());
        vec![printer.styled(Style::Key, path), short, printer.styled(Style::Dim, origin)]
    });
    printer.line(table(&["key", "value", "from"], &[], rows));
    Ok(())
}

async fn check(global: &Global, printer: Printer) -> Result<()> {
    let project = Project::open(global, printer)?;
    let checked = project.check().await?;
    if printer.form != OutputForm::Human {
        return printer.json(&json!({ "schema_version": 1, "status": "ok", "tables": checked.tables, "models": checked.models, "pipelines": checked.pipelines }));
    }
    printer.line(format!(
        "{} {}, {}, {}",
        printer.styled(Style::Good, "ok"),
        plural(checked.pipelines, "pipeline"),
        plural(checked.tables, "table"),
        plural(checked.models, "model")
    ));
    Ok(())
}
