//! `pipeline doctor`: tries everything a run needs, with the very permissions a run needs.

use std::collections::BTreeSet;

use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::extract::Request;
use pipeline_core::ledger::Ledger;
use pipeline_core::name::TableName;
use pipeline_core::probe::Probe;
use pipeline_core::run::Stop;
use serde_json::json;

use crate::arguments::{DoctorArguments, Global, OutputForm};
use crate::output::{Printer, Style, progress};
use crate::project::Project;

/// Something a run needs does not work.
pub(crate) static DOCTOR: Code = Code {
    name: "E-DOCTOR",
    kind: ErrorKind::Usage,
    meaning: "Something that a run needs does not work; the list above says what, and how to mend it.",
    remedy: "Mend the first failed line and run `pipeline doctor` again.",
};

pub(crate) async fn doctor(global: &Global, printer: Printer, arguments: DoctorArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let names: Vec<String> = match arguments.name {
        Some(name) => vec![project.config.pipeline(&name)?.name.clone()],
        None => project.config.pipelines.keys().cloned().collect(),
    };
    let mut probes: Vec<Probe> = Vec::new();
    let mut worst: Option<ErrorKind> = None;
    let checked = project.check().await;
    record(
        &mut probes,
        &mut worst,
        "configuration and models",
        checked.map(|checked| format!("{} models, {} tables", checked.models, checked.tables)),
    );
    let ledger = async { project.ledger().await?.runs(None, 1).await.map(|_| project.config.project.ledger.clone()) }.await;
    record(&mut probes, &mut worst, "ledger", ledger);
    for name in &names {
        let wanted = project.tables(name)?;
        for (source, tables) in by_source(&wanted) {
            match try_source(&project, name, &tables).await {
                Ok(tried) => {
                    record(&mut probes, &mut worst, &format!("source {source}"), Ok(format!("{} tables can be read", tables.len())));
                    probes.extend(tried.into_iter().map(|probe| Probe { what: format!("source {source}: {}", probe.what), ..probe }));
                }
                Err(error) => record(&mut probes, &mut worst, &format!("source {source}"), Err(error)),
            }
        }
        let landing = project.try_landing().await;
        record(&mut probes, &mut worst, "landing", landing);
        match project.connect(name, progress(printer), Stop::default()).await {
            Ok(connected) => {
                record(
                    &mut probes,
                    &mut worst,
                    "lake",
                    connected.lake.marker(name, &TableName::model("orders")?).await.map(|_| project.config.project.lake.clone()),
                );
                for destination in &connected.destinations {
                    let reached = destination.loader.marker(name, &TableName::model("orders")?).await;
                    record(
                        &mut probes,
                        &mut worst,
                        &format!("destination {}", destination.loader.name()),
                        reached.map(|_| "answers".to_owned()),
                    );
                }
            }
            Err(error) => record(&mut probes, &mut worst, &format!("pipeline {name}"), Err(error)),
        }
        probes.extend(project.probe_destinations(name).await);
    }
    if probes.iter().any(|probe| !probe.ok) {
        worst.get_or_insert(ErrorKind::Usage);
    }
    print(printer, &probes)?;
    let failed = probes.iter().filter(|probe| !probe.ok).count();
    if failed == 0 { Ok(()) } else { Err(Error::new(&DOCTOR, format!("{failed} of {} checks failed", probes.len()))) }
}

fn by_source(tables: &BTreeSet<TableName>) -> Vec<(String, BTreeSet<TableName>)> {
    let mut grouped: Vec<(String, BTreeSet<TableName>)> = Vec::new();
    for table in tables {
        match grouped.iter_mut().find(|(source, _)| source == table.schema()) {
            Some((_, tables)) => {
                tables.insert(table.clone());
            }
            None => grouped.push((table.schema().to_owned(), BTreeSet::from([table.clone()]))),
        }
    }
    grouped
}

/// Plans a reading of every table; gives what the source's keeper should know, each thing once.
async fn try_source(project: &Project, pipeline: &str, tables: &BTreeSet<TableName>) -> Result<Vec<Probe>> {
    let sources = project.sources(pipeline).await?;
    let ledger = project.ledger().await?;
    let mut probes: Vec<Probe> = Vec::new();
    for source in sources.open(tables).await? {
        let request = Request { window: None, rejected: None, cut: None, lookback_us: source.lookback_us, slices_wanted: 1 };
        let planned = source.extractor.plan(&request, None).await;
        source.extractor.finish().await?;
        planned?;
        let checkpoint = ledger.checkpoint(pipeline, &source.extractor.contract().table).await?;
        for probe in source.extractor.health(checkpoint.as_ref()).await? {
            if !probes.contains(&probe) {
                probes.push(probe);
            }
        }
    }
    Ok(probes)
}

fn record(probes: &mut Vec<Probe>, worst: &mut Option<ErrorKind>, what: &str, result: Result<String>) {
    probes.push(match result {
        Ok(detail) => Probe { what: what.to_owned(), ok: true, detail, fix: None },
        Err(error) => {
            worst.get_or_insert(error.kind());
            let causes = error.causes().iter().map(|cause| format!(": {cause}")).collect::<String>();
            Probe { what: what.to_owned(), ok: false, detail: format!("{}{causes}", error.message()), fix: Some(error.remedy().to_owned()) }
        }
    });
}

fn print(printer: Printer, probes: &[Probe]) -> Result<()> {
    if printer.form != OutputForm::Human {
        let status = if probes.iter().all(|probe| probe.ok) { "ok" } else { "failed" };
        return printer.json(&json!({ "schema_version": 1, "status": status, "probes": probes }));
    }
    for probe in probes {
        let sign = if probe.ok { printer.styled(Style::Good, "✓") } else { printer.styled(Style::Bad, "✗") };
        printer.line(format!(
            "{sign} {} {}",
            printer.styled(Style::Strong, &probe.what),
            printer.styled(if probe.ok { Style::Dim } else { Style::Bad }, &probe.detail)
        ));
        if let Some(fix) = &probe.fix {
            printer.line(format!("    {} {fix}", printer.styled(Style::Key, "fix:")));
        }
    }
    Ok(())
}
