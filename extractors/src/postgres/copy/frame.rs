//! The frame around tuples: a header, tuples of counted fields, a trailer.

/// What every file begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Bits of the header's flags that a reader must know; there is none it does (bit 16 stood for object ids, which PostgreSQL 12 removed).
const FLAGS_CRITICAL: u32 = 0xffff_0000;

/// Longest field that PostgreSQL stores (`MaxAllocSize`), which a wrong length exceeds soon.
const FIELD_BYTES_MAX: usize = 1 << 30;

/// Longest tuple: PostgreSQL puts one together in a single allocation before it is sent (`src/backend/commands/copyto.c`), so what claims
/// to be longer is no tuple, and is not waited for.
const TUPLE_BYTES_MAX: usize = FIELD_BYTES_MAX;

/// Longest extension of a header that is passed over; none is defined yet.
const EXTENSION_BYTES_MAX: usize = 1 << 20;

/// Why reading stops.
#[derive(Debug)]
pub(in crate::postgres) enum Stop {
    /// The bytes are not in the format: what they are, or have.
    Broken(&'static str),
    /// Taking a tuple failed.
    Failed(pipeline_core::error::Error),
}

/// Where in the data the reading is.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Frame {
    phase: Phase,
    /// The beginning of what the last chunk did not hold wholly.
    pending: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Header,
    Tuples,
    Ended,
}

/// What stands at the head of some bytes.
enum Head {
    /// Not enough of it yet.
    Incomplete,
    /// So many bytes that belong together.
    Whole(usize),
    /// The end of all tuples.
    Trailer,
}

impl Frame {
    /// Whether the trailer was seen.
    pub(in crate::postgres) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes a chunk and hands every whole tuple to `take`.
    pub(in crate::postgres) fn push(&mut self, chunk: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.pending.is_empty() {
            let used = self.read(chunk, &mut take)?;
            self.pending.extend_from_slice(chunk.get(used..).unwrap_or_default());
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(chunk);
            let used = self.read(&pending, &mut take)?;
            pending.drain(..used);
            self.pending = pending;
        }
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), Stop>) -> Result<usize, Stop> {
        let mut rest = bytes;
        loop {
            let head = match self.phase {
                Phase::Header => header(rest)?,
                Phase::Tuples => tuple(rest)?,
                Phase::Ended if rest.is_empty() => Head::Incomplete,
                Phase::Ended => return Err(Stop::Broken("goes on behind its trailer")),
            };
            match head {
                Head::Incomplete => return Ok(bytes.len() - rest.len()),
                Head::Trailer => {
                    self.phase = Phase::Ended;
                    rest = rest.get(2..).unwrap_or_default();
                }
                Head::Whole(length) => {
                    let (whole, after) = rest.split_at_checked(length).ok_or(Stop::Broken("ends early"))?;
                    if self.phase == Phase::Header {
                        self.phase = Phase::Tuples;
                    } else {
                        take(whole)?;
                    }
                    rest = after;
                }
            }
        }
    }
}

fn header(bytes: &[u8]) -> Result<Head, Stop> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) {
        return Err(Stop::Broken("does not begin as COPY's binary format does"));
    }
    let number = |place: usize| bytes.get(place..place + 4).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_be_bytes);
    let (Some(flags), Some(extension)) = (number(11), number(15)) else { return Ok(Head::Incomplete) };
    if flags & FLAGS_CRITICAL != 0 {
        return Err(Stop::Broken("has flags in its header that are not known"));
    }
    let extension = usize::try_from(extension).ok().filter(|length| *length <= EXTENSION_BYTES_MAX);
    let length = extension.ok_or(Stop::Broken("has a header of an impossible length"))? + 19;
    Ok(if bytes.len() < length { Head::Incomplete } else { Head::Whole(length) })
}

fn tuple(bytes: &[u8]) -> Result<Head, Stop> {
    let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else { return Ok(Head::Incomplete) };
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        return Ok(Head::Trailer);
    }
    if count < 0 {
        return Err(Stop::Broken("has a tuple with an impossible number of columns"));
    }
    let mut total = 0;
    for _ in 0..count {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(Head::Incomplete) };
        let length = match i32::from_be_bytes(*length) {
            -1 => 0,
            length => usize::try_from(length)
                .ok()
                .filter(|length| *length <= FIELD_BYTES_MAX)
                .ok_or(Stop::Broken("has a value of an impossible length"))?,
        };
        total += length;
        if total > TUPLE_BYTES_MAX {
            return Err(Stop::Broken("has a tuple of an impossible length"));
        }
        let Some(after) = after.get(length..) else { return Ok(Head::Incomplete) };
        rest = after;
    }
    Ok(Head::Whole(bytes.len() - rest.len()))
}

/// The bytes of a whole tuple's field at a place; None if it is NULL or not there.
pub(in crate::postgres) fn field(tuple: &[u8], place: usize) -> Option<&[u8]> {
    let mut wire = super::wire::Wire(tuple.get(2..)?);
    for _ in 0..place {
        wire.field().ok()?;
    }
    wire.field().ok()?
}
