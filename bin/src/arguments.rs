//! What a user types. Types only: nothing here reads a file or decides anything.

use clap::builder::styling::{AnsiColor, Effects, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use cluster::ClusterArguments;
#[cfg(feature = "cluster")]
pub(crate) use cluster::{ClusterCommand, ExecutorArguments, SchedulerArguments};
pub(crate) use maps::{CoverageArguments, CoverageCommand, MapArguments, MapFormat, SimulateArguments};

mod cluster;
mod maps;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Exit codes:
  0  done                          5   another run holds the lease
  2  usage or configuration        6   data: contract, data test, too many rejected rows
  3  denied                        70  a bug of ours
  4  unavailable, try again        130 interrupted

Start here:
  pipeline run nightly                      the demonstration data, no server needed
  pipeline query \"SELECT * FROM coverage_stores LIMIT 10\"
  pipeline plan nightly                     what the next run would do";

/// Order history, payments and deliveries in one place, and made useful.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, styles = STYLES, after_help = AFTER_HELP, propagate_version = false, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The configuration; searched upward from here if not given.
    #[arg(long, global = true, value_name = "FILE", env = "PIPELINE_CONFIG", hide_env = true)]
    pub(crate) config: Option<std::path::PathBuf>,
    /// The profile laid over it: local, live, ….
    #[arg(long, global = true, value_name = "NAME", env = "PIPELINE_PROFILE", hide_env = true)]
    pub(crate) profile: Option<String>,
    /// A value of the configuration, for this call only; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", env = "PIPELINE_SET", hide_env = true, value_delimiter = ';')]
    pub(crate) set: Vec<String>,
    /// How data is printed on standard output.
    #[arg(long, global = true, value_name = "FORM", default_value = "human", env = "PIPELINE_OUTPUT", hide_env = true)]
    pub(crate) output: OutputForm,
    /// How progress is shown on standard error.
    #[arg(long, global = true, value_name = "FORM", default_value = "auto", env = "PIPELINE_PROGRESS", hide_env = true)]
    pub(crate) progress: ProgressForm,
    /// Colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "PIPELINE_COLOR", hide_env = true)]
    pub(crate) color: ColorWhen,
    /// Only errors.
    #[arg(short, long, global = true, env = "PIPELINE_QUIET", hide_env = true)]
    pub(crate) quiet: bool,
    /// More of what happens; twice for all of it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Never ask.
    #[arg(long, global = true, env = "PIPELINE_NO_INPUT", hide_env = true)]
    pub(crate) no_input: bool,
}

/// Forms of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// Tables for people.
    Human,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// Forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressForm {
    /// Bars in a terminal, lines elsewhere.
    Auto,
    /// Bars.
    Bar,
    /// A line for each step.
    Log,
    /// A JSON object for each event.
    Json,
    /// Nothing.
    None,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// In a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reads, makes and loads what changed since the last run
    Run(RunArguments),
    /// Does a range of days window by window; a second call does only what is missing
    Backfill(BackfillArguments),
    /// Shows what a run would read, make and load, and changes nothing
    Plan(PlanArguments),
    /// Shows the runs, or the steps of one run
    Status(StatusArguments),
    /// Shows the runs of a pipeline
    History(HistoryArguments),
    /// Tries everything a run needs, and says how to mend what fails
    Doctor(DoctorArguments),
    /// Asks the lake in SQL
    Query(QueryArguments),
    /// Asks the data tests of the models, of the lake as it stands
    Test(TestArguments),
    /// Shows the rows behind a row of a mart, down to the sources
    Why(WhyArguments),
    /// Shows the rows that did not fit, by cause or one by one
    Quarantine(QuarantineArguments),
    /// Shows who is in a segment and why, what a rule would give, and who came and went
    Segment(SegmentArguments),
    /// Writes a configuration from what live databases hold
    Init(InitArguments),
    /// Compares what is declared with what the sources hold
    Schema(SchemaArguments),
    /// Writes coverage as a map to look at, or as GeoJSON or GeoParquet
    Map(MapArguments),
    /// Tries what a store more or less would change
    Coverage(CoverageArguments),
    /// Runs a machine of the cluster that computes models
    Cluster(ClusterArguments),
    /// Shows and checks the configuration
    Config(ConfigArguments),
    /// Makes a realistic data set with its answers
    Demo(DemoArguments),
}

/// Which tables and models.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectArguments {
    /// Only tables and models that match; `+x` adds what x reads, `x+` what reads x.
    #[arg(long, value_name = "GLOB", env = "PIPELINE_ONLY", hide_env = true, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// All but these.
    #[arg(long, value_name = "GLOB", env = "PIPELINE_SKIP", hide_env = true, value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
}

/// `pipeline run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Only rows that changed at or after this date or instant.
    #[arg(long, value_name = "T", requires = "to", env = "PIPELINE_FROM", hide_env = true)]
    pub(crate) from: Option<String>,
    /// Only rows that changed before this date or instant.
    #[arg(long, value_name = "T", requires = "from", env = "PIPELINE_TO", hide_env = true)]
    pub(crate) to: Option<String>,
    /// "Now" for models, such as segments of birthdays.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
    /// Which tables and models.
    #[command(flatten)]
    pub(crate) select: SelectArguments,
    /// Reads and loads everything anew.
    #[arg(long, env = "PIPELINE_FULL_REFRESH", hide_env = true)]
    pub(crate) full_refresh: bool,
    /// Only shows what would be done, as `plan` does.
    #[arg(long, env = "PIPELINE_DRY_RUN", hide_env = true)]
    pub(crate) dry_run: bool,
    /// Continues a run that was cut off (the default).
    #[arg(long, conflicts_with = "restart")]
    pub(crate) resume: bool,
    /// Leaves a run that was cut off, and begins anew from the checkpoints.
    #[arg(long, env = "PIPELINE_RESTART", hide_env = true)]
    pub(crate) restart: bool,
    /// Waits so long for another run of the pipeline.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, env = "PIPELINE_LOCK_WAIT", hide_env = true)]
    pub(crate) lock_wait: u64,
    /// Fails with exit code 6 if any row is rejected.
    #[arg(long, env = "PIPELINE_STRICT", hide_env = true)]
    pub(crate) strict: bool,
}

/// `pipeline backfill`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackfillArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The first date or instant.
    #[arg(long, value_name = "D", env = "PIPELINE_FROM", hide_env = true)]
    pub(crate) from: String,
    /// The date or instant after the last.
    #[arg(long, value_name = "D", env = "PIPELINE_TO", hide_env = true)]
    pub(crate) to: String,
    /// The length of a window: 1d counts calendar days in the project's time zone, 24h elapsed time.
    #[arg(long, value_name = "LENGTH", default_value = "1d", env = "PIPELINE_WINDOW", hide_env = true)]
    pub(crate) window: String,
    /// Windows at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), env = "PIPELINE_PARALLEL", hide_env = true)]
    pub(crate) parallel: u16,
    /// Begins with the newest window.
    #[arg(long, env = "PIPELINE_NEWEST_FIRST", hide_env = true)]
    pub(crate) newest_first: bool,
    /// Only between these times of day in the project's time zone; outside, no new window begins.
    #[arg(long, value_name = "01:00-05:00", env = "PIPELINE_BETWEEN", hide_env = true)]
    pub(crate) between: Option<String>,
    /// "Now" for models.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
    /// Which tables and models.
    #[command(flatten)]
    pub(crate) select: SelectArguments,
    /// Only lists the windows with what each would touch.
    #[arg(long, env = "PIPELINE_DRY_RUN", hide_env = true)]
    pub(crate) dry_run: bool,
    /// Does only the windows that are missing (the default).
    #[arg(long, conflicts_with = "restart")]
    pub(crate) resume: bool,
    /// Does every window again.
    #[arg(long, env = "PIPELINE_RESTART", hide_env = true)]
    pub(crate) restart: bool,
    /// Waits so long for another run of the pipeline.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, env = "PIPELINE_LOCK_WAIT", hide_env = true)]
    pub(crate) lock_wait: u64,
}

/// `pipeline plan`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Which tables and models.
    #[command(flatten)]
    pub(crate) select: SelectArguments,
    /// Plans to read everything anew.
    #[arg(long, env = "PIPELINE_FULL_REFRESH", hide_env = true)]
    pub(crate) full_refresh: bool,
    /// Shows the statements of every load.
    #[arg(long)]
    pub(crate) sql: bool,
}

/// `pipeline status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArguments {
    /// The run; the first characters of its id are enough. Without it, the latest runs.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// `pipeline history`.
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How many runs.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// `pipeline doctor`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArguments {
    /// The pipeline; without it, everything that is configured.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `pipeline query`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueryArguments {
    /// The statement; `-` reads it from standard input. Models go by their name, tables by source: shop.orders.
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// "Now" for functions that ask.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
}

/// `pipeline test`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Which models.
    #[command(flatten)]
    pub(crate) select: SelectArguments,
    /// "Now" for tests of freshness.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
}

/// `pipeline why`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhyArguments {
    /// The model.
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// The values of its key, in the contract's order.
    #[arg(value_name = "KEY", required = true, allow_negative_numbers = true)]
    pub(crate) key: Vec<String>,
    /// So many rows of each table at the most.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) limit: usize,
    /// "Now" for models; without it, that of the latest run.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
}

/// `pipeline config`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArguments {
    /// What of it.
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints every value and where it came from
    Show,
    /// Finds mistakes in configuration, models and contracts, without connecting anywhere
    Check,
}

/// `pipeline quarantine`.
#[derive(Debug, Clone, Args)]
pub(crate) struct QuarantineArguments {
    /// What of it.
    #[command(subcommand)]
    pub(crate) command: QuarantineCommand,
}

/// What to do with the quarantine.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Lists tables and causes, with how many rows and how to mend them
    List,
    /// Shows the rows of a table, without what is personal in them
    Show {
        /// The table.
        #[arg(value_name = "TABLE")]
        table: String,
        /// So many rows at the most.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Reads a table's rejected rows again; those that fit now come into the lake, once
    Replay {
        /// The table.
        #[arg(value_name = "TABLE")]
        table: String,
    },
    /// Does without a table's rejected rows, for good
    Drop {
        /// The table.
        #[arg(value_name = "TABLE")]
        table: String,
        /// Only those that did not fit this column.
        #[arg(long, value_name = "COLUMN")]
        column: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// `pipeline segment`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SegmentArguments {
    /// What of it.
    #[command(subcommand)]
    pub(crate) command: SegmentCommand,
}

/// What to do with segments.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SegmentCommand {
    /// Lists segments and rules with members, those held out and what they cost; or who is in one of them
    List {
        /// birthdays, discounts, or a rule.
        #[arg(value_name = "SEGMENT")]
        segment: Option<String>,
        /// So many customers at the most; 20 for people, all for programs, if not given.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Shows whom a rule would give what, as it is configured now, and writes nothing; try it with --set segments.RULE.percent=20
    Preview {
        /// The rule.
        #[arg(value_name = "RULE")]
        rule: String,
        /// So many customers at the most; 20 for people, all for programs, if not given.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// "Now" for the rule.
        #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
        as_of: Option<String>,
    },
    /// Shows which rules a customer fits, which condition fails, and what wins
    Why {
        /// The customer's id.
        #[arg(value_name = "CUSTOMER")]
        customer: String,
        /// "Now" for the rules.
        #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
        as_of: Option<String>,
    },
    /// Shows who came and who went in the latest run
    Diff {
        /// birthdays, discounts, or a rule; all if not given.
        #[arg(value_name = "SEGMENT")]
        segment: Option<String>,
        /// Since the end of this run instead; the first characters of its id are enough.
        #[arg(long, value_name = "RUN")]
        since: Option<String>,
        /// So many customers at the most; 20 for people, all for programs, if not given.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
}

/// `pipeline init`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArguments {
    /// A source and the secret that holds its connection string, such as `shop=env:SHOP_MONGODB_URL`; as often as there are sources
    #[arg(long, value_name = "NAME=SECRET", required = true)]
    pub(crate) source: Vec<String>,
    /// What the project is called
    #[arg(long, value_name = "NAME", default_value = "pipeline")]
    pub(crate) name: String,
    /// Writes over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Prints the configuration and writes nothing
    #[arg(long)]
    pub(crate) print: bool,
}

/// `pipeline schema`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SchemaArguments {
    /// What of it.
    #[command(subcommand)]
    pub(crate) command: SchemaCommand,
}

/// What to do with schemas.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Shows a table's columns, as declared and as found
    Show {
        /// The table.
        #[arg(value_name = "TABLE")]
        table: String,
    },
    /// Lists what differs; ends with exit code 6 if something needs a decision
    Diff {
        /// Only these tables.
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Takes what differs over into the configuration file
    Accept {
        /// The table.
        #[arg(value_name = "TABLE")]
        table: String,
    },
}

/// `pipeline demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArguments {
    /// What to make.
    #[command(subcommand)]
    pub(crate) command: DemoCommand,
}

/// Demonstrations.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DemoCommand {
    /// Writes dumps as mongodump and COPY write them, or fills the live servers; with answers.json
    Generate(GenerateArguments),
}

/// `pipeline demo generate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GenerateArguments {
    /// How many customers.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) customers: u64,
    /// How many stores.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) stores: u32,
    /// How many business days.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) days: u32,
    /// How many orders, about; follows from customers and days if not given.
    #[arg(long, value_name = "N")]
    pub(crate) orders: Option<u64>,
    /// The last business day.
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<chrono::NaiveDate>,
    /// The same seed makes the same bytes.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(crate) seed: u64,
    /// A folder for dumps, or `live` for the servers of the profile.
    #[arg(long, value_name = "DIR|live")]
    pub(crate) to: String,
    /// Compresses dumps with gzip.
    #[arg(long)]
    pub(crate) compress: bool,
    /// The state a day later, in which this share of orders has changed: 1 for one percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) change_percent: f64,
    /// Replaces what stands in the live servers.
    #[arg(long)]
    pub(crate) replace: bool,
}
