//! Only the cursor of a document: what decides whether a row is new, without decoding the rest.

use pipeline_core::contract::{ColumnType, Contract};
use pipeline_core::extract::Cursor;
use pipeline_core::window::Timestamp;

use super::element::{self, kind};
use super::number::to_int64;

/// Where the cursor of a table's documents is.
#[derive(Debug, Clone)]
pub struct CursorField {
    path: Vec<Box<[u8]>>,
    is_time: bool,
}

/// A cursor's value: microseconds since 1970 UTC, or a number.
pub type CursorValue = i64;

impl CursorField {
    /// The cursor that a contract names. None if it names none, or a type that documents do not have.
    #[must_use]
    pub fn of(contract: &Contract) -> Option<Self> {
        let column = contract.column(contract.cursor.as_ref()?)?;
        let is_time = match column.data_type {
            ColumnType::Timestamp | ColumnType::Date => true,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => false,
            _ => return None,
        };
        Some(Self { path: column.from.split('.').map(|part| part.as_bytes().into()).collect(), is_time })
    }

    /// The source's path to the cursor, such as `updatedAt`.
    #[must_use]
    pub fn path(&self) -> String {
        let parts: Vec<_> = self.path.iter().map(|part| String::from_utf8_lossy(part)).collect();
        parts.join(".")
    }

    /// Whether the cursor is an instant; else it is a number.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.is_time
    }

    /// The cursor's value in a document; None if it is absent, or of a kind that does not fit.
    #[must_use]
    pub fn read(&self, document: &[u8]) -> Option<CursorValue> {
        let value = element::find(document, &self.path).ok()??;
        match (self.is_time, value.kind) {
            (true, kind::DATE) => value.int64().checked_mul(1_000),
            (true, _) => None,
            (false, _) => to_int64(value).ok(),
        }
    }

    /// The value as a position.
    #[must_use]
    pub fn position(&self, value: CursorValue) -> Cursor {
        if self.is_time { Cursor::Time(Timestamp::from_microseconds(value)) } else { Cursor::Number(value) }
    }
}
