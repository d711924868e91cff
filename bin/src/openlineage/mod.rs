//! What runs do, told as `OpenLineage` events: to a file, or to a receiver such as Marquez.
//!
//! ```toml
//! [openlineage]
//! url = "env:OPENLINEAGE_URL"        # POST to it, and to its /api/v1/lineage if it has no path
//! api_key = "env:OPENLINEAGE_API_KEY"
//! file = ".pipeline/lineage.ndjson"  # or a line each in a file
//! namespace = "food-delivery"        # of jobs; the project's name if not given
//! ```
//! A run and each of its steps are jobs; a step names its run as its parent. Snapshots between two steps are data sets too:
//! source → extract → landing → load → lake → model → landing → load → lake and warehouse.

mod events;
mod sender;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pipeline_core::clock::Clock;
use pipeline_core::config::{CONFIG, Config, Secret, SecretSource};
use pipeline_core::error::{Error, Result};
use pipeline_core::run::{Event, Observer};
use pipeline_transforms::lineage::Lineage;

use crate::models::LakeModels;
use crate::output::{Printer, Style};
use crate::project::Project;
use events::{Facts, Place, Places, Transition};
use sender::{Sender, Sending, To};

/// Where receivers listen, if the address says nothing else.
const RECEIVER_PATH: &str = "/api/v1/lineage";

/// The section `[openlineage]`.
#[derive(Debug)]
struct Section {
    url: Option<Secret>,
    api_key: Option<Secret>,
    file: Option<String>,
    namespace: Option<String>,
}

impl Section {
    fn read(config: &Config) -> Result<Self> {
        let mut options = config.openlineage.clone();
        let section = Self {
            url: options.secret("url")?,
            api_key: options.secret("api_key")?,
            file: options.text("file")?,
            namespace: options.text("namespace")?,
        };
        if section.url.is_some() && section.file.is_some() {
            return Err(options.error("file", "events go to a file or to an address, not to both").hint("Keep `url` or `file`."));
        }
        options.end()?;
        Ok(section)
    }
}

/// Reads the section without sending anything.
pub(crate) fn check(config: &Config) -> Result<()> {
    Section::read(config).map(drop)
}

/// Tells of the runs of one command.
#[derive(Debug, Default)]
pub(crate) struct Telling(Option<(Arc<Teller>, Sending)>);

impl Telling {
    /// Begins, if events are asked for.
    ///
    /// # Errors
    /// Only if the configuration cannot be used: what keeps events from being sent is a warning at the end.
    pub(crate) async fn start(project: &Project) -> Result<Self> {
        let config = &project.config;
        let section = Section::read(config)?;
        let to = match (section.url, section.file) {
            (Some(secret), _) => {
                let secrets = project.secrets().await?;
                let api_key = match &section.api_key {
                    Some(secret) => Some(secrets.fetch(secret).await?),
                    None => None,
                };
                To::Http { url: address(&secrets.fetch(&secret).await?)?, api_key }
            }
            (None, Some(file)) => To::File(PathBuf::from(config.place(&file))),
            (None, None) => return Ok(Self::default()),
        };
        let namespace = section.namespace.unwrap_or_else(|| config.project.name.clone());
        let facts = facts(config, namespace).await?;
        let (sender, sending) = Sender::start(to);
        let teller = Teller { facts, sender, clock: Arc::clone(&project.clock), open: Mutex::default() };
        Ok(Self(Some((Arc::new(teller), sending))))
    }

    /// Watches along with another observer.
    pub(crate) fn beside(&self, other: Arc<dyn Observer>) -> Arc<dyn Observer> {
        match &self.0 {
            Some((teller, _)) => Arc::new(Both(other, Arc::clone(teller))),
            None => other,
        }
    }

    /// Waits a bounded time until everything is sent, and says if something was not. Every engine must be gone by then.
    pub(crate) async fn finish(self, printer: Printer) {
        let Some((teller, sending)) = self.0 else { return };
        teller.end();
        drop(teller);
        if let Some((lost, why)) = sending.finish().await {
            let warning = printer.styled_error(Style::Warn, "warning:");
            printer.note(format!("{warning} {lost} OpenLineage events were not sent: {why}"));
        }
    }
}

/// The whole address of a receiver.
fn address(text: &str) -> Result<String> {
    let wrong = || Error::new(&CONFIG, "the address of [openlineage] cannot be used").hint("Give it as http://host:5000.");
    let mut url = reqwest::Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong());
    }
    if url.path() == "/" {
        url.set_path(RECEIVER_PATH);
    }
    Ok(url.into())
}

/// The namespace and the path that data sets in a folder or bucket have by `OpenLineage`'s naming rules.
fn storage(place: &str) -> (String, String) {
    match place.split_once("://") {
        Some((scheme, rest)) => {
            let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{bucket}"), path.trim_end_matches('/').to_owned())
        }
        None => {
            let path = std::path::absolute(Path::new(place)).unwrap_or_else(|_| PathBuf::from(place));
            ("file".to_owned(), path.to_string_lossy().trim_end_matches('/').to_owned())
        }
    }
}

async fn facts(config: &Config, namespace: String) -> Result<Facts> {
    let (models, lineage) = match LakeModels::lineage(config).await {
        Ok(found) => found,
        // The run itself will say what is wrong with the models.
        Err(error) => {
            tracing::warn!(error = %error, "column lineage could not be told");
            (pipeline_transforms::model::ModelSet::default(), Lineage::default())
        }
    };
    let mut contracts = BTreeMap::new();
    let mut places = Places {
        landing: storage(&config.place(&config.project.landing)),
        lake: storage(&config.place(&config.project.lake)),
        ..Places::default()
    };
    for source in config.sources.values() {
        for (name, table) in &source.tables {
            contracts.insert(name.clone(), table.contract.clone());
            let mut options = table.options.clone();
            let named = ["relation", "collection", "index"].iter().find_map(|key| options.text(key).ok().flatten());
            // Not the server's address: it is a secret.
            let namespace = format!("{}://{}", source.kind, source.name);
            places.sources.insert(name.clone(), Place { namespace, name: named.unwrap_or_else(|| name.table().to_owned()) });
        }
    }
    contracts.extend(models.models().iter().map(|model| (model.table().clone(), model.contract.clone())));
    for destination in config.destinations.values() {
        let mut options = destination.options.clone();
        let mut text = |key: &str| options.text(key).ok().flatten();
        let (database, schema) = (text("database").unwrap_or_default(), text("schema").unwrap_or_else(|| "marts".to_owned()));
        let namespace = format!("{}://{}", destination.kind, destination.name);
        places.destinations.insert(destination.name.clone(), (namespace, format!("{database}.{schema}")));
    }
    Ok(Facts { namespace, contracts, models, lineage, places })
}

/// Turns what happens into events.
#[derive(Debug)]
struct Teller {
    facts: Facts,
    sender: Sender,
    clock: Arc<dyn Clock>,
    open: Mutex<BTreeMap<String, OpenRun>>,
}

/// A run that has begun and not ended.
#[derive(Debug, Default)]
struct OpenRun {
    pipeline: String,
    steps: BTreeSet<String>,
}

impl Teller {
    fn send(&self, event: Option<serde_json::Value>) {
        if let Some(event) = event {
            self.sender.send(event.to_string());
        }
    }

    /// Runs that were left without an end are aborted.
    fn end(&self) {
        let open = std::mem::take(&mut *self.open.lock().expect("no holder of this lock panics"));
        for (run, open) in open {
            self.abort_steps(&run, &open);
            self.send(Some(self.facts.of_run(self.clock.now(), &run, &open.pipeline, Transition::Abort, None)));
        }
    }

    fn abort_steps(&self, run: &str, open: &OpenRun) {
        for step in &open.steps {
            self.send(self.facts.of_step(self.clock.now(), (run, &open.pipeline), step, Transition::Abort, None));
        }
    }

    fn tell(&self, run: &str, event: &Event) {
        let at = self.clock.now();
        let mut open = self.open.lock().expect("no holder of this lock panics");
        match event {
            Event::RunStarted { pipeline } => {
                open.insert(run.to_owned(), OpenRun { pipeline: pipeline.clone(), steps: BTreeSet::new() });
                self.send(Some(self.facts.of_run(at, run, pipeline, Transition::Start, None)));
            }
            Event::RunFinished { pipeline, status, error } => {
                if let Some(left) = open.remove(run) {
                    self.abort_steps(run, &left);
                }
                self.send(Some(self.facts.of_run(at, run, pipeline, Transition::of_run(*status), error.as_deref())));
            }
            Event::StepStarted { step, .. } => {
                let Some(open) = open.get_mut(run) else { return };
                // Tried again, it has begun before.
                if open.steps.insert(step.clone()) {
                    self.send(self.facts.of_step(at, (run, &open.pipeline), step, Transition::Start, None));
                }
            }
            Event::StepFinished(report) => {
                let (Some(open), Some(transition)) = (open.get_mut(run), Transition::of_step(report.status)) else { return };
                if !open.steps.remove(&report.name) {
                    self.send(self.facts.of_step(at, (run, &open.pipeline), &report.name, Transition::Start, None));
                }
                self.send(self.facts.of_step(at, (run, &open.pipeline), &report.name, transition, Some(report)));
            }
            Event::Progress { .. } | Event::Retry { .. } | Event::Warning { .. } => {}
        }
    }
}

/// Two watchers.
#[derive(Debug)]
struct Both(Arc<dyn Observer>, Arc<Teller>);

impl Observer for Both {
    fn event(&self, event: &Event) {
        self.0.event(event);
    }

    fn event_of(&self, run: &str, event: &Event) {
        self.0.event_of(run, event);
        self.1.tell(run, event);
    }
}
