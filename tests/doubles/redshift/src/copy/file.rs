//! Reads one Parquet file: checks the format and every column, then hands over encoded rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding as PageEncoding};
use parquet::column::page::Page;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tokio::sync::mpsc;

use super::compatibility::{self, File, Target};
use super::encode::Encoding;
use super::failure::{CODE_SCAN, CODE_SCHEMA, LoadFailure};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// What decoding one file needs to know.
pub(crate) struct Job {
    pub(crate) url: String,
    pub(crate) path: String,
    pub(crate) targets: Arc<Vec<Target>>,
    pub(crate) fill_record: bool,
    pub(crate) accept_invalid: Option<char>,
    pub(crate) serialize_to_json: bool,
}

impl Job {
    fn failure(&self, code: i32, text: &str) -> LoadFailure {
        LoadFailure::scan(code, &self.path, format!("File '{}' {text}", self.url))
    }
}

/// Decodes a file and sends its rows in PostgreSQL's binary form. Returns the number of rows.
pub(crate) fn decode(bytes: Bytes, job: &Job, sender: &mpsc::Sender<Vec<u8>>) -> Result<u64, LoadFailure> {
    if [".gz", ".bz2", ".snappy"].iter().any(|suffix| job.path.ends_with(suffix)) {
        // COPY would decompress the whole object by its name, and find no Parquet.
        return Err(job.failure(CODE_SCAN, "has an invalid version number"));
    }
    let reader = SerializedFileReader::new(bytes.clone()).map_err(|_| job.failure(CODE_SCAN, "has an invalid version number"))?;
    let filled = check_columns(reader.metadata(), job)?;
    check_format(&reader, job)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let unreadable = |_| job.failure(CODE_SCAN, "cannot be read");
    let batches = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(unreadable)?;
    let encoding = Encoding { path: &job.path, accept_invalid: job.accept_invalid, filled };
    let mut rows = 0_u64;
    for batch in batches {
        let batch: RecordBatch = batch.map_err(|_| job.failure(CODE_SCAN, "cannot be read"))?;
        let mut chunk = Vec::with_capacity(batch.get_array_memory_size());
        encoding.rows(batch.columns(), &job.targets, batch.num_rows(), rows + 1, &mut chunk)?;
        rows += batch.num_rows() as u64;
        if sender.blocking_send(chunk).is_err() {
            // The receiver has gone: its own error tells why.
            break;
        }
    }
    Ok(rows)
}

/// Column count and types, by position. Returns how many columns FILLRECORD fills.
fn check_columns(metadata: &ParquetMetaData, job: &Job) -> Result<usize, LoadFailure> {
    let fields = metadata.file_metadata().schema().get_fields();
    let (table, data) = (job.targets.len(), fields.len());
    let filled = if job.fill_record { table.saturating_sub(data) } else { 0 };
    if data + filled != table {
        let text = format!(
            "Unmatched number of columns between table and file. Table columns: {table}, Data columns: {data}, File name: {}",
            job.url
        );
        return Err(LoadFailure::scan(CODE_SCHEMA, &job.path, text));
    }
    let file = File { url: &job.url, path: &job.path };
    for (index, (field, target)) in fields.iter().zip(job.targets.iter()).enumerate() {
        compatibility::check(&file, index, field, target, job.serialize_to_json)?;
    }
    if let Some(target) = job.targets.iter().skip(data).find(|target| target.not_null) {
        let text = format!("Cannot insert a NULL value into column {}", target.name);
        return Err(LoadFailure::scan(CODE_SCAN, &job.path, text).on_column(&target.name, &target.short_type(), target.length()));
    }
    Ok(filled)
}

/// Codecs, encodings and pages of the first version of the format only.
fn check_format(reader: &SerializedFileReader<Bytes>, job: &Job) -> Result<(), LoadFailure> {
    for (group, metadata) in reader.metadata().row_groups().iter().enumerate() {
        for (column, chunk) in metadata.columns().iter().enumerate() {
            let name = chunk.column_path().string();
            match chunk.compression() {
                Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {}
                other => return Err(job.failure(CODE_SCAN, &format!("column '{name}' has an unsupported compression codec {other}"))),
            }
            let unsupported = chunk.encodings().find(|encoding| !is_first_version(*encoding));
            if let Some(encoding) = unsupported {
                return Err(job.failure(CODE_SCAN, &format!("column '{name}' has an unsupported encoding {encoding}")));
            }
            if second_version_page(reader, group, column, job)? {
                return Err(job.failure(
                    CODE_SCAN,
                    &format!("column '{name}' has data pages of version 2: only the Parquet v1 data file format is supported"),
                ));
            }
        }
    }
    Ok(())
}

fn is_first_version(encoding: PageEncoding) -> bool {
    #[expect(deprecated, reason = "old files have it")]
    let bit_packed = PageEncoding::BIT_PACKED;
    matches!(encoding, PageEncoding::PLAIN | PageEncoding::PLAIN_DICTIONARY | PageEncoding::RLE | PageEncoding::RLE_DICTIONARY)
        || encoding == bit_packed
}

/// Whether a column chunk's first data page is of version 2.
fn second_version_page(reader: &SerializedFileReader<Bytes>, group: usize, column: usize, job: &Job) -> Result<bool, LoadFailure> {
    let unreadable = |_| job.failure(CODE_SCAN, "cannot be read");
    let mut pages = reader.get_row_group(group).and_then(|row_group| row_group.get_column_page_reader(column)).map_err(unreadable)?;
    while let Some(page) = pages.get_next_page().map_err(unreadable)? {
        match page {
            Page::DictionaryPage { .. } => {}
            Page::DataPage { .. } => return Ok(false),
            Page::DataPageV2 { .. } => return Ok(true),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};

    use super::*;
    use crate::sql::data_type::DataType;

    fn parquet(properties: WriterProperties) -> Bytes {
        let ids: ArrayRef = Arc::new(Int64Array::from((0..100).collect::<Vec<i64>>()));
        let names: ArrayRef = Arc::new(StringArray::from((0..100).map(|number| format!("n{number}")).collect::<Vec<_>>()));
        let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        out.into()
    }

    fn decoded(bytes: Bytes, targets: Vec<DataType>, fill_record: bool) -> Result<u64, LoadFailure> {
        let targets =
            targets.into_iter().enumerate().map(|(index, kind)| Target { name: format!("c{index}"), kind, not_null: false }).collect();
        let job = Job {
            url: "https://s3/b/k.parquet".into(),
            path: "s3://b/k.parquet".into(),
            targets: Arc::new(targets),
            fill_record,
            accept_invalid: None,
            serialize_to_json: false,
        };
        let (sender, _receiver) = mpsc::channel(8);
        decode(bytes, &job, &sender)
    }

    const TEXT: DataType = DataType::Varchar { bytes: 10 };

    #[test]
    fn files_of_the_first_version_load() {
        for compression in
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default()), Compression::GZIP(Default::default())]
        {
            let bytes = parquet(WriterProperties::builder().set_compression(compression).build());
            assert_eq!(decoded(bytes, vec![DataType::BigInt, TEXT], false).unwrap(), 100);
        }
    }

    #[test]
    fn pages_and_encodings_of_the_second_version_are_refused() {
        let bytes = parquet(WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0).build());
        assert!(decoded(bytes, vec![DataType::BigInt, TEXT], false).is_err());
        let bytes = parquet(
            WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_encoding(PageEncoding::DELTA_BINARY_PACKED)
                .set_column_encoding("name".into(), PageEncoding::PLAIN)
                .build(),
        );
        assert!(decoded(bytes, vec![DataType::BigInt, TEXT], false).unwrap_err().context.contains("unsupported encoding"));
    }

    #[test]
    fn columns_are_counted() {
        let bytes = parquet(WriterProperties::new());
        let failure = decoded(bytes.clone(), vec![DataType::BigInt], false).unwrap_err();
        assert!(failure.context.starts_with("Unmatched number of columns between table and file. Table columns: 1, Data columns: 2"));
        assert!(decoded(bytes.clone(), vec![DataType::BigInt, TEXT, TEXT], false).is_err());
        assert_eq!(decoded(bytes, vec![DataType::BigInt, TEXT, TEXT], true).unwrap(), 100);
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        assert!(decoded(Bytes::new(), vec![DataType::BigInt], false).unwrap_err().context.contains("invalid version number"));
        assert!(decoded(Bytes::from_static(b"{\"entries\":[]}"), vec![DataType::BigInt], false).is_err());
    }
}
