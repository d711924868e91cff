//! Whether the warehouse allows what a run needs, tried without leaving anything behind.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::name::TableName;
use pipeline_core::probe::Probe;
use serde_json::json;

use super::catalog::META_SCHEMA;
use super::client::Redshift;
use super::copy;
use super::sql::{Ident, Literal, Purpose, Relation, Statement};
use crate::s3::{BucketPath, delete, put_new};

/// The temporary table that the probe's file goes to.
const PROBE_TABLE: &str = "pipeline_probe";

impl Redshift {
    /// Tries to connect, looks for the grants that defining and loading need, and lets COPY read a file of one row below `landing`
    /// (a URL in S3) into a temporary table. What it writes to S3, it removes. `name` makes its objects unique.
    pub async fn probe(&self, landing: &str, name: &str) -> Vec<Probe> {
        let mut probes = Vec::new();
        let connected = self.query(None, Statement::new(Purpose::Probe, "SELECT current_user"), "doctor").await;
        let user = connected.as_ref().ok().and_then(|rows| rows.first()?.first()?.clone()).unwrap_or_default();
        let is_connected = connected.is_ok();
        probes.push(self.outcome("connect", connected.map(|_| format!("as user {user}")), None));
        if !is_connected {
            return probes;
        }
        for schema in [self.options.schema.clone(), META_SCHEMA.to_owned()] {
            probes.push(self.schema_probe(&schema, &user).await);
        }
        let copied = self.copy_probe(landing, name).await.map(|()| "COPY read a file of one row".to_owned());
        probes.push(self.outcome("COPY's role", copied, None));
        probes
    }

    fn outcome(&self, what: &str, result: Result<String>, fix: Option<String>) -> Probe {
        let what = format!("destination {}: {what}", self.options.name);
        match result {
            Ok(detail) => Probe { what, ok: fix.is_none(), detail, fix },
            Err(error) => {
                let causes = error.causes().join(": ");
                let detail = if causes.is_empty() { error.message().to_owned() } else { format!("{}: {causes}", error.message()) };
                Probe { what, ok: false, detail, fix: Some(error.remedy().to_owned()) }
            }
        }
    }

    async fn schema_probe(&self, schema: &str, user: &str) -> Probe {
        let what = format!("create in schema {schema}");
        match self.may_create(schema).await {
            Ok((true, true)) => self.outcome(&what, Ok("allowed".to_owned()), None),
            Ok((true, false)) => {
                let fix = format!("GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{user}\"");
                self.outcome(&what, Ok("not allowed".to_owned()), Some(fix))
            }
            Ok((false, true)) => self.outcome(&what, Ok("the schema will be made".to_owned()), None),
            Ok((false, false)) => {
                let database = &self.options.database;
                let fix = format!(
                    "GRANT CREATE ON DATABASE \"{database}\" TO \"{user}\", or CREATE SCHEMA \"{schema}\" AUTHORIZATION \"{user}\""
                );
                self.outcome(&what, Ok("the schema does not exist and may not be made".to_owned()), Some(fix))
            }
            Err(error) => self.outcome(&what, Err(error), None),
        }
    }

    /// Whether the schema exists, and whether tables (or else the schema) may be made.
    async fn may_create(&self, schema: &str) -> Result<(bool, bool)> {
        let found = self.query(None, super::catalog::read_schemas(&[schema])?, "doctor").await?;
        let exists = !found.is_empty();
        let text = if exists {
            format!("SELECT has_schema_privilege(current_user, {}, 'create')", Literal::new(schema)?)
        } else {
            format!("SELECT has_database_privilege(current_user, {}, 'create')", Literal::new(&self.options.database)?)
        };
        let rows = self.query(None, Statement::new(Purpose::Probe, text), "doctor").await?;
        let allowed = rows.first().and_then(|row| row.first()?.as_deref()).is_some_and(|word| matches!(word, "true" | "t" | "1"));
        Ok((exists, allowed))
    }

    async fn copy_probe(&self, landing: &str, name: &str) -> Result<()> {
        let root = BucketPath::parse(landing).map_err(|_| Error::new(&super::LANDING_NOT_S3, "the landing does not lie in S3"))?;
        let prefix = if root.key.is_empty() { String::new() } else { format!("{}/", root.key) };
        let part = root.with_key(format!("{prefix}.pipeline-probe/{name}.parquet"));
        let manifest = root.with_key(format!("{prefix}.pipeline-probe/{name}.manifest"));
        let file = one_row()?;
        let entries = json!({"entries": [{"url": part.url(), "mandatory": true, "meta": {"content_length": file.len()}}]});
        put_new(&self.s3, &part, &file, "application/octet-stream").await?;
        let copied = match put_new(&self.s3, &manifest, entries.to_string().as_bytes(), "application/json").await {
            Ok(()) => self.copy_one(&manifest.url()).await,
            Err(error) => Err(error),
        };
        let removed = [delete(&self.s3, &manifest).await, delete(&self.s3, &part).await];
        copied?;
        removed.into_iter().collect()
    }

    async fn copy_one(&self, manifest_url: &str) -> Result<()> {
        let table = Relation::temporary(PROBE_TABLE)?;
        let statements = [
            Statement::new(Purpose::Stage, format!("CREATE TEMP TABLE {table} (\"one\" INTEGER)")),
            copy::statement(&table, &[Ident::new("one")?], manifest_url, &self.options.role)?,
        ];
        self.demand(None::<&TableName>, &statements, "doctor").await.map(|_| ())
    }
}

fn one_row() -> Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(vec![Field::new("one", DataType::Int32, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![1]))])?;
    let mut file = Vec::new();
    let wrong = |_| Error::new(&BUG, "a file of one row could not be encoded as Parquet");
    let mut writer = ArrowWriter::try_new(&mut file, schema, None).map_err(wrong)?;
    writer.write(&batch).map_err(wrong)?;
    writer.close().map_err(wrong)?;
    Ok(file)
}
