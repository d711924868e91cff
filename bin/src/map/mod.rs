//! Coverage maps: what the lake's marts say of cells, stores and gaps, as a page to look at and as files for other programs.
//!
//! `read` asks the marts and gives an [`atlas`]; `page` writes it as one HTML file, `features` turns it into areas and points
//! for `geojson` and `geoparquet`. `simulate` answers what a store more or less would change.

pub(crate) mod anonymity;
pub(crate) mod atlas;
pub(crate) mod features;
pub(crate) mod geojson;
pub(crate) mod geoparquet;
mod outline;
pub(crate) mod page;
pub(crate) mod read;
pub(crate) mod simulate;
pub(crate) mod statement;

use pipeline_core::error::{Code, ErrorKind};

/// The codes of this folder.
pub(crate) const CODES: &[&Code] = &[&MAP_EMPTY, &MAP_SIZE, &MAP_FILE, &MAP_RUN, &SIMULATION];

/// There is nothing to draw.
pub(crate) static MAP_EMPTY: Code = Code {
    name: "E-MAP-EMPTY",
    kind: ErrorKind::Usage,
    meaning: "The lake has no coverage to show: a mart that is needed was not made yet, or has no rows for the days that were asked for.",
    remedy: "Run `pipeline run nightly` first, or choose days that have orders.",
};

/// The page would be too large.
pub(crate) static MAP_SIZE: Code = Code {
    name: "E-MAP-SIZE",
    kind: ErrorKind::Usage,
    meaning: "The page of a map would be larger than allowed, even with four weeks put together.",
    remedy: "Choose fewer days with --days or fewer resolutions with --resolution, or allow more with --max-size.",
};

/// A file cannot be written.
pub(crate) static MAP_FILE: Code = Code {
    name: "E-MAP-FILE",
    kind: ErrorKind::Usage,
    meaning: "The file of a map could not be written, or the ending of its name says no form.",
    remedy: "Name a file that ends in .html, .geojson or .parquet in a folder that is there and may be written, or choose the form with --format.",
};

/// A run's version of a mart is gone.
pub(crate) static MAP_RUN: Code = Code {
    name: "E-MAP-RUN",
    kind: ErrorKind::Usage,
    meaning: "The lake does not have coverage as that run left it: the run was before the first one that made it, or its part of the log was cleaned up.",
    remedy: "Choose a later run, as `pipeline history nightly` lists them, or compare days: --compare-to 2025-09-01..2025-09-30.",
};

/// A simulation makes no sense.
pub(crate) static SIMULATION: Code = Code {
    name: "E-SIMULATION",
    kind: ErrorKind::Usage,
    meaning: "What is to be simulated is no place on earth, no radius, or no store that is open.",
    remedy: "Write --add LATITUDE,LONGITUDE --radius METRES, or --close STORE with the number of an open store.",
};
