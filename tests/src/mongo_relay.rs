//! A relay of MongoDB's protocol that tells what was asked, and asks for certificates.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bson::{Document, doc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Certificates;
use crate::mongo::Mongo;

/// The least and most bytes of a message: its header, and what servers accept.
const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = 16..=(48 << 20);

/// Numbers of messages (MongoDB's wire protocol, *Opcodes*).
const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// A flag of `OP_MSG`: another message follows without an answer in between.
const MORE_TO_COME: u32 = 1 << 1;

/// Relays MongoDB's protocol to a server of the harness, keeping every command that a client sent.
///
/// With certificates it stands for a server that knows its users by them, which the server behind it cannot: it speaks TLS only, takes only clients that
/// have a certificate of the authority, answers `authenticate` with the mechanism MONGODB-X509 itself, as `mongod` does (a user's name is
/// the certificate's subject), and lets nothing through before that but `hello`.
#[derive(Debug)]
pub struct MongoRelay {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    upstream_port: u16,
    stopped: AtomicBool,
    commands: Mutex<Vec<Document>>,
    open: Mutex<Vec<TcpStream>>,
    /// Numbers of the messages that are the relay's own.
    next: AtomicI32,
    door: Option<Door>,
}

/// Who is let in.
#[derive(Debug)]
struct Door {
    config: Arc<ServerConfig>,
    users: Vec<String>,
}

impl MongoRelay {
    /// Starts relaying to a server, letting everybody in.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(upstream: &Mongo) -> Self {
        Self::start_at(upstream.port(), None)
    }

    /// Starts relaying to a server for these users: subjects of certificates, such as `CN=reader`.
    ///
    /// # Panics
    /// If no port is free, or the certificates cannot be used.
    #[must_use]
    pub fn start_for(upstream: &Mongo, certificates: &Certificates, users: &[&str]) -> Self {
        let certificate_of =
            |name: &str| CertificateDer::from_pem_file(certificates.file(name)).expect("openssl wrote it when the certificates were made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut authority = RootCertStore::empty();
        authority.add(certificate_of("ca.crt")).expect("openssl wrote a certificate");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(authority), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).expect("openssl wrote it when the certificates were made");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has protocol versions")
            .with_client_cert_verifier(clients.build().expect("the authority is known"))
            .with_single_cert(vec![certificate_of("server.crt")], key)
            .expect("the certificate and its key belong together");
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        Self::start_at(upstream.port(), Some(Door { config: Arc::new(config), users }))
    }

    fn start_at(upstream_port: u16, door: Option<Door>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            upstream_port,
            stopped: AtomicBool::new(false),
            commands: Mutex::default(),
            open: Mutex::default(),
            next: AtomicI32::new(1),
            door,
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&accepting);
                // A connection that breaks, or is refused, is its client's to complain about.
                std::thread::spawn(move || drop(state.serve(client)));
            }
        });
        Self { port, state }
    }

    /// The port to use instead of the server's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The commands of this name that clients have sent so far, each with its `$db` and what else the driver added.
    #[must_use]
    pub fn commands(&self, name: &str) -> Vec<Document> {
        let commands = self.state.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.iter().filter(|command| name_of(command) == name).cloned().collect()
    }
}

impl Drop for MongoRelay {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the flag and lets go of the port.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        for stream in self.state.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl State {
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream_port))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        let Some(door) = &self.door else { return self.relay(client, server, None) };
        let mut secured = StreamOwned::new(ServerConnection::new(Arc::clone(&door.config)).map_err(io::Error::other)?, client);
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock)?;
        }
        let certificate = secured.conn.peer_certificates().and_then(|certificates| certificates.first());
        let subject = subject_of(certificate.ok_or(io::ErrorKind::PermissionDenied)?)?;
        self.relay(secured, server, Some((subject, &door.users)))
    }

    /// Passes requests and their answers on, one after the other: so clients use a connection.
    fn relay(&self, mut client: impl Read + Write, mut server: TcpStream, user: Option<(String, &Vec<String>)>) -> io::Result<()> {
        let mut is_let_in = user.is_none();
        while let Some(request) = Message::read(&mut client)? {
            let command = request.command()?;
            self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command.clone());
            if let Some((subject, users)) = &user {
                let name = name_of(&command).to_ascii_lowercase();
                let answer = if name == "authenticate" {
                    is_let_in = command.get_str("mechanism").is_ok_and(|mechanism| mechanism == "MONGODB-X509")
                        && command.get_str("username").unwrap_or(subject) == subject
                        && users.contains(subject);
                    Some(if is_let_in {
                        doc! {"dbname": "$external", "user": subject, "ok": 1.0}
                    } else {
                        doc! {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed"}
                    })
                } else if !is_let_in && !["hello", "ismaster"].contains(&name.as_str()) {
                    Some(doc! {"ok": 0.0, "errmsg": "Command requires authentication", "code": 13, "codeName": "Unauthorized"})
                } else {
                    None
                };
                if let Some(answer) = answer {
                    client.write_all(&request.answer(self.next.fetch_add(1, Ordering::Relaxed), &answer)?)?;
                    client.flush()?;
                    continue;
                }
            }
            server.write_all(&request.bytes)?;
            let mut is_answered = request.is_more_to_come();
            while !is_answered {
                let answer = Message::read(&mut server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                client.write_all(&answer.bytes)?;
                client.flush()?;
                is_answered = !answer.is_more_to_come();
            }
        }
        Ok(())
    }
}

/// The subject of a certificate, as MongoDB names its user (RFC 2253).
fn subject_of(certificate: &CertificateDer<'_>) -> io::Result<String> {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    openssl.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(certificate)?;
    let output = openssl.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().trim_start_matches("subject=").to_owned())
}

/// A command's name is its first key.
fn name_of(command: &Document) -> &str {
    command.keys().next().map_or("", String::as_str)
}

/// A message as it passed.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// The next message; None at the end of the connection.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let bytes = usize::try_from(i32::from_le_bytes(length)).ok().filter(|bytes| MESSAGE_BYTES.contains(bytes));
        let mut message = length.to_vec();
        message.resize(bytes.ok_or(io::ErrorKind::InvalidData)?, 0);
        from.read_exact(message.get_mut(4..).unwrap_or_default())?;
        Ok(Some(Self { bytes: message }))
    }

    fn number(&self, place: usize) -> i32 {
        let bytes = self.bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i32::from_le_bytes)
    }

    fn identifier(&self) -> i32 {
        self.number(4)
    }

    fn operation(&self) -> i32 {
        self.number(12)
    }

    fn is_more_to_come(&self) -> bool {
        self.operation() == OP_MSG && self.number(16).cast_unsigned() & MORE_TO_COME != 0
    }

    /// What is asked, without the documents that are sent beside it.
    fn command(&self) -> io::Result<Document> {
        let body = match self.operation() {
            // Flags; then the kind of the first section, which drivers let be the body.
            OP_MSG => self.bytes.get(21..),
            // Flags; a collection's name, ended by a zero; how many to leave out and to give.
            OP_QUERY => {
                let rest = self.bytes.get(20..).unwrap_or_default();
                rest.iter().position(|byte| *byte == 0).and_then(|end| rest.get(end + 9..))
            }
            _ => None,
        };
        Document::from_reader(body.unwrap_or_default()).map_err(io::Error::other)
    }

    /// The bytes of an answer to this message.
    fn answer(&self, identifier: i32, document: &Document) -> io::Result<Vec<u8>> {
        let (operation, before): (i32, &[u8]) = match self.operation() {
            // Flags, cursor, where it starts; one document.
            OP_QUERY => (OP_REPLY, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            _ => (OP_MSG, &[0, 0, 0, 0, 0]),
        };
        let document = document.to_vec().map_err(io::Error::other)?;
        let length = i32::try_from(16 + before.len() + document.len()).map_err(io::Error::other)?;
        let header: Vec<u8> = [length, identifier, self.identifier(), operation].iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok([&header, before, &document].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(operation: i32, body: &[u8]) -> Message {
        let length = i32::try_from(16 + body.len()).unwrap();
        let header: Vec<u8> = [length, 7, 0, operation].iter().flat_map(|number| number.to_le_bytes()).collect();
        Message::read(&mut [header, body.to_vec()].concat().as_slice()).unwrap().unwrap()
    }

    #[test]
    fn both_forms_of_a_command_are_understood_and_answered_in_kind() {
        let ping = doc! {"ping": 1, "$db": "admin"}.to_vec().unwrap();
        let asked = message(OP_MSG, &[&[0, 0, 0, 0, 0], ping.as_slice()].concat());
        let old = message(OP_QUERY, &[&[0; 4], b"admin.$cmd\0".as_slice(), &[0; 8], &ping].concat());
        for (asked, operation) in [(asked, OP_MSG), (old, OP_REPLY)] {
            assert_eq!(name_of(&asked.command().unwrap()), "ping");
            let answer = Message { bytes: asked.answer(9, &doc! {"ok": 1}).unwrap() };
            assert_eq!((answer.operation(), answer.identifier(), answer.number(8)), (operation, 9, 7));
            assert!(!asked.is_more_to_come());
        }
        assert!(message(OP_MSG, &[2, 0, 0, 0, 0]).is_more_to_come());
    }
}
