//! Free ports of 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that operating systems give to outgoing connections (Linux: 32768 and up), and low enough that a port plus
/// 10,000 is below them too: the S3 server opens both.
const FIRST: u16 = 13_000;
const COUNT: u16 = 9_000;

/// How far above each port its twin must be free as well.
pub(crate) const TWIN_OFFSET: u16 = 10_000;

/// A port that nobody listens on, nor on its twin. Another process may take it before its server does: starts are tried again.
pub(crate) fn free() -> u16 {
    // Processes that run at once begin at different places.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (offset + step) % COUNT;
        if is_free(port) && is_free(port + TWIN_OFFSET) {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 between {FIRST} and {} is free", FIRST + COUNT);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let first = free();
        let second = free();
        assert_ne!(first, second);
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, second)).unwrap();
        assert!(!is_free(second));
        drop(held);
        assert!(is_free(second));
    }
}
