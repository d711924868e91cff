//! A failed load, laid out as the service lays it out, and as the system tables keep it.

use crate::sql::error::SqlError;
use crate::sql::name::cut;

/// DescribeStatement cuts the `context:` line; the whole text is in SYS_LOAD_ERROR_DETAIL.
const CONTEXT_BYTES_MAX: usize = 90;

/// Why a load failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadFailure {
    /// The heading.
    pub(crate) error: String,
    pub(crate) code: i32,
    /// The whole text.
    pub(crate) context: String,
    /// The source file of the server that reports it.
    pub(crate) location: &'static str,
    pub(crate) file: String,
    pub(crate) column: Option<FailedColumn>,
    /// The row in the file, from 1; 0 when it is the file as a whole.
    pub(crate) line_number: u64,
}

/// The column a load failed on, as SYS_LOAD_ERROR_DETAIL shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FailedColumn {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) length: String,
}

/// Type and column-count mismatches.
pub(crate) const CODE_SCHEMA: i32 = 15_007;
/// Values that do not fit, files that are not Parquet.
pub(crate) const CODE_SCAN: i32 = 15_001;
/// The manifest.
pub(crate) const CODE_MANIFEST: i32 = 15_003;
/// What S3 answers.
pub(crate) const CODE_S3: i32 = 8_001;
/// Strings in SUPER.
pub(crate) const CODE_SUPER: i32 = 1_224;

impl LoadFailure {
    /// A scan that failed on a file.
    pub(crate) fn scan(code: i32, file: &str, context: impl Into<String>) -> Self {
        Self {
            error: "Spectrum Scan Error".to_owned(),
            code,
            context: context.into(),
            location: "dory_util.cpp:1777",
            file: file.to_owned(),
            column: None,
            line_number: 0,
        }
    }

    /// A manifest that cannot be used.
    pub(crate) fn manifest(file: &str, context: &str) -> Self {
        Self { location: "spectrum_manifest.cpp:143", ..Self::scan(CODE_MANIFEST, file, context) }
    }

    /// An answer of S3's.
    pub(crate) fn storage(file: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error: message.clone(),
            code: CODE_S3,
            context: message,
            location: "s3_utility.cpp:654",
            file: file.to_owned(),
            column: None,
            line_number: 0,
        }
    }

    pub(crate) fn on_column(mut self, name: &str, kind: &str, length: impl ToString) -> Self {
        self.column = Some(FailedColumn { name: name.to_owned(), kind: kind.to_owned(), length: length.to_string() });
        self
    }

    pub(crate) fn at_line(mut self, line_number: u64) -> Self {
        self.line_number = line_number;
        self
    }

    /// The statement's error, with the context cut as the service cuts it.
    pub(crate) fn statement_error(&self, query_id: i64, process_id: i32) -> SqlError {
        let rule = "-----------------------------------------------";
        let context = cut(&self.context, CONTEXT_BYTES_MAX);
        let detail = format!(
            "\n  {rule}\n  error:  {}\n  code:      {}\n  context:   {context}\n  query:     {query_id}\n  location:  {}\n  process:   worker_thread [pid={process_id}]\n  {rule}",
            self.error, self.code, self.location
        );
        SqlError::new("XX000", self.error.clone()).with_detail(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_cut_in_the_statement_and_whole_in_the_failure() {
        let failure = LoadFailure::scan(CODE_SCHEMA, "s3://b/k", "x".repeat(300));
        let text = failure.statement_error(7, 8).to_string();
        assert!(text.starts_with("ERROR: Spectrum Scan Error\n  Detail:\n  ----"), "{text}");
        assert!(text.contains("\n  code:      15007\n"));
        assert!(text.contains(&format!("context:   {}\n", "x".repeat(90))));
        assert_eq!(failure.context.len(), 300);
    }
}
