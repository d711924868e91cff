//! COPY and its manifest.

use pipeline_core::error::{Error, Result};
use pipeline_core::landing::{Landing, Part, Snapshot};
use serde_json::json;

use super::options::Role;
use super::sql::{Ident, Literal, Purpose, Relation, Statement, list};
use crate::s3::BucketPath;

/// The place in S3 of a key relative to the landing.
///
/// # Errors
/// [`super::LANDING_NOT_S3`].
pub(super) fn place(landing: &Landing, key: &str) -> Result<BucketPath> {
    let root = BucketPath::parse(landing.url()).map_err(|_| {
        let scheme = landing.url().split(':').next().unwrap_or_default();
        Error::new(&super::LANDING_NOT_S3, format!("the landing is a \"{scheme}\" place, which Redshift cannot read"))
    })?;
    Ok(root.with_key(landing.path(key).as_ref()))
}

/// The key of the COPY manifest: beside the parts, one for each destination. Its content follows from the parts, so staging again
/// finds the same object.
pub(super) fn manifest_key(folder: &str, destination: &str) -> String {
    format!("{folder}/copy-{}.manifest", in_key(destination))
}

/// A folder within a snapshot's own, for parts written anew for one destination. `attempt` makes it unique.
pub(super) fn scratch_folder(snapshot: &Snapshot, destination: &str, attempt: &str) -> String {
    format!("{}/copy-{}-{attempt}", folder_of(snapshot), in_key(destination))
}

/// The folder of a snapshot, relative to the landing.
pub(super) fn folder_of(snapshot: &Snapshot) -> &str {
    snapshot.manifest_key().rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn in_key(destination: &str) -> String {
    destination.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect()
}

/// The manifest's text. Every part is mandatory: a missing one would otherwise be skipped without a word.
pub(super) fn manifest(landing: &Landing, parts: &[Part]) -> Result<Vec<u8>> {
    let mut entries = Vec::with_capacity(parts.len());
    for part in parts.iter().filter(|part| part.rows > 0) {
        let url = place(landing, &part.key)?.url();
        entries.push(json!({"url": url, "mandatory": true, "meta": {"content_length": part.bytes}}));
    }
    Ok(serde_json::to_vec_pretty(&json!({ "entries": entries })).expect("a manifest is always JSON"))
}

/// The statement. The column list is the file's order, because COPY matches by position. No REGION, no MAXERROR, no COMPUPDATE:
/// COPY refuses them with Parquet.
pub(super) fn statement(table: &Relation, columns: &[Ident], manifest_url: &str, role: &Role) -> Result<Statement> {
    let role = match role {
        Role::Default => "default".to_owned(),
        Role::Arn(arn) => Literal::new(arn)?.to_string(),
    };
    let text = format!("COPY {table} ({}) FROM {} IAM_ROLE {role} FORMAT AS PARQUET MANIFEST", list(columns), Literal::new(manifest_url)?);
    Ok(Statement::new(Purpose::Copy, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_names_its_columns_and_takes_no_option_that_parquet_refuses() {
        let table = Relation::temporary("pipeline_stage").unwrap();
        let columns = [Ident::new("id").unwrap(), Ident::new("user").unwrap()];
        let statement_of = |role: &Role| statement(&table, &columns, "s3://lake/run/copy.manifest", role).unwrap().text;
        assert_eq!(
            statement_of(&Role::Default),
            "COPY \"pipeline_stage\" (\"id\", \"user\") FROM 's3://lake/run/copy.manifest' IAM_ROLE default FORMAT AS PARQUET MANIFEST"
        );
        assert!(
            statement_of(&Role::Arn("arn:aws:iam::123456789012:role/copy".to_owned()))
                .contains(" IAM_ROLE 'arn:aws:iam::123456789012:role/copy' ")
        );
    }
}
