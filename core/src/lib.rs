//! Contracts and engine of `pipeline`.
//!
//! A run reads tables through an [`extract::Extractor`], lands them as immutable snapshots ([`landing`]), loads these through a
//! [`load::Loader`], makes models through [`model::Models`], and loads what changed. The [`ledger`] remembers; [`run`] decides.
//! Nothing here knows a driver, a query engine or a cloud: those are behind the traits.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod batch;
pub mod clock;
pub mod config;
pub mod contract;
pub mod error;
pub mod extract;
pub mod failpoint;
pub mod landing;
pub mod late;
pub mod ledger;
pub mod load;
pub mod model;
pub mod name;
pub mod pace;
pub mod privacy;
pub mod probe;
pub mod quarantine;
pub mod run;
pub mod turns;
pub mod window;
