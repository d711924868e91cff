//! Models computed by several machines, against one process.

use std::path::Path;

use pipeline_tests::place::models;
use pipeline_tests::{Cluster, Project, Running, S3};

const BUCKET: &str = "lakes";

/// A project whose lake lies in a bucket, over a data set of its own, which is the same each time.
fn project(s3: &S3, lake: &str) -> Project {
    let mut project = Project::new();
    let to = project.folder().join("dumps");
    let size = ["--customers", "300", "--stores", "6", "--days", "20", "--orders", "3000", "--seed", "11"];
    let generate: Vec<&str> = ["demo", "generate", "--to", to.to_str().unwrap()].into_iter().chain(size).collect();
    project.pipeline(&generate).succeeded();
    let answers = pipeline_tests::Answers::read(&to.join("answers.json"));
    for (name, value) in s3.owner().environment() {
        project.environment(name, value);
    }
    project
        .set("profiles.local.project.as_of", answers.as_of())
        .set("profiles.local.project.lake", format!("s3://{BUCKET}/{lake}"))
        .set("profiles.local.aws.endpoint", s3.endpoint())
        .set("profiles.local.sources.shop.path", text(&to.join("mongodb/shop")))
        .set("profiles.local.sources.platform.path", text(&to.join("postgres")));
    project
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_cluster_that_loses_executors_makes_the_marts_that_one_process_makes() {
    let s3 = S3::start();
    s3.create_bucket(BUCKET);
    let alone = project(&s3, "alone");
    alone.pipeline(&["run", "nightly"]).succeeded();

    let mut together = project(&s3, "together");
    let mut cluster = Cluster::start(&mut together, 3);
    let mut run = together.start(&["run", "nightly", "--progress", "log", "-v"]);
    let made = |run: &Running| run.stderr().matches("✓ model ").count();
    run.until("the first models are made", |run| made(run) >= 3);
    cluster.kill_executor();
    run.until("more are made by two", |run| made(run) >= 8);
    cluster.freeze_executor();
    let outcome = run.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}\n{}", cluster.log());

    let mut differing = Vec::new();
    for model in models() {
        let all = format!("SELECT * FROM {model}");
        let (one, other) = (alone.contents(&all), together.contents(&all));
        if one != other {
            differing.push(format!("{model}: {} rows and {}", one.len(), other.len()));
        }
    }
    assert_eq!(differing, Vec::<String>::new());
    // Those that the lost one alone had a part of are not seen.
    assert!(cluster.statements() > models().len() / 2, "{} statements of {} models", cluster.statements(), models().len());
}
