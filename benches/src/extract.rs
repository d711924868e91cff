//! One table from a source to zstd Parquet with all that a run does on the way (contract, quarantine, checksums, manifest),
//! beside other programs that do the like.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::Args;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use pipeline_core::batch::ByteBudget;
use pipeline_core::config::{Config, Origin, Override, Secret, SecretSource};
use pipeline_core::error::BUG;
use pipeline_core::extract::Request;
use pipeline_core::landing::{Landing, Manifest, SnapshotWriter, WriterSettings};
use pipeline_core::name::TableName;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::KINDS;
use pipeline_extractors::kind::{Connect, Spec};
use tokio::task::JoinSet;

use crate::process::{Taken, run};
use crate::table::{grouped, print};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What one of our own extractions may hold between decoder and writer: the engine's quarter of `memory_limit = 256MiB`.
const BUDGET_BYTES: u64 = 64 << 20;

/// A table, and who else reads it.
#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// The table as the configuration names it
    #[arg(long, default_value = "platform.transactions")]
    table: TableName,
    /// The configuration
    #[arg(long, default_value = "pipelines.toml")]
    config: PathBuf,
    /// Its profile
    #[arg(long, default_value = "live")]
    profile: String,
    /// A value of the configuration that is to be another: KEY=VALUE
    #[arg(long)]
    set: Vec<String>,
    /// Another program for the same work: NAME=COMMAND, run by a shell in a folder of its own
    #[arg(long)]
    peer: Vec<String>,
    /// How often each is run, one after the other
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// The table at another size, smallest first, to see how time and memory grow: KEY=VALUE of the configuration, as in --set
    #[arg(long)]
    growing: Vec<String>,
    /// Slices that are read at once
    #[arg(long, default_value_t = 2)]
    slices: usize,
    /// Does the work itself, into this folder, instead of measuring it
    #[arg(long, hide = true)]
    into: Option<PathBuf>,
}

impl Extract {
    /// Measures us and the peers by turns, and prints the table.
    pub(crate) fn measure(&self) -> Result<()> {
        if let Some(folder) = &self.into {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            return runtime.block_on(self.extract(folder));
        }
        if !self.growing.is_empty() {
            return self.grow();
        }
        let mut all: Vec<(String, Vec<Taken>)> = vec![("pipeline".to_owned(), Vec::new())];
        for peer in &self.peer {
            let (name, _) = peer.split_once('=').ok_or("--peer is NAME=COMMAND")?;
            all.push((name.to_owned(), Vec::new()));
        }
        for time in 1..=self.times {
            for (index, (name, taken)) in all.iter_mut().enumerate() {
                eprintln!("{time} of {}: {name}", self.times);
                let folder = tempfile::tempdir()?;
                taken.push(self.once(index, None, folder.path())?);
            }
        }
        let first = all.first().and_then(|(_, taken)| taken.first()).ok_or("nothing was run")?;
        println!("{}: {}\n", self.table, first.stdout.trim());
        let rows: Vec<Vec<String>> = all.iter().map(|(name, taken)| row(name, taken)).collect();
        print(&["", "wall s", "CPU s", "peak MB"], &rows);
        Ok(())
    }

    /// Measures us at every size, and prints how the time grows with the rows.
    fn grow(&self) -> Result<()> {
        let mut sizes = Vec::with_capacity(self.growing.len());
        for set in &self.growing {
            let mut taken = Vec::with_capacity(self.times);
            for time in 1..=self.times {
                eprintln!("{time} of {}: {set}", self.times);
                let folder = tempfile::tempdir()?;
                taken.push(self.once(0, Some(set), folder.path())?);
            }
            let rows = taken.first().and_then(Taken::first_number).ok_or("nothing was run")?;
            sizes.push((rows, taken));
        }
        let line = |(rows, taken): &(u64, Vec<Taken>)| row(&grouped(*rows), taken);
        print(&["rows", "wall s", "CPU s", "peak MB"], &sizes.iter().map(line).collect::<Vec<_>>());
        for pair in sizes.windows(2) {
            let [(fewer, quick), (more, slow)] = pair else { continue };
            let least = |taken: &[Taken]| taken.iter().map(|taken| taken.wall_seconds).fold(f64::MAX, f64::min);
            #[expect(clippy::cast_precision_loss, reason = "rows of a table are far fewer than 2^52")]
            let exponent = (least(slow) / least(quick)).ln() / (*more as f64 / *fewer as f64).ln();
            println!("From {} to {} rows the time grows as rows^{exponent:.2}.", grouped(*fewer), grouped(*more));
        }
        Ok(())
    }

    fn once(&self, index: usize, set: Option<&String>, folder: &Path) -> Result<Taken> {
        let mut command = match index.checked_sub(1).and_then(|peer| self.peer.get(peer)) {
            Some(peer) => {
                let mut command = Command::new("sh");
                // The shell becomes the program, so that its memory is the one that is seen.
                let line = peer.split_once('=').map_or("", |(_, line)| line);
                command.args(["-c", &format!("exec {line}")]).current_dir(folder);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["extract", "--table", &self.table.to_string(), "--profile", &self.profile, "--config"]).arg(&self.config);
                command.args(["--slices", &self.slices.to_string()]);
                for set in self.set.iter().chain(set) {
                    command.args(["--set", set]);
                }
                command.arg("--into").arg(folder);
                command
            }
        };
        Ok(run(&mut command, folder)?)
    }

    async fn extract(&self, folder: &Path) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        let overrides = self.set.iter().map(|text| Override::parse(text, Origin::Flag("--set".to_owned())));
        let overrides: Vec<Override> = overrides.collect::<pipeline_core::error::Result<_>>().map_err(words)?;
        let config = Config::load(&self.config, &text, Some(&self.profile), &overrides).map_err(words)?;
        let source = config.sources.get(self.table.schema()).ok_or("the table's source is not configured")?;
        let table = source.tables.get(&self.table).ok_or("the table is not configured")?;
        let kind = KINDS.iter().find(|kind| kind.name == source.kind).ok_or("the source's kind is unknown")?;
        let spec: Box<dyn Spec> = (kind.read)(source.options.clone()).map_err(words)?;
        let connect = Connect {
            folder: config.folder.clone(),
            secrets: Arc::new(Environment),
            key: Some(PrivacyKey::new(b"bench")),
            pace: pipeline_core::pace::Pace::default(),
            work: std::env::temp_dir(),
        };
        let source = spec.connect(&connect).await.map_err(words)?;
        let extractor = Arc::from(source.table(table.contract.clone(), table.options.clone()).map_err(words)?);
        let rows = land(extractor, folder, self.slices).await.map_err(words)?;
        println!("{} rows", grouped(rows));
        Ok(())
    }
}

/// Plans, reads the slices side by side, and finishes the snapshot, as the engine does.
async fn land(extractor: Arc<dyn pipeline_core::extract::Extractor>, folder: &Path, slices: usize) -> pipeline_core::error::Result<u64> {
    let wrong = |what: &str| pipeline_core::error::Error::new(&BUG, what);
    let prefix = object_store::path::Path::from_absolute_path(folder).map_err(|_| wrong("the folder's path is no path of a store"))?;
    let landing = Landing::new(Arc::new(LocalFileSystem::new()), prefix, "file:///bench");
    let contract = extractor.contract().clone();
    let settings = WriterSettings { row_group_memory_bytes_max: 16 << 20, ..WriterSettings::default() };
    let writer = SnapshotWriter::new(&landing, "bench", contract.schema(), settings);
    let quarantine = Quarantine::new();
    let budget = ByteBudget::new(BUDGET_BYTES);
    let request = Request { window: None, rejected: None, cut: None, lookback_us: 0, slices_wanted: slices };
    let plan = extractor.plan(&request, None).await?;
    let mut working = JoinSet::new();
    let mut waiting = plan.slices.into_iter();
    loop {
        while working.len() < slices {
            let Some(slice) = waiting.next() else { break };
            let (extractor, quarantine, budget) = (Arc::clone(&extractor), quarantine.clone(), budget.clone());
            let mut part = writer.part_writer(slice.index);
            working.spawn(async move {
                let mut stream = extractor.read(&slice, &quarantine).await?.buffered(&budget);
                while let Some(batch) = stream.next().await {
                    part.write(&batch?).await?;
                }
                part.finish().await
            });
        }
        match working.join_next().await {
            None => break,
            Some(result) => drop(result.map_err(|_| wrong("a slice stopped without a word"))??),
        }
    }
    extractor.finish().await?;
    let manifest = Manifest::new("bench", "extract", contract, false);
    let snapshot = writer.finish(manifest, &quarantine.drain(), plan.checkpoint).await?;
    Ok(snapshot.manifest().rows)
}

/// Secrets from the environment only.
#[derive(Debug)]
struct Environment;

#[async_trait::async_trait]
impl SecretSource for Environment {
    #[expect(clippy::disallowed_methods, reason = "a measurement is told its servers by the environment")]
    async fn fetch(&self, secret: &Secret) -> pipeline_core::error::Result<String> {
        let missing = || pipeline_core::error::Error::new(&pipeline_core::config::SECRET, format!("secret \"{secret}\" is not set"));
        match secret {
            Secret::Environment(name) => std::env::var(name).map_err(|_| missing()),
            Secret::File(_) | Secret::SecretsManager { .. } => Err(missing()),
        }
    }
}

fn words(error: pipeline_core::error::Error) -> Box<dyn Error> {
    let causes: String = error.causes().iter().map(|cause| format!(": {cause}")).collect();
    format!("{}{causes}", error.message()).into()
}

fn row(name: &str, taken: &[Taken]) -> Vec<String> {
    let range = |of: fn(&Taken) -> f64, digits: usize| {
        let values = taken.iter().map(of);
        let (least, most) = values.fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        format!("{least:.digits$}–{most:.digits$}")
    };
    vec![name.to_owned(), range(|taken| taken.wall_seconds, 1), range(|taken| taken.cpu_seconds, 1), range(|taken| taken.peak_memory_mb, 0)]
}
