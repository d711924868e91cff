//! What Cargo knows of the workspace: who depends on whom, in which versions.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::place;

/// The workspace's packages and what they depend on, on this machine's platform.
#[derive(Debug)]
pub struct Metadata {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    /// Ids; not those that only tests need.
    dependencies: BTreeSet<String>,
    /// Ids; those that only tests need.
    test_dependencies: BTreeSet<String>,
}

impl Metadata {
    /// Asks Cargo.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn read() -> Self {
        let cargo = place::environment("CARGO").unwrap_or_else(|| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--filter-platform", &platform()])
            .current_dir(place::repository())
            .output()
            .unwrap_or_else(|error| panic!("cargo could not be started: {error}"));
        assert!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON"))
    }

    fn parse(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("cargo metadata has text here").to_owned();
        let list = |value: &Value| value.as_array().expect("cargo metadata has a list here").clone();
        let names: BTreeMap<String, (String, String)> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), (text(&package["name"]), text(&package["version"]))))
            .collect();
        let mut packages = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let id = text(&node["id"]);
            let (name, version) = names.get(&id).expect("cargo metadata lists the packages it resolves").clone();
            let mut package = Package { name, version, dependencies: BTreeSet::new(), test_dependencies: BTreeSet::new() };
            for dependency in list(&node["deps"]) {
                let only_tests = list(&dependency["dep_kinds"]).iter().all(|kind| kind["kind"] == "dev");
                let set = if only_tests { &mut package.test_dependencies } else { &mut package.dependencies };
                set.insert(text(&dependency["pkg"]));
            }
            packages.insert(id, package);
        }
        let members = list(&metadata["workspace_members"]).iter().map(text).collect();
        Self { packages, members }
    }

    /// The names of the workspace's packages.
    #[must_use]
    pub fn members(&self) -> BTreeSet<String> {
        self.members.iter().map(|id| self.packages[id].name.clone()).collect()
    }

    /// The names of what a package of the workspace depends on itself; with `tests`, also of what only its tests do.
    ///
    /// # Panics
    /// If there is no such package.
    #[must_use]
    pub fn dependencies(&self, member: &str, tests: bool) -> BTreeSet<String> {
        let package = &self.packages[self.id_of(member)];
        let mut ids: Vec<&String> = package.dependencies.iter().collect();
        if tests {
            ids.extend(&package.test_dependencies);
        }
        ids.into_iter().map(|id| self.packages[id].name.clone()).collect()
    }

    /// The names of everything a package of the workspace is built from, itself left out and tests not counted.
    ///
    /// # Panics
    /// If there is no such package.
    #[must_use]
    pub fn closure(&self, member: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&String> = self.packages[self.id_of(member)].dependencies.iter().collect();
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                waiting.extend(&self.packages[id].dependencies);
            }
        }
        seen.into_iter().map(|id| self.packages[id].name.clone()).collect()
    }

    /// The versions of a package that are in use.
    #[must_use]
    pub fn versions(&self, name: &str) -> BTreeSet<String> {
        self.packages.values().filter(|package| package.name == name).map(|package| package.version.clone()).collect()
    }

    fn id_of(&self, member: &str) -> &String {
        self.members
            .iter()
            .find(|id| self.packages[*id].name == member)
            .unwrap_or_else(|| panic!("the workspace has no package \"{member}\""))
    }
}

fn platform() -> String {
    let rustc = place::environment("RUSTC").unwrap_or_else(|| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output().unwrap_or_else(|error| panic!("rustc could not be started: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}
