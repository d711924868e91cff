//! Runs a COPY: finds the files, checks them against the table, and streams their rows into PostgreSQL inside the
//! statement's own transaction. Files are read one after the other; a failure anywhere leaves nothing.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::postgres::{PgConnection, PgCopyIn};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;

use super::command::{CopyCommand, Location, Role};
use super::compatibility::Target;
use super::encode::{HEADER, TRAILER};
use super::failure::{CODE_SCHEMA, LoadFailure};
use super::file::{self, Job};
use super::manifest;
use super::storage::{Found, Storage};
use crate::postgres::errors::translate;
use crate::sql::cursor::Cursor;
use crate::sql::data_type::DataType;
use crate::sql::error::SqlError;
use crate::sql::name;
use crate::sql::token::{Reading, tokenize};

/// Chunks of encoded rows waiting for PostgreSQL: decoding runs this far ahead.
const CHUNKS_AHEAD_MAX: usize = 2;

/// What a load did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// Why a COPY failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The command itself.
    Statement(SqlError),
    /// A file, a manifest, or S3.
    Load(LoadFailure),
}

impl From<LoadFailure> for CopyError {
    fn from(failure: LoadFailure) -> Self {
        Self::Load(failure)
    }
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(translate(&error))
    }
}

/// Loads the files. `attached` holds the roles the cluster has; when empty, every role is its own.
pub(crate) async fn run(
    connection: &mut PgConnection,
    storage: &Arc<Storage>,
    command: &CopyCommand,
    attached: &[String],
) -> Result<Loaded, CopyError> {
    check_role(command, attached)?;
    let targets = targets(connection, command).await?;
    let files = files(storage, command).await?;
    let listed = targets.iter().map(|target| name::quote(&target.name)).collect::<Vec<_>>().join(", ");
    let sql = format!("COPY {} ({listed}) FROM STDIN (FORMAT binary)", command.table.sql());
    let mut copy = connection.copy_in_raw(&sql).await?;
    copy.send(HEADER).await?;
    let mut loaded = Loaded::default();
    let targets = Arc::new(targets);
    for found in files {
        match Box::pin(load_file(&mut copy, storage, command, &found, &targets)).await {
            Ok(rows) => loaded.rows += rows,
            Err(error) => {
                // The transaction is to end up failed: what PostgreSQL answers to that is no news.
                let _aborted = copy.abort("load failed").await;
                return Err(error);
            }
        }
        loaded.bytes += found.bytes;
        loaded.files += 1;
    }
    copy.send(TRAILER).await?;
    copy.finish().await?;
    let counted = format!("SELECT set_config('redshift.last_copy_count', '{}', false)", loaded.rows);
    sqlx::raw_sql(AssertSqlSafe(counted)).execute(&mut *connection).await?;
    if command.statistics == Some(true) {
        sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {}", command.table.sql()))).execute(&mut *connection).await?;
    }
    Ok(loaded)
}

fn check_role(command: &CopyCommand, attached: &[String]) -> Result<(), CopyError> {
    let Role::Arns(arns) = &command.role else { return Ok(()) };
    // Of chained roles only the first is the cluster's.
    let Some(first) = arns.first() else { return Ok(()) };
    if attached.is_empty() || attached.contains(first) {
        return Ok(());
    }
    Err(CopyError::Statement(SqlError::new(
        "XX000",
        format!("UnauthorizedException The requested role {first} is not associated to cluster"),
    )))
}

/// The columns the files fill, in order.
async fn targets(connection: &mut PgConnection, command: &CopyCommand) -> Result<Vec<Target>, CopyError> {
    let sql = format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, coalesce(c.varbyte_bytes, 64000)::text, coalesce(c.varbyte_bounded, false) \
         FROM pg_catalog.pg_attribute a LEFT JOIN _redshift.columns c ON c.relation = a.attrelid AND c.name = a.attname \
         WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        command.table.literal()
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
    let mut columns = Vec::new();
    for row in rows {
        let stored: String = row.try_get(0)?;
        let identity: String = row.try_get(3)?;
        let kind = kind(&row.try_get::<String, _>(1)?, &row.try_get::<String, _>(4)?, row.try_get(5)?)?;
        let not_null = row.try_get(2)?;
        columns.push((Target { name: name::shown(&stored), kind, not_null }, identity));
    }
    choose(columns, command).map_err(CopyError::Statement)
}

/// The column list, or every column; identity columns only with EXPLICIT_IDS.
fn choose(columns: Vec<(Target, String)>, command: &CopyCommand) -> Result<Vec<Target>, SqlError> {
    let Some(listed) = &command.columns else {
        return Ok(columns
            .into_iter()
            .filter(|(_, identity)| command.explicit_ids || identity.is_empty())
            .map(|(target, _)| target)
            .collect());
    };
    let mut chosen = Vec::new();
    let mut identities = 0;
    for column in listed {
        let column = name::shown(&name::stored(column));
        let Some((target, identity)) = columns.iter().find(|(target, _)| target.name == column) else {
            return Err(SqlError::new("42703", format!("column \"{column}\" of relation \"{}\" does not exist", command.table.name)));
        };
        identities += usize::from(!identity.is_empty());
        if identity == "a" && !command.explicit_ids {
            return Err(SqlError::unsupported(format!("cannot set an identity column to a value: column \"{column}\" needs EXPLICIT_IDS")));
        }
        chosen.push(target.clone());
    }
    if command.explicit_ids && identities == 0 {
        return Err(SqlError::unsupported("EXPLICIT_IDS cannot be specified when the column list has no IDENTITY column"));
    }
    Ok(chosen)
}

/// A column's Redshift type, from PostgreSQL's name for it.
fn kind(text: &str, varbyte_bytes: &str, bounded: bool) -> Result<DataType, CopyError> {
    match text {
        "jsonb" => return Ok(DataType::Super),
        "bytea" => return Ok(DataType::Varbyte { bytes: varbyte_bytes.parse().unwrap_or(64_000), bounded }),
        _ => {}
    }
    let tokens = tokenize(text, Reading::default()).map_err(CopyError::Statement)?;
    DataType::parse(&mut Cursor::new(&tokens), text).map_err(CopyError::Statement)
}

/// The files of a load: what the manifest names, or what has the prefix.
async fn files(storage: &Storage, command: &CopyCommand) -> Result<Vec<Found>, CopyError> {
    if !command.manifest {
        return Ok(storage.list(&command.source).await?);
    }
    let path = s3_path(&command.source);
    let not_found = |path: &str| LoadFailure::scan(CODE_SCHEMA, path, format!("Spectrum Scan Error: File not found: {path}"));
    let text = storage.read(&command.source).await?.ok_or_else(|| not_found(&path))?;
    let mut files = Vec::new();
    for entry in manifest::parse(&text, &path)? {
        let entry_path = s3_path(&entry.location);
        match storage.size(&entry.location).await? {
            None if entry.mandatory => return Err(not_found(&entry_path).into()),
            None => {}
            Some(bytes) if bytes != entry.content_length => {
                let text = format!(
                    "File '{entry_path}' has content_length {} in the manifest, but the object has {bytes} bytes",
                    entry.content_length
                );
                return Err(LoadFailure { file: entry_path, ..LoadFailure::manifest(&path, &text) }.into());
            }
            Some(bytes) => files.push(Found { location: entry.location, bytes }),
        }
    }
    if files.is_empty() {
        return Err(LoadFailure::storage(&path, format!("The specified S3 prefix '{}' does not exist", command.source.key)).into());
    }
    Ok(files)
}

fn s3_path(location: &Location) -> String {
    format!("s3://{}/{}", location.bucket, location.key)
}

async fn load_file(
    copy: &mut PgCopyIn<&mut PgConnection>,
    storage: &Arc<Storage>,
    command: &CopyCommand,
    found: &Found,
    targets: &Arc<Vec<Target>>,
) -> Result<u64, CopyError> {
    let path = s3_path(&found.location);
    let bytes: Bytes = storage
        .read(&found.location)
        .await?
        .ok_or_else(|| LoadFailure::scan(CODE_SCHEMA, &path, format!("Spectrum Scan Error: File not found: {path}")))?;
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let job = Job {
        url: storage.url(&found.location),
        path,
        targets: Arc::clone(targets),
        fill_record: command.fill_record,
        accept_invalid: command.accept_invalid,
        serialize_to_json: command.serialize_to_json,
    };
    let decoding = tokio::task::spawn_blocking(move || file::decode(bytes, &job, &sender));
    while let Some(chunk) = receiver.recv().await {
        copy.send(chunk).await?;
    }
    let decoded = decoding.await.map_err(|_| CopyError::Statement(SqlError::new("XX000", "the load's reader ended unexpectedly")))?;
    Ok(decoded?)
}
