//! The longest value of a column whose values all stand in dictionaries, without reading the column.
//!
//! A chunk of repeated texts has each of them once, in a page before its data. That page is a small part of the chunk, so that
//! lengths of such columns cost next to nothing.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::part_reader::PartReader;

/// Longest dictionary page that is believed to be one: ten times what the writer makes at the most.
const DICTIONARY_BYTES_MAX: u64 = 16 << 20;

/// The longest value of a column in bytes; None if some values stand outside of dictionaries.
pub(super) async fn longest(reader: &mut PartReader, metadata: &ParquetMetaData, column: usize) -> Result<Option<u64>> {
    let mut chunks = Vec::with_capacity(metadata.num_row_groups());
    for group in metadata.row_groups() {
        match group.columns().get(column).and_then(|chunk| Some((chunk, dictionary_range(chunk)?))) {
            Some((chunk, range)) => chunks.push((chunk, range, group.num_rows())),
            None => return Ok(None),
        }
    }
    let pages = reader.get_byte_ranges(chunks.iter().map(|(_, range, _)| range.clone()).collect()).await?;
    let mut longest = 0;
    for ((chunk, range, rows), bytes) in chunks.into_iter().zip(pages) {
        let window = Window { start: range.start, bytes };
        let rows = usize::try_from(rows).unwrap_or(0);
        let mut page_reader = SerializedPageReader::new(Arc::new(window), chunk, rows, None)?;
        match page_reader.get_next_page()? {
            Some(Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN | Encoding::PLAIN_DICTIONARY, .. }) => {
                match longest_of(buf, num_values) {
                    Some(found) => longest = found.max(longest),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(longest))
}

/// Where a chunk's dictionary lies, if all its values are in it.
fn dictionary_range(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let only_dictionary = match (chunk.page_encoding_stats_mask(), chunk.page_encoding_stats()) {
        (Some(mask), _) => mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY),
        (None, Some(stats)) => stats
            .iter()
            .filter(|page| matches!(page.page_type, PageType::DATA_PAGE | PageType::DATA_PAGE_V2))
            .all(|page| matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)),
        (None, None) => false,
    };
    let from = u64::try_from(chunk.dictionary_page_offset()?).ok()?;
    let to = u64::try_from(chunk.data_page_offset()).ok()?;
    (only_dictionary && from < to && to - from <= DICTIONARY_BYTES_MAX).then_some(from..to)
}

/// The longest of values that each follow their length; None if they do not.
fn longest_of(mut values: Bytes, count: u32) -> Option<u64> {
    let mut longest = 0;
    for _ in 0..count {
        let length = values.try_get_u32_le().ok()?;
        let bytes = usize::try_from(length).ok()?;
        if bytes > values.remaining() {
            return None;
        }
        values.advance(bytes);
        longest = u64::from(length).max(longest);
    }
    Some(longest)
}

/// A range of a file that stands at its own place in it.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Window {
    fn from(&self, start: u64) -> Result<Bytes> {
        let skipped = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        match skipped.filter(|skipped| *skipped <= self.bytes.len()) {
            Some(skipped) => Ok(self.bytes.slice(skipped..)),
            None => Err(ParquetError::EOF("a page lies outside of the dictionary's range".to_owned())),
        }
    }
}

impl ChunkReader for Window {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(Box::new(self.from(start)?.reader()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let found = self.from(start)?;
        if found.len() < length {
            return Err(ParquetError::EOF("a page lies outside of the dictionary's range".to_owned()));
        }
        Ok(found.slice(..length))
    }
}
