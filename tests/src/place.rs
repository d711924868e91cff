//! Where things are: the repository, our programs, the servers' programs. The only code of the harness that reads the
//! environment or the clock.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's folder.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository")
}

/// The demonstration data set, with its `answers.json`.
#[must_use]
pub fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/demo")
}

/// The names of the project's models, in alphabetical order.
///
/// # Panics
/// If their folder cannot be read.
#[must_use]
pub fn models() -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![repository().join("sql")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder of models can be read") {
            let path = entry.expect("the folder of models can be read").path();
            match path.file_stem().and_then(std::ffi::OsStr::to_str) {
                _ if path.is_dir() => folders.push(path),
                Some(name) if path.extension().is_some_and(|extension| extension == "sql") => names.push(name.to_owned()),
                _ => {}
            }
        }
    }
    names.sort_unstable();
    names
}

/// Copies a folder with all that is in it.
///
/// # Panics
/// If it cannot be read, or the copy not written.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap_or_else(|error| panic!("\"{}\" could not be made: {error}", to.display()));
    let entries = std::fs::read_dir(from).unwrap_or_else(|error| panic!("\"{}\" could not be read: {error}", from.display()));
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap_or_else(|error| panic!("\"{}\" could not be written: {error}", target.display()));
        }
    }
}

/// One of our programs, built beside the test's binary; `CARGO_BIN_EXE_<name>` goes before.
///
/// # Panics
/// If it is not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if let Some(path) = environment(&format!("CARGO_BIN_EXE_{name}")) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the operating system knows the path of a running program");
    // Test binaries lie in <target>/<profile>/deps, programs one folder above.
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("program \"{name}\" is not built\n\nhint: Run `cargo build -p {name}` first."))
}

/// A program of the servers that `tests/services.sh` installs.
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn service(name: &str) -> PathBuf {
    let folder = environment("PIPELINE_SERVICES_BIN").map_or_else(|| repository().join(".services/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "server program \"{name}\" is not in \"{}\"\n\nhint: Run `bash tests/services.sh` first.", folder.display());
    path
}

/// A program of the system's packages, by the first of these names that is in `PATH`.
///
/// # Panics
/// If none is.
#[must_use]
pub fn installed(names: &[&str]) -> PathBuf {
    let folders: Vec<PathBuf> = environment("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let found = names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()));
    found.unwrap_or_else(|| panic!("none of the programs {names:?} is installed\n\nhint: Run `bash tests/services.sh` first."))
}

/// The oldest PostgreSQL the tests use.
const POSTGRES_VERSION_MIN: u32 = 15;

/// A program of the newest PostgreSQL that is installed.
///
/// # Panics
/// If there is none of at least version 15.
#[must_use]
pub fn postgres_program(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = environment("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    // Debian keeps the server's programs out of PATH, a folder a version.
    folders.extend(std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin"))));
    let newest = folders.into_iter().filter_map(|folder| Some((postgres_version(&folder)?, folder))).max();
    match newest {
        Some((version, folder)) if version >= POSTGRES_VERSION_MIN => folder.join(name),
        _ => panic!("PostgreSQL {POSTGRES_VERSION_MIN} or later is not installed\n\nhint: Run `bash tests/services.sh` first."),
    }
}

fn postgres_version(folder: &Path) -> Option<u32> {
    if !["postgres", "initdb", "psql"].iter().all(|program| folder.join(program).is_file()) {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split(|character: char| !character.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

/// An environment variable of the test's process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the harness reads the environment here and nowhere else")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Now, for signatures of requests, which hold for minutes only.
#[expect(clippy::disallowed_methods, reason = "an S3 server refuses signatures of another time than now")]
pub(crate) fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

/// Random hexadecimal text of twice as many characters, for passwords that no other server on this machine shares.
pub(crate) fn random_hex(bytes: usize) -> String {
    use std::io::Read;
    let mut buffer = vec![0; bytes];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut buffer)).expect("every Unix has /dev/urandom");
    hex::encode(buffer)
}
