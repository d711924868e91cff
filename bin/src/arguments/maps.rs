//! What is typed to look at coverage.

use clap::{Args, Subcommand, ValueEnum};

/// `pipeline map`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MapArguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The file; its ending says the form: .html, .geojson, .parquet.
    #[arg(short = 'o', long = "out", value_name = "FILE", env = "PIPELINE_OUT", hide_env = true)]
    pub(crate) out: std::path::PathBuf,
    /// The form, whatever the file's ending.
    #[arg(long, value_name = "FORM", env = "PIPELINE_FORMAT", hide_env = true)]
    pub(crate) format: Option<MapFormat>,
    /// Business dates, both included; the latest 90 days if not given.
    #[arg(long, value_name = "FIRST..LAST", env = "PIPELINE_DAYS", hide_env = true)]
    pub(crate) days: Option<String>,
    /// What to compare with: coverage as a run left it, or other days, both included.
    #[arg(long, value_name = "RUN|FIRST..LAST", env = "PIPELINE_COMPARE_TO", hide_env = true)]
    pub(crate) compare_to: Option<String>,
    /// Only these H3 resolutions.
    #[arg(long, value_name = "N", value_delimiter = ',', env = "PIPELINE_RESOLUTION", hide_env = true)]
    pub(crate) resolution: Vec<i64>,
    /// What GeoJSON and GeoParquet hold.
    #[arg(long, value_name = "WHAT", default_value = "cells", env = "PIPELINE_LAYER", hide_env = true)]
    pub(crate) layer: crate::map::features::Kind,
    /// How the page writes numbers and dates, such as pl-PL; as the browser does if not given.
    #[arg(long, value_name = "LOCALE", env = "PIPELINE_LOCALE", hide_env = true)]
    pub(crate) locale: Option<String>,
    /// The page's size at most; days are put together before it becomes larger.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1000), env = "PIPELINE_MAX_SIZE", hide_env = true)]
    pub(crate) max_size: u64,
}

/// Forms of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapFormat {
    /// A page that needs nothing else.
    Html,
    /// GeoJSON (RFC 7946).
    Geojson,
    /// GeoParquet 1.1.
    Geoparquet,
}

/// `pipeline coverage`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CoverageArguments {
    /// What of it.
    #[command(subcommand)]
    pub(crate) command: CoverageCommand,
}

/// What to do with coverage.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CoverageCommand {
    /// Tries a new store, or does without one, by the demand of the last 28 days
    Simulate(SimulateArguments),
}

/// `pipeline coverage simulate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SimulateArguments {
    /// Where a store would be opened.
    #[arg(
        long,
        value_name = "LAT,LNG",
        allow_hyphen_values = true,
        requires = "radius",
        conflicts_with = "close",
        required_unless_present = "close"
    )]
    pub(crate) add: Option<String>,
    /// How far it would deliver.
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, requires = "add")]
    pub(crate) radius: Option<f64>,
    /// The store that would close.
    #[arg(long, value_name = "STORE")]
    pub(crate) close: Option<i64>,
    /// "Now": the days before it are counted.
    #[arg(long, value_name = "T", env = "PIPELINE_AS_OF", hide_env = true)]
    pub(crate) as_of: Option<String>,
}
