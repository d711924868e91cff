//! Redshift's SQL: read, refused where Redshift refuses, and put in PostgreSQL's words.

mod alter;
mod attributes;
pub(crate) mod cursor;
pub(crate) mod data_type;
pub(crate) mod error;
mod merge;
pub(crate) mod name;
mod object;
pub(crate) mod plan;
mod refuse;
pub(crate) mod rewrite;
mod setting;
mod table;
pub(crate) mod token;
pub(crate) mod view;
