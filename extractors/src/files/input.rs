//! Bytes of a dump, decompressed, with their offset, and the rows that they are cut into.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use pipeline_core::error::{Error, Result};
use sha2::{Digest, Sha256};

use super::error::{broken, of_io};
use super::locate::Dump;
use crate::bson::DOCUMENT_BYTES_MAX;

/// Bytes asked from the operating system at once.
const READ_BYTES: usize = 256 << 10;

/// The decompressed bytes of a dump.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    path: PathBuf,
    buffer: Vec<u8>,
    start: usize,
    /// Where `buffer[start]` stands in the decompressed data.
    offset: u64,
}

impl Input {
    /// Opens a dump; `hash` learns every byte of the file as it lies on disk.
    pub(super) fn open(dump: &Dump, start: u64, hash: Option<SharedHash>) -> Result<Self> {
        let mut file = File::open(&dump.path).map_err(|error| of_io(&dump.path, &error))?;
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(|error| of_io(&dump.path, &error))?;
        }
        let raw: Box<dyn Read + Send> = match hash {
            Some(hash) => Box::new(Hashed { inner: file, hash }),
            None => Box::new(file),
        };
        let reader: Box<dyn Read + Send> =
            if dump.is_compressed { Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, raw))) } else { raw };
        Ok(Self { reader, path: dump.path.clone(), buffer: Vec::with_capacity(2 * READ_BYTES), start: 0, offset: start })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Makes `wanted` bytes available, or as many as there are.
    fn fill(&mut self, wanted: usize) -> Result<usize> {
        while self.held() < wanted {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let length = self.buffer.len();
            // Twice what has arrived at most: a wrong length asks for a gigabyte of a file that has none.
            self.buffer.resize(length + (wanted - length).min(length).max(READ_BYTES), 0);
            let read = loop {
                match self.reader.read(self.buffer.get_mut(length..).expect("the buffer was just made longer")) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(self.held().min(wanted))
    }

    fn failed(&self, error: &io::Error) -> Error {
        match error.kind() {
            // What the decompressor says of bytes that are cut off or not its own.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                broken(&self.path, self.offset + self.held() as u64, "is cut off or not compressed as its name says")
                    .caused_by(error.kind())
            }
            _ => of_io(&self.path, error),
        }
    }

    /// The next BSON document and its offset; None at the end.
    pub(super) fn document(&mut self) -> Result<Option<(u64, &[u8])>> {
        let head = self.fill(4)?;
        if head == 0 {
            return Ok(None);
        }
        if head < 4 {
            return Err(self.cut("ends within a document that begins"));
        }
        let length = self.peek::<4>().map_or(0, i32::from_le_bytes);
        let length = usize::try_from(length).unwrap_or(0);
        if !(5..=DOCUMENT_BYTES_MAX).contains(&length) {
            return Err(self.cut("has no document (its length is impossible)"));
        }
        if self.fill(length)? < length {
            return Err(self.cut("ends within a document that begins"));
        }
        let offset = self.offset;
        let document = self.take(length);
        Ok(Some((offset, document)))
    }

    /// The next bytes, as many as are at hand; empty at the end.
    pub(super) fn chunk(&mut self) -> Result<&[u8]> {
        let length = self.fill(1)?;
        let length = if length == 0 { 0 } else { self.held() };
        Ok(self.take(length))
    }

    /// Exactly `length` bytes.
    pub(super) fn exactly(&mut self, length: usize, what: &str) -> Result<&[u8]> {
        if self.fill(length)? < length {
            return Err(self.cut(what));
        }
        Ok(self.take(length))
    }

    /// An error about the place where this stands.
    pub(super) fn cut(&self, what: &str) -> Error {
        broken(&self.path, self.offset, what)
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        self.buffer.get(self.start..)?.first_chunk().copied()
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start += length;
        self.offset += length as u64;
        self.buffer.get(start..start + length).expect("fill has made these bytes available")
    }
}

/// A checksum that grows while somebody else reads.
pub(super) type SharedHash = std::sync::Arc<std::sync::Mutex<Sha256>>;

struct Hashed<R> {
    inner: R,
    hash: SharedHash,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        if let Some(bytes) = buffer.get(..length) {
            self.hash.lock().expect("no holder of this lock panics").update(bytes);
        }
        Ok(length)
    }
}

/// The checksum of a whole file, as lower-case hexadecimal digits.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|error| of_io(path, &error))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(hash.finalize())),
            Ok(length) => hash.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(of_io(path, &error)),
        }
    }
}
