//! How much of the log a table's slot keeps, in words.

use pipeline_core::error::Result;
use pipeline_core::extract::{Checkpoint, Cursor};
use pipeline_core::name::TableName;
use pipeline_core::probe::Probe;

use super::super::connection::{Connections, close};
use super::lsn::Lsn;
use super::slot::{self, Slot, check_reach};

/// What to do about a slot that is about to be lost.
const FIX: &str = "Run the pipeline now, which moves the slot; and raise max_slot_wal_keep_size, or run more often.";

/// What somebody who runs the server should know of a table's slot; nothing if there is none and none is needed yet.
pub(in crate::postgres) async fn health(
    connections: &Connections,
    slot: &str,
    table: &TableName,
    after: Option<&Checkpoint>,
) -> Result<Vec<Probe>> {
    let mut connection = connections.open().await?;
    let found = slot::find(connections, &mut connection, slot, "the replication slots could not be looked at").await?;
    close(connection).await;
    let since = after.and_then(|after| match &after.upper {
        Cursor::Log(place) => Lsn::of_checkpoint(place),
        _ => None,
    });
    Ok(probe(slot, table, found.as_ref(), since).into_iter().collect())
}

fn probe(slot: &str, table: &TableName, found: Option<&Slot>, since: Option<Lsn>) -> Option<Probe> {
    let what = format!("slot {slot}");
    if let Some(since) = since
        && let Err(error) = check_reach(found, slot, table, since)
    {
        let causes: String = error.causes().iter().map(|cause| format!(": {cause}")).collect();
        return Some(Probe { what, ok: false, detail: format!("{}{causes}", error.message()), fix: Some(error.remedy().to_owned()) });
    }
    let found = found?;
    // Less than what it keeps already is left: another such stretch, and it is lost.
    let is_short = found.is_lost || found.safe_bytes.is_some_and(|bytes| u64::try_from(bytes).unwrap_or(0) < found.kept_bytes);
    Some(Probe { what, ok: !is_short, detail: described(found), fix: is_short.then(|| FIX.to_owned()) })
}

fn described(found: &Slot) -> String {
    let limit = match found.safe_bytes {
        None => String::new(),
        Some(bytes) if bytes <= 0 => ", and loses it at the next checkpoint of the server".to_owned(),
        Some(bytes) => format!(", and loses it after {} more", size(bytes.unsigned_abs())),
    };
    if found.is_lost {
        "lost: the server removed its log".to_owned()
    } else {
        format!("{} behind and keeps {} of log{limit}", size(found.behind_bytes), size(found.kept_bytes))
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
        let table = TableName::new("platform", "t").unwrap();
        let mut slot = Slot {
            confirmed: Some(Lsn(9)),
            is_lost: false,
            is_foreign: false,
            kept_bytes: 5 << 29,
            behind_bytes: 700,
            safe_bytes: Some(3 << 20),
        };
        let told = |slot: &Slot| probe("s", &table, Some(slot), Some(Lsn(9))).map(|probe| (probe.ok, probe.detail)).unwrap();
        assert_eq!(told(&slot), (false, "700 bytes behind and keeps 2.5 GiB of log, and loses it after 3.0 MiB more".to_owned()));
        slot.safe_bytes = Some(10 << 30);
        assert!(told(&slot).0, "there is room for more than what it keeps");
        slot.safe_bytes = None;
        assert_eq!(told(&slot), (true, "700 bytes behind and keeps 2.5 GiB of log".to_owned()));
        slot.safe_bytes = Some(-1);
        assert!(!told(&slot).0 && told(&slot).1.ends_with("loses it at the next checkpoint of the server"));
        slot.is_lost = true;
        assert!(!told(&slot).0 && told(&slot).1.contains("max_slot_wal_keep_size"));
        assert_eq!(probe("s", &table, None, None), None);
        assert!(!probe("s", &table, None, Some(Lsn(9))).unwrap().ok, "the next run could not go on");
    }
}
