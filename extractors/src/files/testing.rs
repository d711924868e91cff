//! What the tests of this module share.

use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::name::{ColumnName, TableName};

/// A contract of `shop.TABLE`, its columns read from fields of the same name.
pub(super) fn contract(table: &str, columns: &[(&str, &str)], cursor: Option<&str>) -> Contract {
    let columns =
        columns.iter().map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap()).collect();
    let contract = Contract {
        table: TableName::new("shop", table).unwrap(),
        columns,
        key: Vec::new(),
        cursor: cursor.map(|name| ColumnName::new(name).unwrap()),
        description: String::new(),
    };
    contract.check().unwrap();
    contract
}
