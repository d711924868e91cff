//! How long decoding takes. Run it optimized, by name:
//!
//! ```text
//! cargo test --release -p pipeline-extractors --test suite -- --ignored --nocapture speed
//! ```

use std::time::Instant;

use mongodb::bson::{Bson, DateTime, Decimal128, Document, doc, oid::ObjectId};
use pipeline_core::contract::Contract;
use pipeline_extractors::bson::Decoder;

/// Different documents to go through again and again.
const DOCUMENTS: u32 = 5_000;
const ROUNDS: u32 = 20;

/// An order of about 1.4 KB, with one to four items.
fn order(n: u32) -> Document {
    let decimal = |cents: u32| Bson::Decimal128(format!("{}.{:02}", cents / 100, cents % 100).parse::<Decimal128>().unwrap());
    let at = |minutes: u32| DateTime::from_millis(1_735_689_600_000 + i64::from(n * 60 + minutes) * 60_000);
    let mut id = [0_u8; 12];
    id[8..].copy_from_slice(&n.to_be_bytes());
    let item = |i: u32| {
        doc! {"sku": format!("SKU{i:04}"), "name": format!("Item name {}", n % 400), "category": "pizza", "quantity": 2, "unitPrice": decimal(1_250 + n % 900),
        "modifiers": [{"name": "extra cheese", "price": decimal(300)}], "discount": decimal(0)}
    };
    let history: Vec<_> = ["placed", "accepted", "preparing", "on_the_way", "delivered"]
        .into_iter()
        .map(|status| doc! {"status": status, "at": at(7)})
        .collect();
    let items: Vec<_> = (0..=n % 4).map(item).collect();
    doc! {
        "_id": ObjectId::from_bytes(id), "orderNumber": format!("W-2025-{n:08}"), "schemaVersion": 3,
        "customerId": "5f9f1c1e-3a64-4d9a-8f4e-0123456789ab", "storeId": 17, "channel": "ios", "fulfilment": "delivery", "status": "delivered",
        "statusHistory": history,
        "placedAt": at(0), "promisedAt": at(45), "deliveredAt": at(40), "updatedAt": at(90),
        "items": items,
        "totals": {"subtotal": decimal(9_000), "discount": decimal(0), "deliveryFee": decimal(700), "serviceFee": decimal(100), "tip": decimal(0),
            "tax": decimal(750), "total": decimal(9_800), "currency": "PLN"},
        "delivery": {"address": {"street": "ul. Marszałkowska 17", "city": "Warszawa", "postcode": "00-123", "country": "PL"},
            "location": {"type": "Point", "coordinates": [21.012_345, 52.212_345]}, "zoneId": "Z12", "notes": null},
        "promotions": [], "rating": {"stars": 5, "comment": "ok", "at": at(300)}, "device": {"os": "android", "version": "14"},
    }
}

fn rate(contract: &Contract, documents: &[Vec<u8>]) -> f64 {
    let begin = Instant::now();
    let mut decoder = Decoder::new(contract, None).unwrap();
    let mut rows = 0;
    for _ in 0..ROUNDS {
        for document in documents {
            decoder.append(document).unwrap();
            if decoder.is_full() {
                rows += decoder.finish().unwrap().num_rows();
            }
        }
    }
    rows += decoder.finish().unwrap().num_rows();
    assert_eq!(rows, documents.len() * ROUNDS as usize);
    begin.elapsed().as_secs_f64() * 1e6 / rows as f64
}

#[test]
#[ignore = "a measurement, not a test"]
fn speed_of_decoding_orders() {
    let documents: Vec<Vec<u8>> = (0..DOCUMENTS).map(|n| order(n).to_vec().unwrap()).collect();
    let bytes: usize = documents.iter().map(Vec::len).sum();
    let microseconds = rate(&super::orders::contract("orders"), &documents);
    let average = bytes as f64 / documents.len() as f64;
    println!("{microseconds:.2} microseconds a document of {average:.0} bytes: {:.0} MB/s", average / microseconds);
}
