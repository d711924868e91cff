//! Network addresses as PostgreSQL prints them.
//!
//! Binary form: `network_send` (`src/backend/utils/adt/network.c`): family, bits of the mask, whether it is a `cidr`, number of bytes, bytes.
//! Text: `pg_inet_net_ntop` (`src/port/inet_net_ntop.c`), `macaddr_out` (`mac.c`), `macaddr8_out` (`mac8.c`).

use super::numeric::write_number;
use super::unfit::Unfit;
use super::wire::Wire;

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6` (`src/include/utils/inet.h`) with `AF_INET` as on every system PostgreSQL runs on.
const FAMILY_4: u8 = 2;
const FAMILY_6: u8 = 3;

/// Writes an address. The mask is shown if it is not that of a single host, or if `masked` says so (a `cidr`, or any cast to text).
pub(super) fn write_address(bytes: &[u8], masked: bool, into: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut wire = Wire(bytes);
    let (family, bits, is_cidr, length) = (wire.u8()?, wire.u8()?, wire.u8()?, wire.u8()?);
    let width = match (family, length) {
        (FAMILY_4, 4) => {
            write_4(wire.array::<4>()?, into);
            32
        }
        (FAMILY_6, 16) => {
            write_6(wire.array::<16>()?, into);
            128
        }
        _ => return Err(Unfit::Malformed("its family is unknown")),
    };
    wire.end()?;
    if bits != width || masked || is_cidr != 0 {
        into.push(b'/');
        write_number(into, i64::from(bits));
    }
    Ok(())
}

fn write_4(address: [u8; 4], into: &mut Vec<u8>) {
    for (place, byte) in address.into_iter().enumerate() {
        if place > 0 {
            into.push(b'.');
        }
        write_number(into, i64::from(byte));
    }
}

fn write_6(address: [u8; 16], into: &mut Vec<u8>) {
    let mut words = [0_u16; 8];
    for (word, pair) in words.iter_mut().zip(address.chunks_exact(2)) {
        *word = pair.first_chunk().copied().map_or(0, u16::from_be_bytes);
    }
    // The first of the longest runs of at least two zero words is written as `::`.
    let (mut best, mut best_length) = (0, 1);
    let mut start = 0;
    for run in words.chunk_by(|left, right| (*left == 0) == (*right == 0)) {
        if run.first() == Some(&0) && run.len() > best_length {
            (best, best_length) = (start, run.len());
        }
        start += run.len();
    }
    let skipped = if best_length > 1 { best..best + best_length } else { 8..8 };
    let embeds_4 =
        skipped.start == 0 && (skipped.len() == 6 || (skipped.len() == 7 && words[7] != 1) || (skipped.len() == 5 && words[5] == 0xffff));
    for (place, word) in words.into_iter().enumerate() {
        if skipped.contains(&place) {
            if place == skipped.start {
                into.push(b':');
            }
            continue;
        }
        if place > 0 {
            into.push(b':');
        }
        if place == 6 && embeds_4 {
            let [.., a, b, c, d] = address;
            write_4([a, b, c, d], into);
            break;
        }
        write_hex_word(word, into);
    }
    if skipped.end == 8 && !skipped.is_empty() {
        into.push(b':');
    }
}

fn write_hex_word(word: u16, into: &mut Vec<u8>) {
    let mut is_leading = true;
    for shift in [12, 8, 4, 0] {
        let digit = u8::try_from(word >> shift & 0xf).unwrap_or(0);
        is_leading = is_leading && digit == 0 && shift > 0;
        if !is_leading {
            into.push(hex_digit(digit));
        }
    }
}

/// A hexadecimal digit in lower case.
pub(super) fn hex_digit(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// Writes bytes as hexadecimal digits.
pub(super) fn write_hex(bytes: &[u8], into: &mut Vec<u8>) {
    for byte in bytes {
        into.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
    }
}

/// Writes a hardware address of six or eight bytes.
pub(super) fn write_hardware(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Unfit> {
    if !matches!(bytes.len(), 6 | 8) {
        return Err(Unfit::Malformed("it has another width"));
    }
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 {
            into.push(b':');
        }
        write_hex(&[*byte], into);
    }
    Ok(())
}
