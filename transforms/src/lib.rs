//! Models: `DataFusion` SQL over the lake, its functions, contracts, data tests, and what changed.
//!
//! A model is a statement and a contract beside it. A [`model::ModelSet`] reads a folder of them and puts them in order; an
//! [`session::Engine`] bounds memory; a [`session::Session`] runs statements as of an instant; [`lake::LakeModels`] is all of it
//! as the run loop wants it. Tables come in by [`session::Tables`], so nothing here knows how a lake stores them.
//!
//! ```
//! # use std::{collections::BTreeMap, sync::Arc};
//! # use futures::TryStreamExt;
//! use pipeline_transforms::session::{Engine, Options};
//!
//! # fn main() -> pipeline_core::error::Result<()> {
//! let engine = Engine::new(Options {
//!     memory_limit_bytes: 64 << 20,
//!     spill_directory: std::env::temp_dir().join("pipeline-example"),
//!     target_partitions: 2,
//!     parameters: BTreeMap::from([("business_day_starts_at".to_owned(), "04:00".to_owned())]),
//!     key: None,
//! })?;
//! let session = engine.session("2025-11-04T06:00:00Z".parse()?, None);
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
//! # runtime.block_on(async {
//! // The night in which summer time ends is an hour longer, and still belongs to the evening before.
//! let night = "business_date(arrow_cast('2025-10-26T02:30:00Z', 'Timestamp(µs, \"UTC\")'), 'Europe/Warsaw', '04:00')";
//! let rows: Vec<_> = session.query(&format!("SELECT {night} AS business_date")).await?.try_collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! # std::fs::remove_dir_all(std::env::temp_dir().join("pipeline-example")).expect("the example's folder is there");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! `bin` makes [`lake::LakeModels`] from a [`model::ModelSet`], an [`session::Engine`] and its lake's [`session::Tables`], and hands it to the
//! run loop, which asks [`pipeline_core::model::Models::check`] before anything is read, and then calls
//! [`pipeline_core::model::Models::compute`] for each model.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

#[cfg(feature = "cluster")]
pub mod cluster;
mod compact;
pub mod compute;
pub mod errors;
pub mod functions;
pub mod lake;
pub mod lineage;
pub mod model;
mod pool;
pub mod session;
pub mod stored;
pub mod why;
