//! Instructions that the decoders take for a row, counted by valgrind and compared with the figures in `instructions.toml`.
//!
//! Seconds depend on what else a machine does; counted instructions do not, so that a test can tell when a decoder has become slower. The
//! figures are of the unoptimized build that all tests use: they say by how much a change makes a decoder dearer, not how fast it is. On one
//! machine they repeat to a millionth. They are of one compiler: with another nothing is compared. Another C library or processor, whose copying
//! of memory is another, may need new ones.
//!
//! `BLESS=1 cargo test -p pipeline-extractors --lib instructions` writes the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measured::{ROWS, cases};

/// By how much a count may be greater than its figure, in parts of a thousand.
const MORE_MAX_PER_THOUSAND: u64 = 30;

/// What is counted: valgrind looks for this function's name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Without something behind it the call could become a jump, and this function would be left before the work began.
    black_box(());
}

#[test]
#[ignore = "what valgrind runs"]
fn every_case_once() {
    for case in cases() {
        let mut work = Some((case.prepare)());
        counted(&mut || work.take().unwrap()());
    }
}

/// Counts every case; None where there is no valgrind.
fn count() -> Option<BTreeMap<String, u64>> {
    let folder = tempfile::tempdir().unwrap();
    // Not a pattern: those have no dumps.
    let name = format!("{}::counted", module_path!());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--toggle-collect={name}"), &format!("--dump-after={name}")])
        .arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()))
        .arg(std::env::current_exe().unwrap())
        .args(["instructions::every_case_once", "--exact", "--ignored", "--test-threads=1"])
        .output()
        .ok()?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let counts = cases().into_iter().enumerate().map(|(index, case)| {
        let dump = std::fs::read_to_string(folder.path().join(format!("counts.{}", index + 1))).unwrap();
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        (case.name, total.trim().parse::<u64>().unwrap() / u64::from(ROWS))
    });
    Some(counts.collect())
}

fn figures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/instructions.toml")
}

/// The compiler, as it calls itself.
fn compiler() -> String {
    let output = Command::new("rustc").arg("-V").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn bless(counts: &BTreeMap<String, u64>) {
    let mut text = format!(
        "# Instructions that decoders take for a row in the build of the tests. Made by\n\
         # `BLESS=1 cargo test -p pipeline-extractors --lib instructions`; do not edit.\n\
         compiler = \"{}\"\n\n[instructions_per_row]\n",
        compiler()
    );
    for (name, count) in counts {
        writeln!(text, "\"{name}\" = {count}").unwrap();
    }
    std::fs::write(figures(), text).unwrap();
}

/// Where counting makes sense: valgrind is at home there, and the tests are not optimized.
const IS_COUNTED: bool = cfg!(all(target_os = "linux", target_arch = "x86_64", debug_assertions));

/// Shown also when the test passes.
fn tell(text: &str) {
    writeln!(std::io::stderr(), "instructions: {text}").unwrap();
}

#[test]
fn no_decoder_needs_more_instructions() {
    if !IS_COUNTED {
        return tell("not counted on this machine or in this build");
    }
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the test, not by the program")]
    let is_blessing = std::env::var("BLESS").is_ok();
    let figures: toml::Table = if is_blessing { toml::Table::new() } else { std::fs::read_to_string(figures()).unwrap().parse().unwrap() };
    if !is_blessing && figures["compiler"].as_str() != Some(compiler().as_str()) {
        return tell(&format!("not compared: the figures are of {}", figures["compiler"]));
    }
    let Some(counts) = count() else { return tell("not counted: valgrind is not installed") };
    if is_blessing {
        return bless(&counts);
    }
    let figures = figures["instructions_per_row"].as_table().unwrap();
    let names: Vec<&String> = figures.keys().collect();
    let mut more = Vec::new();
    for (name, count) in &counts {
        let figure = figures.get(name).and_then(toml::Value::as_integer).map_or(0, |figure| u64::try_from(figure).unwrap());
        if *count * 1_000 > figure * (1_000 + MORE_MAX_PER_THOUSAND) {
            more.push(format!("{name}: {count} instead of {figure}"));
        } else if *count * 1_000 < figure * (1_000 - MORE_MAX_PER_THOUSAND) {
            tell(&format!("{name} needs only {count} instead of {figure}: lower the figure with BLESS=1"));
        }
    }
    assert!(names.iter().all(|name| counts.contains_key(*name)), "instructions.toml has a figure of what is not counted");
    assert!(more.is_empty(), "more instructions per row than instructions.toml says:\n{}\n", more.join("\n"));
}
