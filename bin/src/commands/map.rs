//! `pipeline map`: coverage as a page to look at, or as a file for other programs.

use std::path::Path;

use pipeline_core::config::CONFIG;
use pipeline_core::error::{Error, Result};
use pipeline_core::ledger::{Ledger, RunOverview};
use pipeline_core::name::TableName;
use pipeline_core::run::RunStatus;

use crate::arguments::{Global, MapArguments, MapFormat, OutputForm};
use crate::commands::status::{RUN_UNKNOWN, RUNS_SEARCHED};
use crate::map::read::{Dates, Grouping, Wanted, Wish, read, too_large};
use crate::map::{MAP_EMPTY, MAP_FILE, MAP_RUN, anonymity, features, geojson, geoparquet, page};
use crate::output::{Printer, plural, size};
use crate::project::Project;

/// The schema that a session has an earlier run's table in.
const EARLIER: &str = "earlier";

pub(crate) async fn map(global: &Global, printer: Printer, arguments: MapArguments) -> Result<()> {
    let format = format(&arguments)?;
    let days = arguments.days.as_deref().map(dates).transpose()?;
    check_resolutions(&arguments.resolution)?;
    if let Some(locale) = &arguments.locale {
        check_locale(locale)?;
    }
    let project = Project::open(global, printer)?;
    project.config.pipeline(&arguments.name)?;
    let table = TableName::new(TableName::MARTS, "coverage_orders")?;
    let models = project.models().await?;
    if models.lake().version(&table).await?.is_none() {
        return Err(Error::new(&MAP_EMPTY, "table \"coverage_orders\" is not in the lake yet")
            .hint(format!("Run `pipeline run {}` first.", arguments.name)));
    }
    let runs = project.ledger().await?.runs(Some(&arguments.name), RUNS_SEARCHED).await?;
    let latest = runs.iter().find(|run| matches!(run.status, Some(RunStatus::Done | RunStatus::Unchanged)));
    let as_of = match latest {
        Some(run) => run.request.as_of,
        None => super::run::as_of(&project, None)?,
    };
    let session = models.session(as_of);
    let baseline = match arguments.compare_to.as_deref() {
        None => None,
        Some(text) if text.contains("..") => Some(Wish::Dates(dates(text)?)),
        Some(text) => {
            let run = run(&runs, text)?;
            let earlier = models.lake().provider_as_of_run(&table, run).await?;
            let earlier = earlier.ok_or_else(|| {
                Error::new(&MAP_RUN, format!("the lake does not have table \"coverage_orders\" as run \"{run}\" left it"))
            })?;
            session.register_table(EARLIER, table.table(), earlier);
            Some(Wish::Run(run.to_owned()))
        }
    };
    let bytes_max = arguments.max_size.saturating_mul(1_000_000);
    let wanted = Wanted {
        project: project.config.project.name.clone(),
        pipeline: arguments.name.clone(),
        locale: arguments.locale.clone(),
        run: latest.map(|run| run.run.clone()),
        as_of,
        dates: days,
        resolutions: arguments.resolution.clone(),
        baseline,
        customers_min: anonymity::customers_min(&project.config)?,
        grouping: if format == MapFormat::Html { Grouping::Within(bytes_max) } else { Grouping::Whole },
    };
    let atlas = Box::pin(read(&session, &wanted)).await?;
    let (bytes, things) = match format {
        MapFormat::Html => (page::render(&atlas)?.into_bytes(), atlas.layers.iter().map(|layer| layer.cells.len()).sum()),
        MapFormat::Geojson | MapFormat::Geoparquet => {
            let features = features::features(&atlas, arguments.layer);
            let bytes = if format == MapFormat::Geojson { geojson::text(&features).into_bytes() } else { geoparquet::bytes(&features)? };
            (bytes, features.shapes.len())
        }
    };
    if format == MapFormat::Html && bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64, bytes_max));
    }
    write(&arguments.out, &bytes)?;
    atlas.notes.iter().for_each(|note| printer.note(note));
    report(printer, &arguments, &atlas, bytes.len() as u64, things)
}

/// What was written, for people or for programs.
fn report(printer: Printer, arguments: &MapArguments, atlas: &crate::map::atlas::Atlas, bytes: u64, things: usize) -> Result<()> {
    if printer.form != OutputForm::Human {
        return printer.json(&serde_json::json!({
            "schema_version": 1, "file": arguments.out, "bytes": bytes, "features": things, "from": atlas.from, "to": atlas.to,
            "bucket_days": atlas.bucket_days, "k_anonymity": atlas.k_anonymity, "run": atlas.run, "notes": atlas.notes,
        }));
    }
    let noun = match arguments.layer {
        features::Kind::Cells => "cell",
        features::Kind::Stores => "store",
        features::Kind::Gaps => "gap",
    };
    printer.line(format!("wrote {} ({}, {} to {}, {})", arguments.out.display(), plural(things, noun), atlas.from, atlas.to, size(bytes)));
    Ok(())
}

/// The form: the flag, else the file's ending.
fn format(arguments: &MapArguments) -> Result<MapFormat> {
    if arguments.layer != features::Kind::Cells && arguments.format == Some(MapFormat::Html) {
        return Err(Error::new(&MAP_FILE, "a page has all layers").hint("Leave --layer away, or write a .geojson or .parquet file."));
    }
    let ending = arguments.out.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match (arguments.format, ending.as_str()) {
        (Some(format), _) => Ok(format),
        (None, "html" | "htm") => Ok(MapFormat::Html),
        (None, "geojson" | "json") => Ok(MapFormat::Geojson),
        (None, "parquet" | "geoparquet") => Ok(MapFormat::Geoparquet),
        _ => Err(Error::new(&MAP_FILE, format!("the ending of \"{}\" says no form", arguments.out.display()))),
    }
}

/// `2025-09-01..2025-09-30`, both included.
fn dates(text: &str) -> Result<Dates> {
    let found = text.split_once("..").and_then(|(from, to)| Some(Dates { from: from.trim().parse().ok()?, to: to.trim().parse().ok()? }));
    let wrong =
        || Error::new(&CONFIG, format!("\"{text}\" is no range of days")).hint("Write the first and the last day: 2025-09-01..2025-09-30.");
    found.filter(|dates| dates.from <= dates.to).ok_or_else(wrong)
}

/// The resolutions of H3 go up to this one.
const RESOLUTION_MAX: i64 = 15;

fn check_resolutions(resolutions: &[i64]) -> Result<()> {
    match resolutions.iter().find(|resolution| !(0..=RESOLUTION_MAX).contains(*resolution)) {
        Some(wrong) => Err(Error::new(&CONFIG, format!("there is no resolution {wrong}"))
            .hint("H3 has resolutions from 0 to 15; `resolutions` in [parameters] are those that the lake has.")),
        None => Ok(()),
    }
}

/// What a browser would refuse must not reach it: a language tag has parts of one to eight letters and digits (BCP 47).
fn check_locale(locale: &str) -> Result<()> {
    let is_part = |part: &str| (1..=8).contains(&part.len()) && part.chars().all(|character| character.is_ascii_alphanumeric());
    let language = locale.split('-').next().unwrap_or_default();
    let is_language = (2..=3).contains(&language.len()) && language.chars().all(|character| character.is_ascii_alphabetic());
    if is_language && locale.split('-').all(is_part) {
        return Ok(());
    }
    Err(Error::new(&CONFIG, format!("\"{locale}\" is no locale")).hint("Write a language tag such as pl-PL, de or en-GB."))
}

/// The one run whose id begins like this.
fn run<'a>(runs: &'a [RunOverview], wanted: &str) -> Result<&'a str> {
    let mut found = runs.iter().filter(|run| run.run.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(run), None) if !wanted.is_empty() => Ok(&run.run),
        _ => Err(Error::new(&RUN_UNKNOWN, format!("no single run has an id that begins with \"{wanted}\""))
            .hint("`pipeline history nightly` lists the runs; days are written 2025-09-01..2025-09-30.")),
    }
}

/// Writes beside the place and moves there, so that nobody opens half a file.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::new(&MAP_FILE, format!("file \"{}\" could not be written", file.display())).caused_by(error.kind());
    let name = file.file_name().ok_or_else(|| Error::new(&MAP_FILE, format!("\"{}\" names no file", file.display())))?;
    let mut part = name.to_owned();
    part.push(".part");
    let part = file.with_file_name(part);
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, file)).map_err(|error| {
        drop(std::fs::remove_file(&part));
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_with_two_points() {
        let found = dates("2025-09-01..2025-09-30").unwrap();
        assert_eq!(found.days(), 30);
        for wrong in ["2025-09-01", "2025-09-30..2025-09-01", "..", "2025-09-31..2025-10-01"] {
            assert_eq!(dates(wrong).unwrap_err().kind().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn locales_are_language_tags() {
        for right in ["pl", "pl-PL", "zh-Hant-TW", "de-DE-1996"] {
            check_locale(right).unwrap();
        }
        for wrong in ["", "p", "pl_PL", "pl-", "<script>", "1a"] {
            assert!(check_locale(wrong).is_err(), "{wrong}");
        }
    }
}
