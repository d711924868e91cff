//! The contract of the example's orders, as the default configuration has it in essence.

use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::name::{ColumnName, TableName};

const COLUMNS: &[(&str, &str)] = &[
    ("order_id", "text not null from _id"),
    ("order_number", "text not null"),
    ("schema_version", "int not null"),
    ("customer_id", "uuid"),
    ("store_id", "int not null"),
    ("channel", "text not null"),
    ("fulfilment", "text not null"),
    ("status", "text not null"),
    ("status_history", "list<struct<status text not null, at timestamp not null, by text>>"),
    ("placed_at", "timestamp not null"),
    ("promised_at", "timestamp"),
    ("delivered_at", "timestamp"),
    ("updated_at", "timestamp not null"),
    (
        "items",
        "list<struct<sku text not null, name text, category text, quantity int not null, unit_price decimal(18,2) not null, \
         modifiers list<struct<name text, price decimal(18,2)>>, discount decimal(18,2)>>",
    ),
    (
        "totals",
        "struct<subtotal decimal(18,2), discount decimal(18,2), delivery_fee decimal(18,2), service_fee decimal(18,2), tip decimal(18,2), \
         tax decimal(18,2), total decimal(18,2) not null, currency text not null>",
    ),
    (
        "delivery",
        "struct<address struct<street text, city text, postcode text, country text> only document, address_text text from address only string, \
         longitude double from location.coordinates.0, latitude double from location.coordinates.1, zone_id text, notes text>",
    ),
    ("promotions", "list<struct<code text, amount decimal(18,2)>>"),
    ("rating", "struct<stars int, comment text, at timestamp>"),
    ("device", "json"),
    ("_extra", "json"),
];

/// `shop.TABLE` with the columns of orders.
pub(crate) fn contract(table: &str) -> Contract {
    declared(table, COLUMNS, "order_id", "updated_at")
}

/// A contract whose names the source spells in camel case.
pub(crate) fn declared(table: &str, columns: &[(&str, &str)], key: &str, cursor: &str) -> Contract {
    let name = |text: &str| ColumnName::new(text).unwrap();
    let columns = columns.iter().map(|(column, text)| parse_column(&name(column), text, &camel_case).unwrap()).collect();
    let contract = Contract {
        table: TableName::new("shop", table).unwrap(),
        columns,
        key: vec![name(key)],
        cursor: (!cursor.is_empty()).then(|| name(cursor)),
        description: String::new(),
    };
    contract.check().unwrap();
    contract
}

fn camel_case(name: &str) -> String {
    let mut upper = false;
    name.chars().fold(String::new(), |mut text, character| {
        if character == '_' {
            upper = true;
        } else {
            text.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
        text
    })
}
