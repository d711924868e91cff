//! A TCP relay that fails when told to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Relays connections to a server of the harness, and cuts, delays or swallows them. It knows nothing of what passes.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    upstream_port: u16,
    stopped: AtomicBool,
    refusing: AtomicBool,
    silent: AtomicBool,
    delay_ms: AtomicU64,
    /// Bytes that may still come back from the server before every connection is cut; `u64::MAX` is no limit.
    answer_bytes_left: AtomicU64,
    connections: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl FaultProxy {
    /// Starts relaying to a port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(upstream_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State { upstream_port, answer_bytes_left: AtomicU64::new(u64::MAX), ..State::default() });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                if !accepting.refusing.load(Ordering::SeqCst) {
                    accepting.relay(&client);
                }
            }
        });
        Self { port, state }
    }

    /// The port to use instead of the server's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Cuts every open connection; new ones are served.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Closes new connections at once, or serves them again.
    pub fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Takes what clients send and passes nothing on in either direction, as a network that drops packets; or relays again.
    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// Delays every piece that passes.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Once the server has sent so many more bytes, over all connections, cuts them all; then there is no limit again.
    pub fn cut_after(&self, answer_bytes: u64) {
        self.state.answer_bytes_left.store(answer_bytes, Ordering::SeqCst);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the flag and lets go of the port.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        self.state.cut();
    }
}

impl State {
    fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn relay(self: &Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream_port)) else { return };
        for stream in [client, &server] {
            drop(stream.set_nodelay(true));
        }
        let (Ok(client_reader), Ok(server_reader), Ok(client_kept), Ok(server_kept)) =
            (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone())
        else {
            return;
        };
        let Ok(client_writer) = client.try_clone() else { return };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend([client_kept, server_kept]);
        let state = Arc::clone(self);
        std::thread::spawn(move || state.pass(client_reader, server, false));
        let state = Arc::clone(self);
        std::thread::spawn(move || state.pass(server_reader, client_writer, true));
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_answer: bool) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(bytes) = from.read(&mut buffer) {
            if bytes == 0 {
                break;
            }
            let delay_ms = self.delay_ms.load(Ordering::SeqCst);
            if delay_ms > 0 {
                std::thread::sleep(Duration::from_millis(delay_ms));
            }
            if self.silent.load(Ordering::SeqCst) {
                continue;
            }
            let mut passing = bytes;
            let mut cut = false;
            if is_answer {
                let taken = self.answer_bytes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                    u64::MAX => None,
                    left if left <= bytes as u64 => Some(u64::MAX),
                    left => Some(left - bytes as u64),
                });
                if let Ok(left) = taken
                    && left <= bytes as u64
                {
                    passing = usize::try_from(left).unwrap_or(bytes);
                    cut = true;
                }
            }
            let piece = buffer.get(..passing).unwrap_or_default();
            if to.write_all(piece).is_err() {
                break;
            }
            if cut {
                self.cut();
                break;
            }
        }
        drop(from.shutdown(Shutdown::Read));
        drop(to.shutdown(Shutdown::Write));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    drop(std::io::copy(&mut reader, &mut stream));
                });
            }
        });
        port
    }

    fn connect(proxy: &FaultProxy) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    #[test]
    fn relays_and_cuts() {
        let proxy = FaultProxy::start(echo());
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let mut buffer = [0; 5];
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
        proxy.cut();
        assert_eq!(client.read(&mut buffer).unwrap_or(0), 0);
        assert_eq!(proxy.connections(), 1);
    }

    #[test]
    fn cuts_an_answer_in_the_middle_and_serves_the_next() {
        let proxy = FaultProxy::start(echo());
        proxy.cut_after(3);
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let mut text = Vec::new();
        drop(client.read_to_end(&mut text));
        assert_eq!(text, b"hel");
        let mut client = connect(&proxy);
        client.write_all(b"hello").unwrap();
        let mut buffer = [0; 5];
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
    }

    #[test]
    fn refuses_and_is_silent() {
        let proxy = FaultProxy::start(echo());
        proxy.refuse(true);
        let mut buffer = [0; 5];
        assert_eq!(connect(&proxy).read(&mut buffer).unwrap_or(0), 0);
        proxy.refuse(false);
        proxy.silence(true);
        let mut client = connect(&proxy);
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        client.write_all(b"hello").unwrap();
        assert!(client.read(&mut buffer).is_err(), "nothing may come back");
    }
}
