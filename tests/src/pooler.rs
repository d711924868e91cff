//! A pooler in front of PostgreSQL.

use std::path::Path;

use crate::postgres::{Postgres, as_owner, give_to_owner};
use crate::server::{Server, StartError, start};
use crate::{keeper, port};

/// PgBouncer, which gives its clients another server connection for each transaction, or for each session.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    _server: Server,
}

impl Pooler {
    /// Starts a pooler in a mode (`transaction`, `session`), with more lines of its configuration.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not start.
    #[must_use]
    pub fn start(postgres: &Postgres, mode: &str, more: &str) -> Self {
        start(|| Self::attempt(postgres, mode, more))
    }

    fn attempt(postgres: &Postgres, mode: &str, more: &str) -> Result<Self, StartError> {
        let folder = keeper::folder("pgbouncer");
        let port = port::free();
        let url = postgres.url("any");
        let login = url.strip_prefix("postgres://").and_then(|rest| rest.split_once('@')).and_then(|(login, _)| login.split_once(':'));
        let (user, password) = login.expect("the harness' own URL has user and password");
        let file = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\npool_mode = {mode}\n{more}\n",
            postgres.port()
        );
        std::fs::write(&file, text).expect("the folder was made a moment ago");
        give_to_owner(&folder);
        give_to_owner(&file);
        let mut command = as_owner(Path::new("/usr/sbin/pgbouncer"));
        command.arg(&file).current_dir("/");
        let server = Server::spawn("pgbouncer", "INT", &folder, &mut command);
        let (server, ()) = server.ready(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ()))?;
        Ok(Self { port, _server: server })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
