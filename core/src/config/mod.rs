//! Configuration: one file, three phases.
//!
//! 1. [`layers`]: what was written, with where each value came from (file and line, profile, flag, environment).
//! 2. [`Config`]: what it means. Pure: names resolve, contracts agree, secrets are references, units are numbers.
//! 3. Connecting is the caller's: nothing here touches a network, a secret or the clock.
//!
//! Precedence: flag, then environment, then the profile's section, then the rest of the file, then the default.

mod cluster;
mod kind;
pub mod layers;
mod project;
mod secret;
mod segment;
mod source;
mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use cluster::{Address, Cluster};
pub use kind::{KindError, Options};
pub use layers::{Layers, Origin, Override};
pub use project::{Privacy, Project, Settings};
pub use secret::{SECRET, Secret, SecretSource};
pub use segment::{CostCap, Discount, Hundredths, SegmentRule};
pub use source::{DEFAULT_LOOKBACK, SourceConfig, TableConfig};
pub use units::{parse_bytes, parse_share};

use crate::error::{Code, Error, ErrorKind, Result};

/// The configuration cannot be read or contradicts itself.
pub static CONFIG: Code = Code {
    name: "E-CONFIG",
    kind: ErrorKind::Usage,
    meaning: "The configuration file is missing, cannot be read, holds an unknown key, or contradicts itself.",
    remedy: "Correct the named key; `pipeline config show` prints every value and where it came from.",
};

/// Schemas that statements know already: the models, their former results, and the rules of segments.
const RESERVED: &[&str] = &["marts", "previous", "segments"];

/// Where a destination is, and what goes there.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationConfig {
    /// Its name.
    pub name: String,
    /// Its kind, such as `redshift`.
    pub kind: String,
    /// The rest, for its kind to read.
    pub options: Options,
}

/// A pipeline: which tables, which models, which destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Patterns of tables to read.
    pub tables: Vec<String>,
    /// Patterns of models to make.
    pub models: Vec<String>,
    /// Destinations beside the lake, by name.
    pub destinations: Vec<String>,
    /// Patterns of the models that go to the destinations.
    pub publish: Vec<String>,
}

/// What the configuration means.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the file: relative paths start here.
    pub folder: PathBuf,
    /// The profile in force.
    pub profile: Option<String>,
    /// The project's own settings.
    pub project: Project,
    /// Parameters of models.
    pub parameters: BTreeMap<String, String>,
    /// Sources by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Destinations by name.
    pub destinations: BTreeMap<String, DestinationConfig>,
    /// Pipelines by name.
    pub pipelines: BTreeMap<String, PipelineConfig>,
    /// Rules of segments, the one that wins first.
    pub segments: Vec<SegmentRule>,
    /// Where models are computed, if not here.
    pub cluster: Cluster,
    /// Amazon Web Services: region, endpoint, credentials; read by those who speak to it.
    pub aws: Options,
    /// Traces: where to send them; read by who sends.
    pub telemetry: Options,
    /// `OpenLineage` events: where to send them; read by who sends.
    pub openlineage: Options,
    /// Every value and where it came from.
    pub layers: Layers,
}

impl Config {
    /// Reads the file, lays profile and overrides over it, and finds out what it all means.
    ///
    /// # Errors
    /// [`CONFIG`] naming key, file and line.
    pub fn load(file: &Path, text: &str, profile: Option<&str>, overrides: &[Override]) -> Result<Self> {
        let layers = Layers::new(file, text, profile, overrides)?;
        let root = Options::new(layers.root().clone(), String::new(), layers.clone());
        Self::read(file, root, layers)
    }

    fn read(file: &Path, mut root: Options, layers: Layers) -> Result<Self> {
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
        let project = Project::read(root.section("project")?)?;
        let mut parameters = BTreeMap::new();
        let mut section = root.section("parameters")?;
        for key in section.keys() {
            parameters.insert(key.clone(), section.scalar(&key)?.unwrap_or_default());
        }
        let mut sources = BTreeMap::new();
        for (name, section) in root.sections("sources")? {
            if RESERVED.contains(&name.as_str()) {
                return Err(layers
                    .error(&format!("sources.{name}"), format!("a source cannot be called \"{name}\": models find something else there"))
                    .hint("Give the source another name."));
            }
            sources.insert(name.clone(), SourceConfig::read(&name, section, &project)?);
        }
        let mut destinations = BTreeMap::new();
        for (name, mut section) in root.sections("destinations")? {
            let kind = section.required("kind")?;
            destinations.insert(name.clone(), DestinationConfig { name, kind, options: section });
        }
        let mut pipelines = BTreeMap::new();
        for (name, mut section) in root.sections("pipelines")? {
            let all = || vec!["*".to_owned()];
            let pipeline = PipelineConfig {
                name: name.clone(),
                description: section.text("description")?.unwrap_or_default(),
                tables: section.texts("tables")?.unwrap_or_else(all),
                models: section.texts("models")?.unwrap_or_else(all),
                destinations: section.texts("destinations")?.unwrap_or_default(),
                publish: section.texts("publish")?.unwrap_or_else(all),
            };
            section.end()?;
            if let Some(missing) = pipeline.destinations.iter().find(|destination| !destinations.contains_key(*destination)) {
                return Err(layers
                    .error(
                        &format!("pipelines.{name}.destinations"),
                        format!("pipeline \"{name}\" names the destination \"{missing}\", which is not declared"),
                    )
                    .hint(format!("Add a section [destinations.{missing}], or correct the name.")));
            }
            pipelines.insert(name, pipeline);
        }
        let mut segments = Vec::new();
        for (name, section) in root.sections("segments")? {
            segments.push(SegmentRule::read(&name, section)?);
        }
        segments.sort_by(|one, other| other.priority.cmp(&one.priority).then_with(|| one.name.cmp(&other.name)));
        let cluster = Cluster::read(root.section("cluster")?, project.uses_cluster)?;
        let aws = root.section("aws")?;
        let telemetry = root.section("telemetry")?;
        let openlineage = root.section("openlineage")?;
        root.end()?;
        let profile = layers.profile().map(str::to_owned);
        Ok(Self {
            folder,
            profile,
            project,
            parameters,
            sources,
            destinations,
            pipelines,
            segments,
            cluster,
            aws,
            telemetry,
            openlineage,
            layers,
        })
    }

    /// The pipeline of that name.
    ///
    /// # Errors
    /// [`CONFIG`] listing those that exist.
    pub fn pipeline(&self, name: &str) -> Result<&PipelineConfig> {
        self.pipelines.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.pipelines.keys().map(String::as_str).collect();
            Error::new(&CONFIG, format!("there is no pipeline \"{name}\" in \"{}\"", self.layers.file().display()))
                .hint(format!("Use one of: {}.", known.join(", ")))
        })
    }

    /// A path of the configuration, relative to the file's folder. URLs stay as they are.
    #[must_use]
    pub fn place(&self, text: &str) -> String {
        if text.contains("://") || Path::new(text).is_absolute() {
            text.to_owned()
        } else {
            self.folder.join(text).to_string_lossy().into_owned()
        }
    }
}

#[cfg(test)]
mod tests;
