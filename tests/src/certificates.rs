//! Certificates of an authority of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, a server's certificate for `localhost` and a client's, made by openssl for two days.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them in a folder.
    ///
    /// # Panics
    /// If openssl is not installed or refuses.
    #[must_use]
    pub fn make(folder: &Path) -> Self {
        let certificates = Self { folder: folder.to_owned() };
        certificates.openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt");
        for (name, subject, extension) in
            [("server", "localhost", "subjectAltName=DNS:localhost"), ("client", "reader", "extendedKeyUsage=clientAuth")]
        {
            std::fs::write(folder.join(format!("{name}.ext")), extension).expect("the folder is the test's own");
            certificates.openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"));
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt"
            ));
            let both = ["crt", "key"].map(|kind| std::fs::read_to_string(certificates.file(&format!("{name}.{kind}"))));
            let both = both.map(|text| text.expect("openssl wrote it a moment ago")).concat();
            std::fs::write(certificates.file(&format!("{name}.pem")), both).expect("the folder is the test's own");
        }
        certificates
    }

    /// `ca.crt`, `server.crt`, `server.key`, `client.pem` (certificate and key) and so on.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("temporary folders have plain names").to_owned()
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder).output().expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
