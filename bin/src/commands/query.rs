//! `pipeline query`: SQL on the lake.

use std::io::Read;

use futures::StreamExt;
use pipeline_core::config::CONFIG;
use pipeline_core::error::{Error, Result};

use crate::arguments::{Global, OutputForm, QueryArguments};
use crate::models::needs_key;
use crate::output::{Printer, rows};
use crate::project::Project;

pub(crate) async fn query(global: &Global, printer: Printer, arguments: QueryArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let sql = if arguments.sql == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Error::new(&CONFIG, "the statement could not be read from standard input").caused_by(error.kind()))?;
        text
    } else {
        arguments.sql
    };
    let as_of = super::run::as_of(&project, arguments.as_of.as_deref())?;
    // Who only reads needs no secret that only writing does.
    let models = if needs_key(&sql) { project.models().await? } else { project.models_without_key().await? };
    let models = if models.views_hash() { project.models().await? } else { models };
    let mut stream = models.query(&sql, as_of).await?;
    let schema = stream.schema();
    let mut writer = rows::Writer::new(printer, schema);
    while let Some(batch) = stream.next().await {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    debug_assert!(matches!(printer.form, OutputForm::Human | OutputForm::Json | OutputForm::Ndjson));
    Ok(())
}
