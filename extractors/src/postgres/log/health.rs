//! How much of the log a table's slot keeps, in words.

use pipeline_core::error::Result;

use super::super::connection::{Connections, close};
use super::slot::{self, Slot};

/// What somebody who runs the server should know of a slot; None if there is none yet.
pub(in crate::postgres) async fn health(connections: &Connections, slot: &str) -> Result<Option<String>> {
    let mut connection = connections.open().await?;
    let found = slot::find(connections, &mut connection, slot, "the replication slots could not be looked at").await?;
    close(connection).await;
    Ok(found.map(|found| described(slot, &found)))
}

fn described(slot: &str, found: &Slot) -> String {
    let limit = match found.safe_bytes {
        None => String::new(),
        Some(bytes) if bytes <= 0 => ", and loses it at the next checkpoint of the server".to_owned(),
        Some(bytes) => format!(", and loses it after {} more", size(bytes.unsigned_abs())),
    };
    if found.is_lost {
        format!("slot \"{slot}\" is lost: the server removed its log")
    } else {
        format!("slot \"{slot}\" is {} behind and keeps {} of log{limit}", size(found.behind_bytes), size(found.kept_bytes))
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_told_in_words() {
        let mut slot =
            Slot { confirmed: None, is_lost: false, is_foreign: false, kept_bytes: 5 << 29, behind_bytes: 700, safe_bytes: Some(3 << 20) };
        assert_eq!(described("s", &slot), "slot \"s\" is 700 bytes behind and keeps 2.5 GiB of log, and loses it after 3.0 MiB more");
        slot.safe_bytes = None;
        assert_eq!(described("s", &slot), "slot \"s\" is 700 bytes behind and keeps 2.5 GiB of log");
        slot.safe_bytes = Some(-1);
        assert!(described("s", &slot).ends_with("loses it at the next checkpoint of the server"));
        slot.is_lost = true;
        assert!(described("s", &slot).contains("lost"));
    }
}
