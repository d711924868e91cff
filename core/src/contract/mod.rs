//! What a table promises: its columns, their types, its key, and what is private.
//!
//! A contract is declared in configuration (for what is read) or beside a model (for what is made). A value that does not
//! fit its column is never changed or nulled: the row goes to quarantine.

mod column_type;
mod parse;
mod widening;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

pub use column_type::{ColumnType, Only, StructField, TEXT_BYTES_DEFAULT};
pub use parse::parse_column;
pub use widening::holds;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::name::{ColumnName, TableName};

/// The column that holds fields nobody declared, as one JSON object.
pub const EXTRA_COLUMN: &str = "_extra";

/// The last column of a set of changes: true where the row's key is gone.
pub const DELETED_COLUMN: &str = "_deleted";

/// A contract contradicts itself or its text cannot be read.
pub static CONTRACT: Code = Code {
    name: "E-CONTRACT",
    kind: ErrorKind::Usage,
    meaning: "A table's declared columns, types or keys contradict each other or cannot be read.",
    remedy: "Correct the table's declaration; `pipeline config check` points at what is wrong.",
};

/// What may leave the source, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// Not personal.
    #[default]
    None,
    /// Replaced by HMAC-SHA256 with the project's key, as 64 hexadecimal digits: joins still work.
    Hash,
    /// Replaced by asterisks, so that only its presence is known.
    Mask,
    /// Never read: the column is NULL.
    Drop,
    /// Personal, and kept in the clear on purpose.
    Keep,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in lake and warehouse.
    pub name: ColumnName,
    /// Where the source has it: a column's or field's name, or a path such as `totals.total` or `coordinates.0`.
    pub from: String,
    /// Its type.
    pub data_type: ColumnType,
    /// Whether NULL fits.
    pub nullable: bool,
    /// How its values are protected before anything is written.
    pub privacy: Privacy,
    /// Restricts the column to one kind of source value; values of other kinds make it NULL instead of a misfit.
    pub only: Option<Only>,
    /// What it means, for people.
    pub description: String,
}

impl Column {
    /// The Arrow field of this column. Hashed and masked columns are text whatever they were.
    #[must_use]
    pub fn field(&self) -> Field {
        let data_type = match self.privacy {
            Privacy::Hash | Privacy::Mask => arrow::datatypes::DataType::Utf8,
            Privacy::None | Privacy::Drop | Privacy::Keep => self.data_type.arrow(),
        };
        Field::new(self.name.as_str(), data_type, self.nullable)
    }
}

/// What a table promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// The table.
    pub table: TableName,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The columns that identify a row; empty for append-only tables without identity.
    pub key: Vec<ColumnName>,
    /// The column that grows when a row changes (for example `updated_at`): what incremental reading and windows cut on.
    pub cursor: Option<ColumnName>,
    /// What one row is.
    pub description: String,
}

impl Contract {
    /// Where the source has what a column's path means, such as `items.unitPrice` for `items.unit_price`; None if there is no such column.
    #[must_use]
    pub fn source_path(&self, path: &str) -> Option<String> {
        let mut names = path.split('.');
        let name = names.next()?;
        let column = self.columns.iter().find(|column| column.name.as_str() == name)?;
        let (mut place, mut data_type) = (column.from.clone(), &column.data_type);
        for name in names {
            while let ColumnType::List(item) = data_type {
                data_type = item;
            }
            let ColumnType::Struct(fields) = data_type else { return None };
            let field = fields.iter().find(|field| field.name == name)?;
            place = format!("{place}.{}", field.from);
            data_type = &field.data_type;
        }
        Some(place)
    }

    /// Checks that names are unique, that key and cursor exist, and that keys cannot be NULL.
    ///
    /// # Errors
    /// [`CONTRACT`], naming the table and the column.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(&CONTRACT, format!("contract of table \"{}\" {what}", self.table)));
        if self.columns.is_empty() {
            return wrong("has no columns".to_owned());
        }
        for (index, column) in self.columns.iter().enumerate() {
            if self.columns.iter().take(index).any(|other| other.name == column.name) {
                return wrong(format!("declares column \"{}\" twice", column.name));
            }
        }
        for key in &self.key {
            match self.column(key) {
                None => return wrong(format!("has the key \"{key}\", which is not one of its columns")),
                Some(column) if column.nullable => {
                    return wrong(format!("lets the key column \"{key}\" be NULL"));
                }
                Some(_) => {}
            }
        }
        if let Some(cursor) = &self.cursor {
            match self.column(cursor).map(|column| &column.data_type) {
                None => return wrong(format!("has the cursor \"{cursor}\", which is not one of its columns")),
                Some(ColumnType::Timestamp | ColumnType::LocalTimestamp | ColumnType::Date) => {}
                Some(ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64) => {}
                Some(other) => return wrong(format!("has a cursor \"{cursor}\" of type {other}, which does not grow")),
            }
        }
        Ok(())
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &ColumnName) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    /// The Arrow schema of the table's batches, in contract order.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// The schema of a set of changes: every column NULL-able but the key, then [`DELETED_COLUMN`].
    #[must_use]
    pub fn changes_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.columns.iter().map(|column| column.field().with_nullable(!self.key.contains(&column.name))).collect();
        fields.push(Field::new(DELETED_COLUMN, arrow::datatypes::DataType::Boolean, false));
        Arc::new(Schema::new(fields))
    }
}
