//! What the tests without servers share: small data sets, what lies in a folder, and two lakes compared.

mod data_tests;
mod forms;
mod input;
mod lineage;
mod marts;
mod privacy;
mod quarantine;
mod runs;
mod segments;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pipeline_tests::{Answers, Outcome, Project, keeper, place};
use serde_json::Value;

/// The command of nearly every test.
pub(crate) const RUN: [&str; 2] = ["run", "nightly"];

/// The files in a folder, each with its bytes: what must not change when nothing may.
pub(crate) type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Reads all files below a folder; one that is missing holds nothing.
pub(crate) fn contents(folder: &Path) -> Contents {
    let mut found = Contents::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), bytes);
            }
        }
    }
    found
}

/// All data of a project: the objects of landing and of the lake.
pub(crate) fn data(project: &Project) -> Contents {
    let mut found = Contents::new();
    for place in ["landing", "lake"] {
        let files = contents(&project.folder().join(".pipeline").join(place));
        found.extend(files.into_iter().map(|(path, bytes)| (Path::new(place).join(path), bytes)));
    }
    found
}

/// Fails, naming the files, unless both are the same to the byte.
pub(crate) fn assert_untouched(before: &Contents, after: &Contents) {
    let differs = |(path, bytes): &(&PathBuf, &Vec<u8>), other: &Contents| other.get(*path) != Some(*bytes);
    let gone: Vec<_> = before.iter().filter(|file| differs(file, after)).map(|(path, _)| path).collect();
    let new: Vec<_> = after.iter().filter(|file| differs(file, before)).map(|(path, _)| path).collect();
    assert!(gone.is_empty() && new.is_empty(), "files were removed or changed: {gone:?}; files are new or changed: {new:?}");
}

/// A data set that `pipeline demo generate` made.
#[derive(Debug)]
pub(crate) struct DataSet {
    /// Its dumps.
    pub(crate) folder: PathBuf,
    /// What must come of them.
    pub(crate) answers: Answers,
}

impl DataSet {
    /// Makes one. The same `size` with another share of changes is the same data a day later.
    pub(crate) fn generate(size: &[&str], change_percent: u32) -> Self {
        let folder = keeper::folder("dumps");
        let percent = change_percent.to_string();
        let mut arguments = vec!["demo", "generate", "--to", folder.to_str().unwrap(), "--replace"];
        arguments.extend(size);
        if change_percent > 0 {
            arguments.extend(["--change-percent", &percent]);
        }
        Project::new().pipeline(&arguments).succeeded();
        let answers = Answers::read(&folder.join("answers.json"));
        Self { folder, answers }
    }

    /// Lets a project read it, at the time its answers are of.
    pub(crate) fn feed(&self, project: &mut Project) {
        lead_to(project, &self.folder);
        // The seeded defects are the same few in every size: in a small one they are more than one percent.
        project.set("profiles.local.project.as_of", self.answers.as_of()).set("sources.shop.tables.orders.max_rejected", "50%");
    }
}

/// Lets a project read the dumps in a folder.
pub(crate) fn lead_to(project: &mut Project, folder: &Path) {
    project
        .set("profiles.local.sources.shop.path", folder.join("mongodb/shop").to_str().unwrap())
        .set("profiles.local.sources.platform.path", folder.join("postgres").to_str().unwrap());
}

/// A copy of the demonstration data in the project's folder, to be spoilt.
pub(crate) fn own_dumps(project: &mut Project) -> PathBuf {
    let folder = project.folder().join("dumps");
    place::copy(&place::fixtures(), &folder);
    lead_to(project, &folder);
    folder
}

/// A copy of the models in the project's folder, to be spoilt.
pub(crate) fn own_models(project: &mut Project) -> PathBuf {
    let folder = project.folder().join("models");
    place::copy(&place::repository().join("sql"), &folder);
    project.set("project.models", folder.to_str().unwrap());
    folder
}

/// Replaces text in a file, which must be there.
pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "\"{}\" does not contain {from:?}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Runs `nightly` to its good end and gives what it reports.
pub(crate) fn run(project: &Project) -> Value {
    project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
}

/// The rows of every table and mart, as text.
pub(crate) fn lake(project: &Project, answers: &Answers) -> BTreeMap<String, Vec<String>> {
    let names = answers.tables().into_iter().chain(answers.marts());
    names.map(|name| (name.to_owned(), project.contents(&format!("SELECT * FROM {name}")))).collect()
}

/// Fails, naming the relations, unless both lakes hold the same rows.
pub(crate) fn assert_same_lake(found: &BTreeMap<String, Vec<String>>, expected: &BTreeMap<String, Vec<String>>) {
    assert!(expected.len() >= 19, "ten tables and nine marts are compared: {:?}", expected.keys());
    assert!(found.keys().eq(expected.keys()));
    for (name, rows) in expected {
        let found = &found[name];
        let missing: Vec<_> = rows.iter().filter(|row| !found.contains(row)).take(3).collect();
        let extra: Vec<_> = found.iter().filter(|row| !rows.contains(row)).take(3).collect();
        assert!(found == rows, "\"{name}\" has {} rows instead of {}; missing: {missing:?}; extra: {extra:?}", found.len(), rows.len());
    }
}

/// Fails unless the program refused with this code, a message, a hint and no word on standard output; gives the error.
pub(crate) fn refused(outcome: &Outcome, exit: i32, code: &str) -> Value {
    let error = outcome.exited(exit).error();
    assert_eq!(error["code"], code, "{outcome}");
    for field in ["kind", "message", "causes", "hint", "docs"] {
        assert!(error.get(field).is_some(), "\"{field}\" is missing: {outcome}");
    }
    let sentence = |field: &str, least: usize| error[field].as_str().is_some_and(|text| text.len() >= least);
    assert!(sentence("message", 10) && sentence("hint", 10), "{outcome}");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with(|first: char| !first.is_uppercase()), "a message begins in lower case: {outcome}");
    error
}

/// The small data set of the kill tests, as it is and a day later, with the lakes that undisturbed runs make of them.
#[derive(Debug)]
pub(crate) struct Small {
    /// The first day.
    pub(crate) base: DataSet,
    /// A day later.
    pub(crate) later: DataSet,
    /// What the base becomes.
    pub(crate) base_lake: BTreeMap<String, Vec<String>>,
    /// What the later becomes when it is read by a lake that knows nothing yet.
    pub(crate) later_lake: BTreeMap<String, Vec<String>>,
    /// The state after one run over the base, to be copied.
    pub(crate) state: PathBuf,
}

/// Made once, for all tests of the process.
pub(crate) static SMALL: LazyLock<Small> = LazyLock::new(|| {
    let size = ["--customers", "40", "--stores", "3", "--days", "4", "--orders", "60", "--seed", "5"];
    let (base, later) = (DataSet::generate(&size, 0), DataSet::generate(&size, 20));
    let undisturbed = |data: &DataSet| {
        let mut project = Project::new();
        data.feed(&mut project);
        assert_eq!(run(&project)["status"], "done");
        data.answers.assert_lake(&project);
        let found = lake(&project, &data.answers);
        (project, found)
    };
    let (first, base_lake) = undisturbed(&base);
    let (_, later_lake) = undisturbed(&later);
    assert_ne!(base_lake, later_lake, "a day later something has changed");
    let state = keeper::folder("state");
    place::copy(&first.folder().join(".pipeline"), &state);
    Small { base, later, base_lake, later_lake, state }
});
