//! Keys of changed rows, each once and in order, however many there are: what memory does not hold lies in files.
//!
//! Keys are gathered in memory up to a limit, then written as a sorted run; in the end the runs are merged into one file, cut in chunks, and
//! a chunk is in memory only while it is read. The files have no name: they end with the process, however it ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_core::error::Error;
use pipeline_core::landing::DISK_FULL;

use super::super::error::WORK;
use super::scan::Key;

/// Bytes that the keys in memory may take, with what holding them costs: some 40,000 numbers.
const HELD_BYTES_MAX: usize = 4 << 20;

/// What a key costs beside its text: its place in the set, and an allocation for each value.
const KEY_BYTES: usize = 64;
const VALUE_BYTES: usize = 32;

/// Runs that are merged at once: each has a buffer and an open file.
const RUNS_MAX: usize = 32;

/// Keys that one statement asks for.
const KEYS_PER_CHUNK: usize = 10_000;

/// Bytes of keys that one statement asks for, unless a single key is longer.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// Longest value of a key that is read back: what is longer than the log can say is no value.
const VALUE_BYTES_MAX: usize = 1 << 30;

/// Keys while they come.
#[derive(Debug)]
pub(super) struct Keys {
    folder: PathBuf,
    /// What [`HELD_BYTES_MAX`] says, unless it is a test.
    held_bytes_max: usize,
    held: HashSet<Key>,
    held_bytes: usize,
    runs: Vec<Run>,
}

/// A sorted file.
#[derive(Debug)]
struct Run {
    file: File,
    keys: usize,
}

/// The keys that one statement asks for.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) keys: usize,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Arc<[Key]>),
    File { file: Arc<File>, at: u64, bytes: usize },
}

impl Keys {
    /// None yet; files that become necessary are made in a folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self::holding(folder, HELD_BYTES_MAX)
    }

    fn holding(folder: &Path, held_bytes_max: usize) -> Self {
        Self { folder: folder.to_owned(), held_bytes_max, held: HashSet::new(), held_bytes: 0, runs: Vec::new() }
    }

    /// Adds a key.
    pub(super) fn add(&mut self, key: Key) -> io::Result<()> {
        let bytes = KEY_BYTES + key.iter().map(|value| value.len() + VALUE_BYTES).sum::<usize>();
        if !self.held.insert(key) {
            return Ok(());
        }
        self.held_bytes += bytes;
        if self.held_bytes < self.held_bytes_max {
            return Ok(());
        }
        self.write_run()?;
        if self.runs.len() < RUNS_MAX {
            return Ok(());
        }
        let merged = self.merge(|_, _| {})?;
        self.runs.push(merged);
        Ok(())
    }

    /// How many there are at least: the same key may be in several runs.
    pub(super) fn at_least(&self) -> usize {
        self.runs.iter().map(|run| run.keys).chain([self.held.len()]).max().unwrap_or(0)
    }

    /// All of them in chunks.
    pub(super) fn finish(mut self) -> io::Result<Vec<Chunk>> {
        if self.runs.is_empty() {
            let mut cuts = Cuts::default();
            let mut chunks: Vec<Vec<Key>> = Vec::new();
            for key in self.sorted() {
                if cuts.add(key.iter().map(|value| value.len()).sum()) {
                    chunks.push(Vec::new());
                }
                chunks.extend(chunks.is_empty().then(Vec::new));
                if let Some(chunk) = chunks.last_mut() {
                    chunk.push(key);
                }
            }
            return Ok(chunks.into_iter().map(|keys| Chunk { keys: keys.len(), place: Place::Memory(keys.into()) }).collect());
        }
        self.write_run()?;
        let mut cuts = Cuts::default();
        // Where each chunk ends: its keys, and its place in the file.
        let mut ends: Vec<(usize, u64)> = Vec::new();
        let (mut keys, mut at) = (0, 0_u64);
        let merged = self.merge(|text, written| {
            if cuts.add(text) {
                ends.push((keys, at));
                keys = 0;
            }
            keys += 1;
            at += written;
        })?;
        ends.push((keys, at));
        let file = Arc::new(merged.file);
        let mut from = 0;
        let chunk = |(keys, to): (usize, u64)| {
            let bytes = usize::try_from(to - from).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let place = Place::File { file: Arc::clone(&file), at: from, bytes };
            from = to;
            Ok(Chunk { keys, place })
        };
        ends.into_iter().map(chunk).collect()
    }

    fn sorted(&mut self) -> Vec<Key> {
        let mut keys: Vec<Key> = std::mem::take(&mut self.held).into_iter().collect();
        // Neighbours are read together, and a reading repeated is the same.
        keys.sort_unstable();
        self.held_bytes = 0;
        keys
    }

    fn write_run(&mut self) -> io::Result<()> {
        let keys = self.sorted();
        if keys.is_empty() {
            return Ok(());
        }
        let mut writer = BufWriter::new(self.file()?);
        for key in &keys {
            write_key(&mut writer, key)?;
        }
        self.runs.push(Run { file: writer.into_inner()?, keys: keys.len() });
        Ok(())
    }

    /// Takes all runs into one. `seen` is told of each key the bytes of its text, and those that it takes in the file.
    fn merge(&mut self, mut seen: impl FnMut(usize, u64)) -> io::Result<Run> {
        let mut readers = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::new();
        for (place, mut run) in std::mem::take(&mut self.runs).into_iter().enumerate() {
            run.file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(64 << 10, run.file);
            heads.extend(read_key(&mut reader)?.map(|key| Reverse((key, place))));
            readers.push(reader);
        }
        let mut writer = BufWriter::new(self.file()?);
        let (mut keys, mut last): (usize, Option<Key>) = (0, None);
        while let Some(Reverse((key, place))) = heads.pop() {
            if let Some(reader) = readers.get_mut(place) {
                heads.extend(read_key(reader)?.map(|key| Reverse((key, place))));
            }
            if last.as_ref() == Some(&key) {
                continue;
            }
            let written = write_key(&mut writer, &key)?;
            seen(key.iter().map(|value| value.len()).sum(), written);
            keys += 1;
            last = Some(key);
        }
        Ok(Run { file: writer.into_inner()?, keys })
    }

    /// A new file without a name.
    fn file(&self) -> io::Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(uuid::Uuid::now_v7().simple().to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

impl Chunk {
    /// Its keys.
    pub(super) fn read(&self) -> io::Result<Arc<[Key]>> {
        match &self.place {
            Place::Memory(keys) => Ok(Arc::clone(keys)),
            Place::File { file, at, bytes } => {
                let mut buffer = vec![0; *bytes];
                file.read_exact_at(&mut buffer, *at)?;
                let mut rest = buffer.as_slice();
                let mut keys = Vec::with_capacity(self.keys);
                while let Some(key) = read_key(&mut rest)? {
                    keys.push(key);
                }
                Ok(keys.into())
            }
        }
    }
}

/// Keys could not be kept.
pub(super) fn failed(error: &io::Error) -> Error {
    const WHAT: &str = "the keys of changed rows could not be kept in the folder `work`";
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(&DISK_FULL, WHAT).caused_by("no space left on the device"),
        kind => Error::new(&WORK, WHAT).caused_by(kind),
    }
}

/// Where chunks are cut.
#[derive(Debug, Default)]
struct Cuts {
    keys: usize,
    bytes: usize,
}

impl Cuts {
    /// Adds a key; true if it begins another chunk.
    fn add(&mut self, bytes: usize) -> bool {
        let is_full = self.keys >= KEYS_PER_CHUNK || (self.keys > 0 && self.bytes + bytes > CHUNK_BYTES_MAX);
        if is_full {
            *self = Self::default();
        }
        self.keys += 1;
        self.bytes += bytes;
        is_full
    }
}

/// How many values, then each by its length. Gives the bytes written.
fn write_key(writer: &mut impl Write, key: &Key) -> io::Result<u64> {
    let length = |length: usize| u32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    writer.write_all(&length(key.len())?.to_le_bytes())?;
    let mut written = 4;
    for value in key {
        writer.write_all(&length(value.len())?.to_le_bytes())?;
        writer.write_all(value.as_bytes())?;
        written += 4 + value.len() as u64;
    }
    Ok(written)
}

/// The next key; None at the end.
fn read_key(reader: &mut impl Read) -> io::Result<Option<Key>> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut number = [0; 4];
    let (first, rest) = number.split_at_mut(1);
    loop {
        match reader.read(first) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    reader.read_exact(rest)?;
    let values = u32::from_le_bytes(number);
    let mut key = Vec::new();
    for _ in 0..values {
        reader.read_exact(&mut number)?;
        let length = usize::try_from(u32::from_le_bytes(number)).ok().filter(|length| *length <= VALUE_BYTES_MAX).ok_or_else(broken)?;
        let mut value = vec![0; length];
        reader.read_exact(&mut value)?;
        key.push(String::from_utf8(value).map_err(|_| broken())?.into_boxed_str());
    }
    Ok(Some(key.into_boxed_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn key(values: &[&str]) -> Key {
        values.iter().map(|value| Box::from(*value)).collect()
    }

    fn contents(chunks: &[Chunk]) -> Vec<Key> {
        chunks
            .iter()
            .flat_map(|chunk| {
                let keys = chunk.read().unwrap();
                assert_eq!(keys.len(), chunk.keys);
                keys.to_vec()
            })
            .collect()
    }

    #[test]
    fn keys_come_once_and_in_order_whether_memory_holds_them_or_not() {
        let folder = tempfile::tempdir().unwrap();
        // A step that is prime to the number of keys meets each of them, several times over.
        let all: Vec<Key> = (0..60_000_u32).map(|n| key(&[&(n * 7_919 % 25_000).to_string(), "it's {ł}"])).collect();
        let expected: Vec<Key> = all.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        for held_bytes_max in [usize::MAX, 1 << 20, 100_000] {
            let mut keys = Keys::holding(folder.path(), held_bytes_max);
            all.iter().for_each(|key| keys.add(key.clone()).unwrap());
            assert!(keys.at_least() <= 25_000 && keys.runs.len() < RUNS_MAX);
            assert_eq!(keys.runs.is_empty(), held_bytes_max == usize::MAX);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
            let chunks = keys.finish().unwrap();
            assert_eq!(chunks.iter().map(|chunk| chunk.keys).collect::<Vec<_>>(), [10_000, 10_000, 5_000]);
            assert!(contents(&chunks) == expected);
        }
        assert!(Keys::new(folder.path()).finish().unwrap().is_empty());
    }

    #[test]
    fn chunks_are_bounded_by_bytes_too() {
        let folder = tempfile::tempdir().unwrap();
        let long = |of: &str| of.repeat(3 << 20);
        for held_bytes_max in [usize::MAX, 1] {
            let mut keys = Keys::holding(folder.path(), held_bytes_max);
            for value in ["1".to_owned(), long("2"), long("3"), "4".to_owned(), "4".to_owned()] {
                keys.add(key(&[&value])).unwrap();
            }
            assert_eq!(keys.finish().unwrap().iter().map(|chunk| chunk.keys).collect::<Vec<_>>(), [2, 2]);
        }
    }
}
