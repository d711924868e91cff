//! Every error code of the program, for the reference page.

use pipeline_core::error::Code;

/// All codes, sorted by name, each once.
#[cfg_attr(not(test), expect(dead_code, reason = "the reference page is made by a test"))]
pub(crate) fn all() -> Vec<&'static Code> {
    use pipeline_core::{config, contract, error, landing, ledger, load, name, quarantine, run, window};
    let core: [&'static Code; 28] = [
        &error::BUG,
        &error::INTERRUPTED,
        &error::ARROW,
        &config::CONFIG,
        &config::SECRET,
        &contract::CONTRACT,
        &landing::LANDING,
        &landing::LANDING_DENIED,
        &landing::LANDING_MISSING,
        &landing::DISK_FULL,
        &landing::SNAPSHOT,
        &ledger::LEASE,
        &ledger::LEDGER,
        &load::FENCED,
        &load::FORMER_LOST,
        &load::SCHEMA_CHANGE,
        &name::NAME,
        &quarantine::REJECTED,
        &quarantine::REPLAY,
        &run::SELECTION,
        &window::TIME,
        &crate::commands::demo::DEMO,
        &crate::commands::doctor::DOCTOR,
        &crate::commands::quarantine::QUARANTINE_EMPTY,
        &crate::commands::settle::NOT_CONFIRMED,
        &crate::commands::init::EXISTS,
        &crate::commands::schema::SCHEMA_DIFFERS,
        &crate::commands::test::TESTS_FAIL,
    ];
    let mut codes: Vec<&'static Code> = core.to_vec();
    codes.push(&crate::commands::status::RUN_UNKNOWN);
    codes.extend(crate::commands::segment::CODES);
    codes.extend(crate::map::CODES);
    codes.extend(pipeline_extractors::codes());
    codes.extend(pipeline_transforms::errors::CODES);
    codes.extend(pipeline_loaders::codes());
    codes.sort_by_key(|code| code.name);
    codes.dedup_by_key(|code| code.name);
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/reference/errors.md` is made from the codes; `BLESS=1 cargo test -p pipeline errors_page` writes it.
    #[test]
    fn the_errors_page_lists_every_code() {
        let mut page = String::from(
            "# Errors\n\nEvery error has a stable code. The kind decides the exit code and whether a step is tried again.\n\
             This page is made from the code; `BLESS=1 cargo test -p pipeline errors_page` writes it.\n",
        );
        for code in all() {
            page.push_str(&format!(
                "\n## {}\n{}, exit code {}\n\n{}\n\n**What to do:** {}\n",
                code.name,
                code.kind.name(),
                code.kind.exit_code(),
                code.meaning,
                code.remedy
            ));
        }
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/errors.md");
        #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
        if std::env::var("BLESS").is_ok() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &page).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(stored, page, "docs/reference/errors.md is stale: run BLESS=1 cargo test -p pipeline errors_page");
    }

    #[test]
    fn one_name_is_one_code() {
        let codes = all();
        for pair in codes.windows(2) {
            assert!(pair[0].name < pair[1].name);
        }
    }
}
