//! Names what computes models: the sources of this crate and the versions of all dependencies. Results of another build are not gone on from, because a
//! function may give another value.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let mut files = vec![PathBuf::from("../Cargo.lock")];
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        // A package without a lock file is built with one of its own.
        if let Ok(bytes) = std::fs::read(file) {
            (file, bytes).hash(&mut hasher);
        }
    }
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rustc-env=SOURCES_DIGEST={:016x}", hasher.finish());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
