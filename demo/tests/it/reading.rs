//! Reads a dump the plain way: the `bson` crate for documents, every tuple's fields as bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use bson::{Bson, Document};
use chrono::{DateTime, Utc};

use crate::copy_file::{self, Tuple};

/// An order after reading.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: Option<String>,
    pub(crate) store: i64,
    pub(crate) status: String,
    pub(crate) fulfilment: String,
    pub(crate) currency: String,
    pub(crate) placed: DateTime<Utc>,
    pub(crate) promised: Option<DateTime<Utc>>,
    pub(crate) delivered: Option<DateTime<Utc>>,
    pub(crate) updated: i64,
    pub(crate) place: Option<(f64, f64)>,
    /// Subtotal, discount, delivery fee, service fee, tip, tax, total in cents.
    pub(crate) totals: [i128; 7],
    pub(crate) items: Vec<[i128; 4]>,
    pub(crate) promotions: usize,
}

/// A number of any BSON type as cents, if it is exact.
fn cents(value: Option<&Bson>) -> Result<i128, ()> {
    let text = match value {
        None | Some(Bson::Null) => return Ok(0),
        Some(Bson::Int32(number)) => number.to_string(),
        Some(Bson::Int64(number)) => number.to_string(),
        Some(Bson::Double(number)) => number.to_string(),
        Some(Bson::Decimal128(number)) => number.to_string(),
        Some(_) => return Err(()),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if fraction.len() > 2 {
        return Err(());
    }
    format!("{whole}{fraction:0<2}").parse().map_err(|_| ())
}

fn whole(value: Option<&Bson>) -> Result<i128, ()> {
    match value {
        Some(Bson::Int32(number)) => Ok((*number).into()),
        Some(Bson::Int64(number)) => Ok((*number).into()),
        Some(Bson::Double(number)) if number.fract() == 0.0 => Ok(*number as i128),
        _ => Err(()),
    }
}

fn instant(value: Option<&Bson>) -> Result<Option<DateTime<Utc>>, ()> {
    match value {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::DateTime(at)) => DateTime::from_timestamp_millis(at.timestamp_millis()).map(Some).ok_or(()),
        Some(_) => Err(()),
    }
}

fn order(document: &Document) -> Result<Order, ()> {
    let totals = document.get_document("totals").unwrap();
    let names = ["subtotal", "discount", "deliveryFee", "serviceFee", "tip", "tax", "total"];
    let mut amounts = [0; 7];
    for (amount, name) in amounts.iter_mut().zip(names) {
        *amount = cents(totals.get(name))?;
    }
    let mut items = Vec::new();
    for item in document.get_array("items").unwrap() {
        let item = item.as_document().unwrap();
        let mut modifiers = 0;
        for modifier in item.get_array("modifiers").unwrap() {
            modifiers += cents(modifier.as_document().unwrap().get("price"))?;
        }
        items.push([whole(item.get("quantity"))?, cents(item.get("unitPrice"))?, modifiers, cents(item.get("discount"))?]);
    }
    whole(document.get("schemaVersion"))?;
    let place = document.get_document("delivery").ok().and_then(|delivery| delivery.get_document("location").ok()).map(|location| {
        let coordinates = location.get_array("coordinates").unwrap();
        (coordinates[1].as_f64().unwrap(), coordinates[0].as_f64().unwrap())
    });
    let customer = match document.get("customerId").unwrap() {
        Bson::Null => None,
        Bson::String(text) => Some(text.clone()),
        Bson::Binary(binary) => Some(uuid::Uuid::from_slice(&binary.bytes).unwrap().to_string()),
        other => panic!("a customer's id of type {:?}", other.element_type()),
    };
    Ok(Order {
        id: document.get_object_id("_id").unwrap().to_hex(),
        customer,
        store: whole(document.get("storeId"))? as i64,
        status: document.get_str("status").unwrap().to_owned(),
        fulfilment: document.get_str("fulfilment").unwrap().to_owned(),
        currency: totals.get_str("currency").unwrap().to_owned(),
        placed: instant(document.get("placedAt"))?.unwrap(),
        promised: instant(document.get("promisedAt"))?,
        delivered: instant(document.get("deliveredAt"))?,
        updated: document.get_datetime("updatedAt").unwrap().timestamp_millis(),
        place,
        totals: amounts,
        items,
        promotions: document.get_array("promotions").map_or(0, Vec::len),
    })
}

impl Order {
    pub(crate) fn completed(&self) -> bool {
        self.status == "delivered" || self.status == "picked_up"
    }

    pub(crate) fn cancelled(&self) -> bool {
        self.status == "cancelled" || self.status == "failed"
    }

    pub(crate) fn late(&self) -> bool {
        self.completed() && matches!((self.delivered, self.promised), (Some(delivered), Some(promised)) if delivered > promised)
    }
}

pub(crate) struct Dump {
    pub(crate) documents: usize,
    pub(crate) orders: Vec<Order>,
    pub(crate) rejected: usize,
    pub(crate) tables: HashMap<&'static str, Vec<Tuple>>,
}

const TABLES: [&str; 9] = [
    "payments.transactions",
    "delivery.deliveries",
    "delivery.couriers",
    "loyalty.accounts",
    "loyalty.ledger",
    "admin.customers",
    "admin.stores",
    "admin.products",
    "admin.promotions",
];

pub(crate) fn read(directory: &Path) -> Dump {
    let bytes = fs::read(directory.join("mongodb/shop/orders.bson")).unwrap();
    let mut rest = bytes.as_slice();
    let mut latest: BTreeMap<String, Document> = BTreeMap::new();
    let mut documents = 0;
    while !rest.is_empty() {
        let document = Document::from_reader(&mut rest).unwrap();
        documents += 1;
        let id = document.get_object_id("_id").unwrap().to_hex();
        let updated = |document: &Document| document.get_datetime("updatedAt").unwrap().timestamp_millis();
        if latest.get(&id).is_none_or(|before| updated(before) <= updated(&document)) {
            latest.insert(id, document);
        }
    }
    let read: Vec<Result<Order, ()>> = latest.values().map(order).collect();
    let rejected = read.iter().filter(|order| order.is_err()).count();
    let mut orders: Vec<Order> = read.into_iter().flatten().collect();
    orders.sort_by(|left, right| (left.placed, &left.id).cmp(&(right.placed, &right.id)));
    let tables = TABLES.map(|name| (name, copy_file::read(&directory.join(format!("postgres/{name}.copy"))))).into();
    Dump { documents, orders, rejected, tables }
}
