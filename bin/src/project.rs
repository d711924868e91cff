//! A configuration, opened: what commands work with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use globset::Glob;
use pipeline_core::clock::{Clock, SystemClock};
use pipeline_core::config::{CONFIG, Config, Origin, Override, SecretSource};
use pipeline_core::error::{Error, Result};
use pipeline_core::landing::Landing;
use pipeline_core::ledger::Ledger;
use pipeline_core::load::Loader;
use pipeline_core::model::{ModelNode, Models};
use pipeline_core::name::TableName;
use pipeline_core::pace::Pace;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::probe::Probe;
use pipeline_core::run::{Destination, Engine, EngineSettings, Observer, Parts, Sources, Stop};
use pipeline_core::window::Timestamp;
use pipeline_extractors::kind::Connect;
use pipeline_loaders::lake::{Lake, LakeOptions};
use pipeline_loaders::s3::{AwsOptions, BucketPath, StaticCredentials, abort_stale_uploads, s3_client, sdk_config};
use pipeline_loaders::storage::Storage;

use crate::arguments::Global;
use crate::destinations;
use crate::ledger::SqliteLedger;
use crate::models::LakeModels;
use crate::openlineage;
use crate::output::Printer;
use crate::secrets::Secrets;
use crate::sources::{ConfiguredSources, kind};
use crate::telemetry::{self, Telemetry};

/// The configuration's file name.
pub(crate) const FILE_NAME: &str = "pipelines.toml";

/// What a killed process left is removed after so long: no run takes longer.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// A configuration, opened.
#[derive(Debug)]
pub(crate) struct Project {
    /// What it means.
    pub(crate) config: Arc<Config>,
    /// What tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    printer: Printer,
}

/// Everything of a pipeline, connected.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) pipeline: String,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) models: Arc<LakeModels>,
    pub(crate) lake: Arc<dyn Loader>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) landing: Landing,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) slices_in_flight_max: usize,
}

impl Connected {
    /// The tables and models with what each reads.
    pub(crate) fn graph(&self) -> BTreeMap<TableName, Vec<TableName>> {
        let tables = self.sources.tables().iter().map(|table| (table.clone(), Vec::new()));
        let models = self.models.nodes().iter().map(|node| (node.contract.table.clone(), node.reads()));
        tables.chain(models).collect()
    }
}

/// What `config check` counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) pipelines: usize,
    pub(crate) tables: usize,
    pub(crate) models: usize,
}

impl Project {
    /// Finds and reads the configuration.
    pub(crate) fn open(global: &Global, printer: Printer) -> Result<Self> {
        let file = match &global.config {
            Some(file) => file.clone(),
            None => search()?,
        };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Error::new(&CONFIG, format!("configuration \"{}\" could not be read", file.display())).caused_by(error.kind())
        })?;
        let overrides =
            global.set.iter().map(|text| Override::parse(text, Origin::Flag("--set".to_owned()))).collect::<Result<Vec<_>>>()?;
        let config = Config::load(&file, &text, global.profile.as_deref(), &overrides)?;
        Ok(Self { config: Arc::new(config), clock: Arc::new(SystemClock), printer })
    }

    /// Begins logs and traces.
    pub(crate) fn start_telemetry(&self, global: &Global) -> Result<Telemetry> {
        let endpoint = telemetry::endpoint(self.config.telemetry.clone())?;
        Telemetry::start(global.verbose, global.quiet, endpoint.as_deref(), self.printer.colors_error())
    }

    /// The ledger.
    pub(crate) async fn ledger(&self) -> Result<Arc<SqliteLedger>> {
        let file = PathBuf::from(self.config.place(&self.config.project.ledger));
        Ok(Arc::new(SqliteLedger::open(&file, Arc::clone(&self.clock)).await?))
    }

    /// How Amazon's services are reached: the section `[aws]`.
    pub(crate) async fn aws(&self) -> Result<AwsOptions> {
        let mut options = self.config.aws.clone();
        let region = options.text("region")?;
        let endpoint = options.text("endpoint")?;
        let profile = options.text("profile")?;
        let id = options.secret("access_key_id")?;
        let key = options.secret("secret_access_key")?;
        let token = options.secret("session_token")?;
        // Read by those who write to the bucket.
        let _ = options.text("kms_key")?;
        options.end()?;
        let unsigned = AwsOptions { region, endpoint, credentials: None, profile };
        let secrets = Secrets::new(&self.config.folder, unsigned.clone());
        let credentials = match (id, key) {
            (Some(id), Some(key)) => Some(StaticCredentials {
                access_key_id: secrets.fetch(&id).await?,
                secret_access_key: secrets.fetch(&key).await?,
                session_token: match token {
                    Some(token) => Some(secrets.fetch(&token).await?),
                    None => None,
                },
            }),
            _ => None,
        };
        Ok(AwsOptions { credentials, ..unsigned })
    }

    fn kms_key(&self) -> Result<Option<String>> {
        self.config.aws.clone().text("kms_key")
    }

    pub(crate) async fn secrets(&self) -> Result<Arc<Secrets>> {
        Ok(Arc::new(Secrets::new(&self.config.folder, self.aws().await?)))
    }

    /// The key of keyed hashes, if one is configured.
    #[cfg(feature = "cluster")]
    pub(crate) async fn key(&self) -> Result<Option<PrivacyKey>> {
        let secrets = self.secrets().await?;
        self.privacy_key(&secrets).await
    }

    async fn privacy_key(&self, secrets: &Secrets) -> Result<Option<PrivacyKey>> {
        match &self.config.project.privacy.key {
            Some(secret) => Ok(Some(PrivacyKey::new(secrets.fetch(secret).await?.as_bytes()))),
            None => Ok(None),
        }
    }

    /// The tables that a pipeline reads.
    pub(crate) fn tables(&self, pipeline: &str) -> Result<BTreeSet<TableName>> {
        let patterns = &self.config.pipeline(pipeline)?.tables;
        let all = self.config.sources.values().flat_map(|source| source.tables.keys());
        matching(patterns, all, &format!("pipelines.{pipeline}.tables"))
    }

    /// The sources of a pipeline, not connected yet.
    pub(crate) async fn sources(&self, pipeline: &str) -> Result<Arc<dyn Sources>> {
        let tables = self.tables(pipeline)?;
        let secrets = self.secrets().await?;
        let key = self.privacy_key(&secrets).await?;
        let work = PathBuf::from(self.config.place(&self.config.project.work));
        let connect = Connect { folder: self.config.folder.clone(), secrets, key, pace: Pace::default(), work };
        Ok(Arc::new(ConfiguredSources::new(Arc::clone(&self.config), &tables, connect)))
    }

    /// Tries to write, read and remove a small object in the landing.
    pub(crate) async fn try_landing(&self) -> Result<String> {
        let landing = self.landing().await?;
        let key = format!("doctor/{}", uuid::Uuid::now_v7().simple());
        landing.create(&key, b"probe".to_vec()).await?;
        landing.get(&key).await?;
        landing.clean("doctor").await?;
        Ok(landing.url().to_owned())
    }

    /// Where snapshots lie.
    pub(crate) async fn landing(&self) -> Result<Landing> {
        let place = self.config.place(&self.config.project.landing);
        Ok(Storage::open(&place, &self.aws().await?, self.kms_key()?.as_deref()).await?.landing())
    }

    pub(crate) async fn lake(&self) -> Result<Arc<Lake>> {
        let place = self.config.place(&self.config.project.lake);
        let storage = Storage::open(&place, &self.aws().await?, self.kms_key()?.as_deref()).await?;
        let settings = self.config.project.settings;
        let options = LakeOptions {
            url: storage.url,
            store: storage.store,
            work: PathBuf::from(self.config.place(&self.config.project.work)).join("lake"),
            memory_limit_bytes: usize::try_from(settings.memory_limit_bytes / 16 * 3).unwrap_or(usize::MAX),
            threads: settings.steps_in_flight_max.max(2),
        };
        Ok(Arc::new(Lake::open(options)?))
    }

    /// The models over the lake, as queries and runs see them.
    pub(crate) async fn models(&self) -> Result<Arc<LakeModels>> {
        let secrets = self.secrets().await?;
        let key = self.privacy_key(&secrets).await?;
        self.models_over(self.lake().await?, key)
    }

    /// The same for queries that hash nothing.
    pub(crate) async fn models_without_key(&self) -> Result<Arc<LakeModels>> {
        self.models_over(self.lake().await?, None)
    }

    /// The models of a pipeline, for commands that only read. They need the privacy key only if a data test of theirs hashes something.
    pub(crate) async fn models_of(&self, pipeline: &str) -> Result<LakeModels> {
        self.config.pipeline(pipeline)?;
        let models = self.models_without_key().await?;
        let models = if models.tests_hash() || models.views_hash() { self.models().await? } else { models };
        Ok(models.narrowed(&self.made(pipeline, models.nodes())?))
    }

    fn models_over(&self, lake: Arc<Lake>, key: Option<PrivacyKey>) -> Result<Arc<LakeModels>> {
        Ok(Arc::new(LakeModels::load(&self.config, lake, key)?))
    }

    /// Fails, instead of letting rows be rejected, as soon as one does not fit.
    #[must_use]
    pub(crate) fn rejecting_nothing(mut self) -> Self {
        let config = Arc::make_mut(&mut self.config);
        for table in config.sources.values_mut().flat_map(|source| source.tables.values_mut()) {
            table.rejected_share_max = 0.0;
        }
        self
    }

    /// Reads every section, so that no run begins with a mistake in one. Returns how many tables there are.
    fn check_sections(&self) -> Result<usize> {
        let mut tables = 0;
        for source in self.config.sources.values() {
            let kind = kind(source)?;
            (kind.read)(source.options.clone())?;
            for config in source.tables.values() {
                (kind.check_table)(config.options.clone())?;
                tables += 1;
            }
        }
        for pipeline in self.config.pipelines.keys() {
            self.tables(pipeline)?;
        }
        for destination in self.config.destinations.values() {
            destinations::check(destination)?;
        }
        openlineage::check(&self.config)?;
        Ok(tables)
    }

    /// Reads models, sections and references without connecting anywhere.
    pub(crate) async fn check(&self) -> Result<Checked> {
        let tables = self.check_sections()?;
        let models = LakeModels::check(&self.config).await?;
        for pipeline in self.config.pipelines.keys() {
            let made = self.made(pipeline, &models)?;
            self.published(pipeline, &models, &made)?;
        }
        Ok(Checked { pipelines: self.config.pipelines.len(), tables, models: models.len() })
    }

    /// The models that a pipeline makes.
    fn made(&self, pipeline: &str, models: &[ModelNode]) -> Result<BTreeSet<TableName>> {
        let names: Vec<TableName> = models.iter().map(|node| node.contract.table.clone()).collect();
        matching(&self.config.pipeline(pipeline)?.models, names.iter(), &format!("pipelines.{pipeline}.models"))
    }

    /// Those of them that go to destinations, in their published forms. Views do not: patterns pass them over, and their names are refused.
    fn published(&self, pipeline: &str, models: &[ModelNode], made: &BTreeSet<TableName>) -> Result<BTreeSet<TableName>> {
        let configured = self.config.pipeline(pipeline)?;
        let published = matching(&configured.publish, made.iter(), &format!("pipelines.{pipeline}.publish"))?;
        let mut published = in_published_form(published, models);
        let views: BTreeSet<&TableName> = models.iter().filter(|node| node.is_view).map(|node| &node.contract.table).collect();
        if let Some(view) = published
            .iter()
            .find(|name| views.contains(name) && configured.publish.contains(&name.to_string()))
            .filter(|_| !configured.destinations.is_empty())
        {
            return Err(Error::new(&CONFIG, format!("pipelines.{pipeline}.publish names \"{view}\", which is a view"))
                .caused_by("a view is not stored, and its statement speaks a dialect that no warehouse has")
                .hint(format!("Take it out of `publish`, or let \"{view}\" be `materialization = \"full\"`.")));
        }
        published.retain(|name| !views.contains(name));
        Ok(published)
    }

    /// Connects everything of a pipeline but its sources, which each run opens for itself.
    pub(crate) async fn connect(&self, pipeline: &str, _observer: Arc<dyn Observer>, _stop: Stop) -> Result<Connected> {
        self.check_sections()?;
        let configured = self.config.pipeline(pipeline)?.clone();
        let secrets = self.secrets().await?;
        let key = self.privacy_key(&secrets).await?;
        let lake = self.lake().await?;
        let models = self.models_over(Arc::clone(&lake), key)?;
        let mut made = self.made(pipeline, models.nodes())?;
        let published = self.published(pipeline, models.nodes(), &made)?;
        if !configured.destinations.is_empty() {
            made.extend(published.iter().cloned());
        }
        let models = Arc::new(models.narrowed(&made));
        let mut connected = Vec::new();
        for name in &configured.destinations {
            let destination =
                self.config.destinations.get(name).ok_or_else(|| Error::new(&CONFIG, format!("there is no destination \"{name}\"")))?;
            let loader = destinations::connect(destination, &self.aws().await?).await?;
            connected.push(Destination { loader, tables: published.clone() });
        }
        Ok(Connected {
            pipeline: pipeline.to_owned(),
            sources: self.sources(pipeline).await?,
            models,
            lake,
            destinations: connected,
            landing: self.landing().await?,
            ledger: self.ledger().await?,
            slices_in_flight_max: self.config.project.settings.slices_in_flight_max,
        })
    }

    /// The engine of a pipeline.
    pub(crate) async fn engine(&self, pipeline: &str, observer: Arc<dyn Observer>, stop: Stop, lock_wait_seconds: u64) -> Result<Engine> {
        let connected = self.connect(pipeline, Arc::clone(&observer), stop.clone()).await?;
        let settings = self.config.project.settings;
        let parts = Parts {
            pipeline: connected.pipeline,
            sources: connected.sources,
            models: connected.models,
            lake: connected.lake,
            destinations: connected.destinations,
            landing: connected.landing,
            ledger: connected.ledger,
            clock: Arc::clone(&self.clock),
            observer,
            stop,
        };
        let defaults = EngineSettings::default();
        let slices = u64::try_from(settings.slices_in_flight_max * settings.steps_in_flight_max).unwrap_or(u64::MAX).max(1);
        // Three sixteenths of the memory for batches on their way, as much for the row groups being written and for the lake's
        // merges; models have a quarter, and the rest is for what nobody counts.
        let row_group_memory_bytes_max = usize::try_from(settings.memory_limit_bytes / 16 * 3 / slices)
            .unwrap_or(usize::MAX)
            .min(defaults.writer.row_group_memory_bytes_max);
        Ok(Engine::new(
            parts,
            EngineSettings {
                steps_in_flight_max: settings.steps_in_flight_max,
                slices_in_flight_max: settings.slices_in_flight_max,
                budget_bytes: settings.memory_limit_bytes / 16 * 3,
                writer: pipeline_core::landing::WriterSettings { row_group_memory_bytes_max, ..defaults.writer },
                attempts_max: settings.attempts_max,
                lease_wait_ms: lock_wait_seconds * 1000,
                ..defaults
            },
        ))
    }

    /// Removes what killed processes left: files in the work folder, and uploads to the landing's bucket that nobody will
    /// finish. Only what is old enough that no running process can own it. Trouble here is no reason not to run.
    pub(crate) async fn sweep(&self) {
        let now = self.clock.now();
        let work = PathBuf::from(self.config.place(&self.config.project.work));
        for folder in ["lake", "models", "changes"] {
            sweep_folder(&work.join(folder), now);
        }
        if let Err(error) = self.sweep_uploads(now).await {
            tracing::warn!(error = %error, "unfinished uploads could not be looked for");
        }
    }

    async fn sweep_uploads(&self, now: Timestamp) -> Result<()> {
        let place = self.config.place(&self.config.project.landing);
        if !place.starts_with("s3://") {
            return Ok(());
        }
        let client = s3_client(&sdk_config(&self.aws().await?).await);
        let aborted = abort_stale_uploads(&client, &BucketPath::parse(&place)?, now, LEFT_BEHIND_AFTER).await?;
        if aborted > 0 {
            tracing::info!(aborted, "uploads that nobody finished were aborted");
        }
        Ok(())
    }

    /// Tries what destinations need beyond answering.
    pub(crate) async fn probe_destinations(&self, pipeline: &str) -> Vec<Probe> {
        let Ok(configured) = self.config.pipeline(pipeline) else { return Vec::new() };
        let Ok(aws) = self.aws().await else { return Vec::new() };
        let mut probes = Vec::new();
        for destination in configured.destinations.iter().filter_map(|name| self.config.destinations.get(name)) {
            let landing = self.config.place(&self.config.project.landing);
            probes.extend(destinations::probe(destination, &aws, &landing).await);
        }
        probes
    }

    /// The addresses of the live MongoDB and PostgreSQL of the profile, for the generator.
    pub(crate) async fn live_urls(&self) -> Result<(String, String)> {
        let secrets = self.secrets().await?;
        let mut found = [None, None];
        for source in self.config.sources.values() {
            let place = match source.kind.as_str() {
                "mongodb" => &mut found[0],
                "postgres" => &mut found[1],
                _ => continue,
            };
            *place = Some(secrets.fetch(&source.options.clone().required_secret("url")?).await?);
        }
        match found {
            [Some(mongodb), Some(postgres)] => Ok((mongodb, postgres)),
            _ => Err(Error::new(&CONFIG, "the profile has no live MongoDB and PostgreSQL to fill")
                .hint("Choose one that has, with --profile live.")),
        }
    }
}

/// Removes old files and folders; each that cannot be removed is left for another time.
fn sweep_folder(folder: &Path, now: Timestamp) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|modified| modified.duration_since(std::time::UNIX_EPOCH).ok());
        let Some(modified_us) = age.and_then(|age| i64::try_from(age.as_micros()).ok()) else { continue };
        let old_us = now.microseconds().saturating_sub(modified_us);
        if u128::try_from(old_us).is_ok_and(|old| old > LEFT_BEHIND_AFTER.as_micros()) {
            let path = entry.path();
            drop(if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) });
        }
    }
}

fn search() -> Result<PathBuf> {
    let start =
        std::env::current_dir().map_err(|error| Error::new(&CONFIG, "the current folder cannot be read").caused_by(error.kind()))?;
    let mut folder: Option<&Path> = Some(&start);
    while let Some(here) = folder {
        let file = here.join(FILE_NAME);
        if file.is_file() {
            return Ok(file);
        }
        folder = here.parent();
    }
    Err(Error::new(&CONFIG, format!("there is no {FILE_NAME} here or in any folder above"))
        .hint("Go to the project's folder, or name the file with --config."))
}

/// What destinations are given: where a model has a published form, that one and never the model itself.
fn in_published_form(mut tables: BTreeSet<TableName>, nodes: &[ModelNode]) -> BTreeSet<TableName> {
    for node in nodes {
        if let Some(exact) = &node.published_form_of
            && tables.remove(exact)
        {
            tables.insert(node.contract.table.clone());
        }
    }
    tables
}

fn matching<'a>(patterns: &[String], names: impl Iterator<Item = &'a TableName> + Clone, key: &str) -> Result<BTreeSet<TableName>> {
    let mut chosen = BTreeSet::new();
    for text in patterns {
        let glob =
            Glob::new(text).map_err(|_| Error::new(&CONFIG, format!("pattern \"{text}\" of {key} cannot be read")))?.compile_matcher();
        let before = chosen.len();
        chosen.extend(names.clone().filter(|name| glob.is_match(name.to_string())).cloned());
        if chosen.len() == before && text != "*" && !names.clone().any(|name| glob.is_match(name.to_string())) {
            return Err(Error::new(&CONFIG, format!("pattern \"{text}\" of {key} matches nothing")));
        }
    }
    Ok(chosen)
}
