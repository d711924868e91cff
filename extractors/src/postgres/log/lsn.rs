//! Places in the write-ahead log, and which transactions a snapshot shows.

use std::fmt;

/// A place in the write-ahead log, in bytes from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::postgres) struct Lsn(pub(in crate::postgres) u64);

impl Lsn {
    /// Reads the server's spelling, two hexadecimal halves: `16/B374D848`.
    pub(in crate::postgres) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |text: &str| u32::from_str_radix(text, 16).ok();
        Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }

    /// Reads the spelling of checkpoints.
    pub(super) fn of_checkpoint(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }

    /// Sixteen hexadecimal digits, which compare as the places do.
    pub(super) fn checkpoint(self) -> String {
        format!("{:016X}", self.0)
    }

    /// Where a record ends whose end is this place as `pg_current_wal_insert_lsn` spells it: at the end of a page that function already gives
    /// the place behind the next page's header, which nothing has been written to (`XLogBytePosToRecPtr` in xlog.c; headers have 24 or 40
    /// bytes, `SizeOfXLogShortPHD` and `SizeOfXLogLongPHD` in xlog_internal.h).
    pub(super) fn written_end(self, page_bytes: u64) -> Self {
        const HEADER_BYTES: [u64; 2] = [24, 40];
        let inside = self.0.checked_rem(page_bytes).unwrap_or(0);
        if HEADER_BYTES.contains(&inside) { Self(self.0 - inside) } else { self }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Which transactions a snapshot shows, as `txid_current_snapshot` says it: `xmin:xmax:running,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Visibility {
    /// Older transactions have ended.
    oldest: u32,
    /// This and newer ones had not begun.
    next: u32,
    /// Those between that had not ended.
    running: Vec<u32>,
}

impl Visibility {
    pub(in crate::postgres) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(short);
        let (oldest, next) = (number()?, number()?);
        let running = parts.next().unwrap_or_default().split(',').filter(|text| !text.is_empty()).map(short).collect::<Option<_>>()?;
        Some(Self { oldest, next, running })
    }

    /// Whether a transaction's rows are shown, if it committed.
    pub(super) fn shows(&self, transaction: u32) -> bool {
        // Numbers go round; less than half the circle lies between two that exist (`TransactionIdPrecedes` in transam.c).
        let precedes = |other: u32| transaction.wrapping_sub(other).cast_signed() < 0;
        precedes(self.oldest) || (precedes(self.next) && !self.running.contains(&transaction))
    }
}

/// A transaction's number without its epoch, as the log has it.
fn short(text: &str) -> Option<u32> {
    text.parse::<u64>().ok().and_then(|number| u32::try_from(number & 0xffff_ffff).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_compare_as_checkpoints() {
        let lsn = Lsn::parse("16/B374D848").unwrap();
        assert_eq!((lsn, lsn.to_string()), (Lsn(0x16_B374_D848), "16/B374D848".to_owned()));
        assert_eq!(Lsn::of_checkpoint(&lsn.checkpoint()), Some(lsn));
        assert!(Lsn(0x0F_FFFF_FFFF).checkpoint() < Lsn(0x10_0000_0000).checkpoint());
        for wrong in ["", "16", "16/", "g/0", "2025-01-01"] {
            assert_eq!((Lsn::parse(wrong), Lsn::of_checkpoint(wrong)), (None, None), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_page_is_not_behind_the_next_header() {
        for (given, end) in [(8192 + 24, 8192), (16384 + 40, 16384), (8192 + 32, 8192 + 32), (9000, 9000)] {
            assert_eq!(Lsn(given).written_end(8192), Lsn(end));
        }
    }

    #[test]
    fn a_snapshot_shows_what_had_ended() {
        let visibility = Visibility::parse("100:105:100,103").unwrap();
        let shown: Vec<u32> = (98..108).filter(|transaction| visibility.shows(*transaction)).collect();
        assert_eq!(shown, [98, 99, 101, 102, 104]);
        // The second round of numbers: 2^32 + 2 is written as 2.
        let round = Visibility::parse("4294967294:4294967298:").unwrap();
        assert!(round.shows(4_294_967_293) && round.shows(4_294_967_295) && round.shows(1));
        assert!(!round.shows(2) && !round.shows(50));
        assert_eq!(Visibility::parse("100"), None);
    }
}
