//! Manifests under `deploy/`: those who read them would take them, and the program takes the flags in them.

use std::process::Command;

use pipeline_tests::{Project, place};
use serde_json::Value;

#[test]
fn manifests_are_what_their_readers_publish_and_their_flags_exist() {
    let script = place::repository().join("tests/it/deploy.py");
    let output = Command::new(place::service("python")).arg(script).arg(place::repository().join("deploy")).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["families"], serde_json::json!(["pipeline-executor", "pipeline-scheduler"]));
    assert_eq!(found["kinds"].as_array().unwrap().iter().filter(|kind| *kind == "Deployment").count(), 2);
    let project = Project::new();
    for line in found["lines"].as_array().unwrap() {
        // Each flag is tried by the program's own parser: help is given only where all before it is understood.
        let mut arguments: Vec<String> = line.as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect();
        arguments.push("--help".to_owned());
        project.pipeline(&arguments).succeeded();
    }
}
