//! The loader itself: what is asked, in which order, and what is done when it goes wrong.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::failpoint;
use pipeline_core::landing::Snapshot;
use pipeline_core::late::LateRows;
use pipeline_core::load::{Change, FENCED, Layout, Load, LoadId, Loader, Marker, Mode, Receipt, Staged};
use pipeline_core::name::TableName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::api::{BATCH_STATEMENTS_MAX, DataApi, Ended, Failed};
use super::catalog::{self, META_SCHEMA, Plan, meta_relation};
use super::distinct::distinct;
use super::errors::{Failure, Where};
use super::options::RedshiftOptions;
use super::sql::{Purpose, Relation, Statement};
use super::{copy, preflight, script};
use crate::s3::{BucketPath, delete, delete_below, put_new, s3_client, sdk_config};

/// What `plan` shows where the manifest's URL will stand.
const MANIFEST_TO_COME: &str = "s3://(landing)/(run)/copy.manifest";

/// A Redshift warehouse.
#[derive(Debug)]
pub struct Redshift {
    pub(super) options: RedshiftOptions,
    pub(super) api: DataApi,
    pub(super) s3: aws_sdk_s3::Client,
    // Definitions of two tables could both make the schema; they go one after the other.
    defining: Mutex<()>,
    // Loads wait for each other at LOCK anyway; here they wait without holding a connection of the warehouse.
    publishing: Mutex<()>,
}

/// What publishing needs beyond the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Detail {
    /// The COPY manifest; None when the snapshot has no rows.
    manifest_url: Option<String>,
    /// The folder in S3 of parts that were written anew for this load.
    scratch_url: Option<String>,
}

/// What the marker row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MarkerRow {
    marker: Marker,
    written: u64,
    deleted: u64,
    unchanged: u64,
}

/// What a failed transaction leads to.
enum Next {
    Again,
    Done(Receipt),
}

impl Redshift {
    /// Makes clients for a warehouse. Opens no connection.
    pub async fn connect(options: RedshiftOptions) -> Self {
        let config = sdk_config(&options.aws).await;
        let mut data = aws_sdk_redshiftdata::config::Builder::from(&config);
        // The shared configuration's endpoint is S3's.
        data.set_endpoint_url(options.endpoint_url.clone());
        let api = DataApi::new(aws_sdk_redshiftdata::Client::from_conf(data.build()), &options);
        let s3 = s3_client(&config);
        Self { options, api, s3, defining: Mutex::default(), publishing: Mutex::default() }
    }

    fn relation(&self, table: &TableName) -> Result<Relation> {
        Relation::new(self.options.schema_of(table), table.table())
    }

    /// Runs statements that must succeed.
    pub(super) async fn demand(&self, table: Option<&TableName>, statements: &[Statement], tag: &str) -> Result<Ended> {
        let mut tried = 0;
        loop {
            tried += 1;
            let attempt = Uuid::now_v7().to_string();
            let ended = self.api.run(table, statements, tag, &attempt).await?;
            let Some(failed) = ended.failed.clone() else { return Ok(ended) };
            if failed.failure == Failure::Contended && tried < self.options.limits.attempts_max {
                self.api.pause(tag, tried).await;
                continue;
            }
            return Err(self.explained(table, &ended, failed).await);
        }
    }

    /// Runs a query.
    pub(super) async fn query(&self, table: Option<&TableName>, statement: Statement, tag: &str) -> Result<Vec<Vec<Option<String>>>> {
        let ended = self.demand(table, &[statement], tag).await?;
        self.api.rows(&ended.id).await
    }

    /// The error for a failure, with what the warehouse's table of load errors knows of it: the Data API's text is cut short.
    async fn explained(&self, table: Option<&TableName>, ended: &Ended, failed: Failed) -> Error {
        let Failed { purpose, query, mut failure, .. } = failed;
        if let (Purpose::Copy, Some(query)) = (purpose, query)
            && let Some((file, column, text)) = self.load_error(query).await
        {
            // The full text tells more than the cut one, if it can be read at all.
            let full = super::errors::read(&text);
            let full = if matches!(full, Failure::Other { .. }) { failure } else { full };
            failure = full.with_detail(file, column);
        }
        failure.into_error(Where { table, purpose, statement: &ended.id })
    }

    async fn load_error(&self, query: i64) -> Option<(Option<String>, Option<String>, String)> {
        let text = format!(
            "SELECT TRIM(file_name), TRIM(column_name), TRIM(error_message) FROM sys_load_error_detail WHERE query_id = {query} ORDER BY start_time LIMIT 1"
        );
        let ended = self.api.run(None, &[Statement::new(Purpose::Read, text)], "load_error", &Uuid::now_v7().to_string()).await.ok()?;
        if ended.failed.is_some() {
            return None;
        }
        let rows = self.api.rows(&ended.id).await.ok()?;
        match rows.into_iter().next()?.as_slice() {
            [file, column, message] => {
                let name = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
                let file = name(file).map(|file| file.rsplit('/').next().unwrap_or_default().to_owned());
                Some((file, name(column), message.clone().unwrap_or_default()))
            }
            _ => None,
        }
    }

    async fn marker_row(&self, pipeline: &str, table: &TableName) -> Result<Option<MarkerRow>> {
        let target = self.relation(table)?;
        let statement = script::read_marker(pipeline, &target)?;
        let ended = self.api.run(Some(table), &[statement], "marker", &Uuid::now_v7().to_string()).await?;
        match ended.failed.clone() {
            None => {}
            Some(Failed { failure: Failure::Missing { .. }, .. }) => return Ok(None),
            Some(failed) => return Err(self.explained(Some(table), &ended, failed).await),
        }
        match self.api.rows(&ended.id).await?.first() {
            None => Ok(None),
            Some(row) => MarkerRow::read(row).map(Some),
        }
    }

    /// What is there and what must be done.
    async fn plan(&self, contract: &Contract, layout: &Layout) -> Result<Plan> {
        let target = self.relation(&contract.table)?;
        let meta = meta_relation();
        let rows = self.query(Some(&contract.table), catalog::read_columns(&[&target, &meta])?, "columns").await?;
        let stored = catalog::stored_columns(&rows, &target);
        let meta_exists = catalog::stored_columns(&rows, &meta).is_some();
        let mut plan = Plan::default();
        let mut wanted = Vec::new();
        if !meta_exists {
            wanted.push(META_SCHEMA);
        }
        if stored.is_none() {
            wanted.push(target.schema());
        }
        if !wanted.is_empty() {
            let found = self.query(None, catalog::read_schemas(&wanted)?, "schemas").await?;
            let exists = |schema: &str| found.iter().any(|row| row.first().and_then(Option::as_deref) == Some(schema));
            for schema in wanted.into_iter().filter(|schema| !exists(schema)) {
                plan.create_schema(schema)?;
            }
        }
        if !meta_exists {
            plan.create_meta();
        }
        catalog::compare(&mut plan, contract, layout, &target, stored.as_deref(), meta_exists)?;
        Ok(plan)
    }

    /// Decides what a failed transaction means. The guard's text tells nothing: the marker does.
    async fn after_failure(&self, load: &Load, ended: &Ended, failed: Failed, may_try_again: bool) -> Result<Next> {
        if failed.failure == Failure::Contended && may_try_again {
            return Ok(Next::Again);
        }
        if failed.purpose != Purpose::Guard {
            return Err(self.explained(Some(&load.id.table), ended, failed).await);
        }
        let stored = self.marker_row(&load.id.pipeline, &load.id.table).await?;
        if let Some(receipt) = settled(load, stored.as_ref())? {
            return Ok(Next::Done(receipt));
        }
        check_base(load, stored.as_ref())?;
        // The guard failed, but the marker is as it should be: it failed for a reason of its own.
        if may_try_again { Ok(Next::Again) } else { Err(self.explained(Some(&load.id.table), ended, failed).await) }
    }

    async fn transact(&self, load: &Load, statements: &[Statement]) -> Result<Receipt> {
        let tag = load.id.to_string();
        let mut tried = 0;
        loop {
            tried += 1;
            failpoint::reached("redshift.before_publish");
            let ended = self.api.run(Some(&load.id.table), statements, &tag, &Uuid::now_v7().to_string()).await?;
            failpoint::reached("redshift.after_publish");
            let Some(failed) = ended.failed.clone() else {
                let rows = self.api.rows(&format!("{}:{}", ended.id, statements.len())).await?;
                let row = rows.first().ok_or_else(|| Error::new(&BUG, format!("load {} left no marker", load.id)))?;
                let row = MarkerRow::read(row)?;
                let duration_ms = u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX);
                let detail = json!({"statement_id": ended.id, "duration_ms": duration_ms, "tries": tried});
                return Ok(row.receipt(&load.id, false, detail));
            };
            match self.after_failure(load, &ended, failed, tried < self.options.limits.attempts_max).await? {
                Next::Done(receipt) => return Ok(receipt),
                Next::Again => self.api.pause(&tag, tried).await,
            }
        }
    }
}

impl MarkerRow {
    fn read(row: &[Option<String>]) -> Result<Self> {
        let wrong = || Error::new(&BUG, "a marker row of the warehouse cannot be read");
        let [Some(revision), Some(digest), Some(written), Some(deleted), Some(unchanged)] = row else { return Err(wrong()) };
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        Ok(Self {
            marker: Marker { revision: revision.trim().parse().map_err(|_| wrong())?, digest: digest.trim().to_owned() },
            written: number(written)?,
            deleted: number(deleted)?,
            unchanged: number(unchanged)?,
        })
    }

    fn receipt(&self, id: &LoadId, was_there: bool, detail: serde_json::Value) -> Receipt {
        Receipt {
            id: id.clone(),
            rows_written: self.written,
            rows_deleted: self.deleted,
            rows_unchanged: self.unchanged,
            late: LateRows::default(),
            was_there,
            detail,
        }
    }
}

/// The receipt, if this load is committed already.
///
/// # Errors
/// [`FENCED`] if a newer one is, or another one of the same revision.
fn settled(load: &Load, stored: Option<&MarkerRow>) -> Result<Option<Receipt>> {
    let Some(row) = stored else { return Ok(None) };
    if row.marker.revision < load.id.revision {
        return Ok(None);
    }
    if row.marker.revision == load.id.revision && row.marker.digest == load.id.digest {
        return Ok(Some(row.receipt(&load.id, true, serde_json::Value::Null)));
    }
    let what = format!("table \"{}\" in the warehouse stands at revision {}", load.id.table, row.marker.revision);
    Err(Error::new(&FENCED, what).caused_by(format!("this load has revision {} and other content", load.id.revision)))
}

/// Changes are valid only on top of the revision they were computed from.
fn check_base(load: &Load, stored: Option<&MarkerRow>) -> Result<()> {
    let at = stored.map(|row| row.marker.revision);
    if load.mode != Mode::Changes || at == load.base {
        return Ok(());
    }
    let words = |revision: Option<i64>| revision.map_or_else(|| "never loaded".to_owned(), |revision| format!("revision {revision}"));
    let what = format!("changes of table \"{}\" do not fit what the warehouse holds", load.id.table);
    Err(Error::new(&FENCED, what)
        .caused_by(format!("the warehouse's table: {}; the changes were computed from: {}", words(at), words(load.base)))
        .hint("Run again: the table is then compared anew and brought over whole."))
}

#[async_trait]
impl Loader for Redshift {
    fn name(&self) -> &str {
        &self.options.name
    }

    async fn marker(&self, pipeline: &str, table: &TableName) -> Result<Option<Marker>> {
        Ok(self.marker_row(pipeline, table).await?.map(|row| row.marker))
    }

    async fn compare(&self, contract: &Contract, layout: &Layout) -> Result<Vec<Change>> {
        Ok(self.plan(contract, layout).await?.changes)
    }

    async fn prepare(&self, contract: &Contract, layout: &Layout) -> Result<Vec<Change>> {
        let plan = self.plan(contract, layout).await?;
        if plan.together.is_empty() && plan.whole.is_empty() && plan.alone.is_empty() {
            return Ok(plan.changes);
        }
        let _one_at_a_time = self.defining.lock().await;
        // While this one waited, another may have made the schemas.
        let plan = self.plan(contract, layout).await?;
        for batch in plan.together.chunks(BATCH_STATEMENTS_MAX) {
            self.demand(Some(&contract.table), batch, "prepare").await?;
        }
        for batch in &plan.whole {
            self.demand(Some(&contract.table), batch, "prepare").await?;
        }
        for statement in &plan.alone {
            self.demand(Some(&contract.table), std::slice::from_ref(statement), "prepare").await?;
        }
        for change in &plan.changes {
            tracing::info!(table = %contract.table, change = %change.what, "the warehouse was changed");
        }
        Ok(plan.changes)
    }

    async fn stage(&self, load: &Load, snapshot: &Snapshot) -> Result<Staged> {
        // Refused before anything is read or written.
        script::transaction(load, &self.relation(&load.id.table)?, Some(MANIFEST_TO_COME), &self.options.role)?;
        let landing = snapshot.landing();
        let folder = copy::folder_of(snapshot);
        copy::place(landing, folder)?;
        preflight::check(load, snapshot, &self.options.limits).await?;
        let mut detail = Detail { manifest_url: None, scratch_url: None };
        if snapshot.manifest().rows > 0 {
            let scratch = copy::scratch_folder(snapshot, &self.options.name, &Uuid::now_v7().simple().to_string());
            let distinct = match load.mode {
                Mode::Merge => Box::pin(distinct(&load.contract, snapshot, scratch)).await?,
                Mode::Replace | Mode::Append | Mode::Changes => None,
            };
            let (folder, parts) = match &distinct {
                Some(distinct) => (distinct.folder.as_str(), &distinct.parts),
                None => (folder, &snapshot.manifest().parts),
            };
            let place = copy::place(landing, &copy::manifest_key(folder, &self.options.name))?;
            put_new(&self.s3, &place, &copy::manifest(landing, parts)?, "application/json").await?;
            detail.manifest_url = Some(place.url());
            if let Some(distinct) = &distinct {
                detail.scratch_url = Some(copy::place(landing, &distinct.folder)?.url());
            }
        }
        let detail = serde_json::to_value(detail).expect("two texts are always JSON");
        Ok(Staged { load: load.clone(), snapshot: snapshot.manifest_key().to_owned(), detail })
    }

    async fn publish(&self, staged: &Staged) -> Result<Receipt> {
        let load = &staged.load;
        let detail = read_detail(staged)?;
        let target = self.relation(&load.id.table)?;
        let statements = script::transaction(load, &target, detail.manifest_url.as_deref(), &self.options.role)?;
        let _one_at_a_time = self.publishing.lock().await;
        let stored = self.marker_row(&load.id.pipeline, &load.id.table).await?;
        if let Some(receipt) = settled(load, stored.as_ref())? {
            return Ok(receipt);
        }
        check_base(load, stored.as_ref())?;
        Box::pin(self.transact(load, &statements)).await
    }

    async fn discard(&self, staged: &Staged) -> Result<()> {
        let detail = read_detail(staged)?;
        if let Some(url) = detail.manifest_url {
            delete(&self.s3, &BucketPath::parse(&url)?).await?;
        }
        match detail.scratch_url {
            Some(url) => delete_below(&self.s3, &BucketPath::parse(&url)?).await,
            None => Ok(()),
        }
    }

    fn describe(&self, load: &Load) -> Vec<String> {
        let described =
            self.relation(&load.id.table).and_then(|target| script::transaction(load, &target, Some(MANIFEST_TO_COME), &self.options.role));
        match described {
            Ok(statements) => statements.into_iter().map(|statement| statement.text).collect(),
            Err(error) => vec![format!("-- {}", error.message())],
        }
    }
}

fn read_detail(staged: &Staged) -> Result<Detail> {
    serde_json::from_value(staged.detail.clone())
        .map_err(|_| Error::new(&BUG, format!("load {} was not staged for Redshift", staged.load.id)))
}

/// A loader is shared between tasks.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Redshift>>();
};
