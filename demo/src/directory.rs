//! Writes a data set as dump files.
//!
//! ```text
//! DIR/mongodb/shop/orders.bson            documents one after the other, as mongodump writes them
//! DIR/mongodb/shop/orders.metadata.json
//! DIR/postgres/schema.sql                 schemas, types, tables, indexes
//! DIR/postgres/SCHEMA.TABLE.copy          COPY … TO … (FORMAT binary)
//! DIR/answers.json                        written last: a folder without it is not complete
//! ```
//! With compression every `.bson`, `.metadata.json` and `.copy` ends with `.gz`, as with `mongodump --gzip`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::answers::Answers;
use crate::copy_binary::{HEADER, TRAILER};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::produce::{Chunk, Phase, Progress, Purpose, produce};
use crate::random::{Random, Topic};
use crate::schema::{self, RELATIONS, Table};
use crate::world::World;

/// Chunks that wait for a writer: with two writers some ten megabytes.
const CHUNKS_WAITING: usize = 4;

/// Progress reports that wait to be shown; further ones are dropped.
const REPORTS_WAITING: usize = 16;

/// Writes the data set into a folder, which is made if it is missing, and returns its answers.
///
/// Progress is told once a business date. The folder must be empty unless [`Options::replace`] is set; then files of an earlier data set
/// are replaced, and others are left alone.
///
/// # Errors
/// [`Error::Option`] when an option is out of range, [`Error::NotEmpty`] when there are files, [`Error::File`] when one cannot be written.
pub async fn generate_to_directory(options: &Options, directory: &Path, progress: &(dyn Fn(&Progress) + Send + Sync)) -> Result<Answers> {
    options.check()?;
    let (sender, mut reports) = tokio::sync::mpsc::channel(REPORTS_WAITING);
    let options = options.clone();
    let directory = directory.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        write(&options, &directory, &mut |report| {
            // A report that finds no room is not missed: another follows.
            sender.try_send(report).ok();
        })
    });
    while let Some(report) = reports.recv().await {
        progress(&report);
    }
    work.await.map_err(|_| Error::Stopped)?
}

fn write(options: &Options, directory: &Path, report: &mut dyn FnMut(Progress)) -> Result<Answers> {
    let files = Files { directory, compress: options.compress };
    files.prepare(options.replace)?;
    let world = World::new(options);
    let answers = thread::scope(|scope| {
        // Two writers, because compression takes longer than making the rows.
        let (documents, documents_waiting) = sync_channel(CHUNKS_WAITING);
        let (tuples, tuples_waiting) = sync_channel(CHUNKS_WAITING);
        let writers = [documents_waiting, tuples_waiting].map(|chunks| scope.spawn(|| files.write_chunks(chunks)));
        let made = make(&world, documents, tuples, report);
        for writer in writers {
            // A writer's own error tells more than that the maker could not hand on.
            writer.join().map_err(|_| Error::Stopped)??;
        }
        made
    })?;
    files.complete(&world, &answers)?;
    Ok(answers)
}

fn make(world: &World, documents: SyncSender<Chunk>, tuples: SyncSender<Chunk>, report: &mut dyn FnMut(Progress)) -> Result<Answers> {
    let mut last = None;
    let mut keep = |progress: Progress| {
        last = Some(progress);
        report(progress);
    };
    let mut emit = |chunk: Chunk| {
        let writer = if chunk.table == Table::Orders { &documents } else { &tuples };
        writer.send(chunk).map_err(|_| Error::Stopped)
    };
    let answers = produce(world, Purpose::Dump, &mut emit, &mut keep);
    if let Some(progress) = last {
        report(Progress { phase: Phase::Finishing, ..progress });
    }
    answers
}

/// A file being written.
enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(file) => file.write_all(bytes),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Gzip(file) => file.finish()?.flush(),
        }
    }
}

/// Where the files of a data set lie.
struct Files<'run> {
    directory: &'run Path,
    compress: bool,
}

impl Files<'_> {
    fn path(&self, table: Table, compress: bool) -> PathBuf {
        let ending = if compress { ".gz" } else { "" };
        match table {
            Table::Orders => self.directory.join(format!("mongodb/shop/orders.bson{ending}")),
            _ => self.directory.join(format!("postgres/{}.copy{ending}", table.source_name())),
        }
    }

    fn metadata_path(&self, compress: bool) -> PathBuf {
        self.directory.join(format!("mongodb/shop/orders.metadata.json{}", if compress { ".gz" } else { "" }))
    }

    fn answers_path(&self) -> PathBuf {
        self.directory.join("answers.json")
    }

    /// Makes the folders, and takes away what an earlier data set left.
    fn prepare(&self, replace: bool) -> Result<()> {
        let filled = fs::read_dir(self.directory).is_ok_and(|mut entries| entries.next().is_some());
        if filled && !replace {
            return Err(Error::NotEmpty { kind: "folder", name: self.directory.display().to_string() });
        }
        let mut stale = vec![self.answers_path(), self.metadata_path(true), self.metadata_path(false)];
        for table in RELATIONS.into_iter().chain([Table::Orders]) {
            stale.extend([self.path(table, true), self.path(table, false)]);
        }
        for path in stale {
            if path.exists() {
                fs::remove_file(&path).map_err(|source| Error::File { path, source })?;
            }
        }
        for folder in ["mongodb/shop", "postgres"] {
            let path = self.directory.join(folder);
            fs::create_dir_all(&path).map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<Sink> {
        let file = File::create(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let file = BufWriter::with_capacity(1 << 17, file);
        Ok(if self.compress { Sink::Gzip(Box::new(GzEncoder::new(file, Compression::new(6)))) } else { Sink::Plain(file) })
    }

    /// Writes chunks to their tables' files until there are no more.
    fn write_chunks(&self, chunks: Receiver<Chunk>) -> Result<()> {
        let mut sinks: HashMap<Table, Sink> = HashMap::new();
        let failed = |table, source| Error::File { path: self.path(table, self.compress), source };
        for chunk in chunks {
            let table = chunk.table;
            let sink = match sinks.entry(table) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.start(table)?),
            };
            sink.write(&chunk.bytes).map_err(|source| failed(table, source))?;
        }
        for (table, mut sink) in sinks {
            let ended = if table == Table::Orders { Ok(()) } else { sink.write(&TRAILER) };
            ended.and_then(|()| sink.finish()).map_err(|source| failed(table, source))?;
        }
        Ok(())
    }

    fn start(&self, table: Table) -> Result<Sink> {
        let path = self.path(table, self.compress);
        let mut sink = self.open(&path)?;
        if table != Table::Orders {
            sink.write(&HEADER).map_err(|source| Error::File { path, source })?;
        }
        Ok(sink)
    }

    /// Writes what goes beside the rows; the answers last.
    fn complete(&self, world: &World, answers: &Answers) -> Result<()> {
        for table in RELATIONS {
            // A table without rows had no chunk.
            let path = self.path(table, self.compress);
            if !path.exists() {
                let mut sink = self.start(table)?;
                sink.write(&TRAILER).and_then(|()| sink.finish()).map_err(|source| Error::File { path, source })?;
            }
        }
        let path = self.metadata_path(self.compress);
        let mut sink = self.open(&path)?;
        let text = metadata(world.options.seed).to_string();
        sink.write(text.as_bytes()).and_then(|()| sink.finish()).map_err(|source| Error::File { path, source })?;

        let path = self.directory.join("postgres/schema.sql");
        let sql = format!("{}\n{}", schema::create_tables(), schema::create_indexes());
        fs::write(&path, sql).map_err(|source| Error::File { path, source })?;

        let path = self.answers_path();
        let text = serde_json::to_string_pretty(answers).expect("answers are plain values with text keys");
        let text = rows_on_one_line(&text);
        fs::write(&path, text + "\n").map_err(|source| Error::File { path, source })
    }
}

/// Puts each innermost list, such as a row of keys, on one line.
fn rows_on_one_line(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        compact.push_str(line);
        let opens_row = line.ends_with('[') && line.trim() == "[";
        if opens_row {
            for inner in lines.by_ref() {
                let inner = inner.trim();
                compact.push_str(inner);
                if inner.starts_with(']') {
                    break;
                }
                if inner.ends_with(',') {
                    compact.push(' ');
                }
            }
        }
        if lines.peek().is_some() {
            compact.push('\n');
        }
    }
    compact
}

/// What `mongodump` writes beside a collection, in canonical Extended JSON.
fn metadata(seed: u64) -> serde_json::Value {
    let index = |key: &str, name: &str, unique: bool| {
        let mut index = json!({ "v": { "$numberInt": "2" }, "key": { key: { "$numberInt": "1" } }, "name": name });
        if unique {
            index["unique"] = json!(true);
        }
        index
    };
    let uuid = Random::new(seed, Topic::Collection, 0).bytes::<16>();
    json!({
        "options": {},
        "indexes": [
            index("_id", "_id_", false),
            index("updatedAt", "updatedAt_1", false),
            index("orderNumber", "orderNumber_1", true),
        ],
        "uuid": hex::encode(uuid),
        "collectionName": "orders",
        "type": "collection",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_keys_take_one_line() {
        let value = json!({ "keys": [["a", 1], ["b", 2]], "names": ["x"], "none": [] });
        let text = rows_on_one_line(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains("\n    [\"a\", 1],\n    [\"b\", 2]\n"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
