//! Every mart is computed a second time by `tests/oracle`, in another language and from the dumps alone, and agrees in every row and column.
//!
//! The data are the generator's with several seeds, and among them rows at the edges of every definition (`tests/oracle/wild.py`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pipeline_tests::{Answers, Project, place};

fn python(arguments: &[&str]) -> Output {
    let mut command = Command::new(place::service("python"));
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(place::repository());
    command.output().expect("python can be started")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// What the program ended with and wrote, for when it should have been something else.
fn told(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A project over data of one seed.
struct World {
    project: Project,
    seed: &'static str,
    until: &'static str,
}

/// The dumps of a night, and what the run calls now.
struct Night {
    dumps: PathBuf,
    as_of: String,
}

impl World {
    fn new(seed: &'static str, until: &'static str) -> Self {
        let mut project = Project::new();
        // Rows of which it is known that they do not fit are many here.
        project.set("sources.shop.tables.orders.max_rejected", "50%");
        Self { project, seed, until }
    }

    /// Makes the dumps of a night. The generator's answers are the oracle's too.
    fn generate(&self, name: &str, change_percent: &str) -> Night {
        let base = self.project.folder().join(format!("{name}-base"));
        let size = ["demo", "generate", "--customers", "150", "--stores", "8", "--days", "20", "--orders", "500"];
        let which = ["--seed", self.seed, "--until", self.until, "--change-percent", change_percent, "--to", text(&base)];
        self.project.pipeline(&[size.as_slice(), &which].concat()).succeeded();
        let as_of = Answers::read(&base.join("answers.json")).as_of().to_owned();
        let agreed = python(&["tests/oracle", "--dumps", text(&base), "--as-of", &as_of, "--answers", text(&base.join("answers.json"))]);
        assert!(agreed.status.success(), "the oracle differs from the answers: {}", told(&agreed));

        let dumps = self.project.folder().join(name);
        let mut wild = vec!["tests/oracle/wild.py", "--seed", self.seed, "--from", text(&base), "--to", text(&dumps)];
        wild.extend((change_percent != "0").then_some("--later"));
        let made = python(&wild);
        assert!(made.status.success(), "{}", told(&made));
        Night { dumps, as_of }
    }

    fn run(&mut self, night: &Night) {
        self.project
            .set("profiles.local.project.as_of", night.as_of.as_str())
            .set("profiles.local.sources.shop.path", text(&night.dumps.join("mongodb/shop")))
            .set("profiles.local.sources.platform.path", text(&night.dumps.join("postgres")));
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded();
    }

    fn lake(&self) -> PathBuf {
        self.project.folder().join(".pipeline/lake")
    }

    /// What the oracle says of the marts as they are.
    fn oracle(&self, night: &Night, more: &[&str]) -> Output {
        let (configuration, lake) = (self.project.folder().join("pipelines.toml"), self.lake());
        let which = ["tests/oracle", "--configuration", text(&configuration), "--dumps", text(&night.dumps), "--lake", text(&lake)];
        python(&[which.as_slice(), &["--as-of", &night.as_of, "--values"], more].concat())
    }

    fn agrees(&self, night: &Night, more: &[&str]) {
        let output = self.oracle(night, more);
        assert!(output.status.success(), "marts differ from the oracle: {}", told(&output));
    }
}

#[test]
fn marts_agree_when_summer_ends_and_on_the_night_after() {
    let mut world = World::new("11", "2025-11-03");
    let first = world.generate("first", "0");
    world.run(&first);
    world.agrees(&first, &[]);

    // It sees what is wrong: a day that began half an hour later would have other figures.
    let output = world.oracle(&first, &["--parameter", "business_day_starts_at=04:30"]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["orders: column \"business_date\": order_id=", "coverage_stores: column \"orders\": business_date="] {
        assert!(said.contains(words), "\"{words}\" is missing: {said}");
    }

    // Rows have changed, and some are new; offers that were granted stay, whatever became of their customers.
    let before = world.project.folder().join("before");
    place::copy(&world.lake(), &before);
    let second = world.generate("second", "5");
    world.run(&second);
    world.agrees(&second, &["--before", text(&before)]);
}

#[test]
fn marts_agree_over_new_year() {
    let mut world = World::new("12", "2025-12-28");
    let night = world.generate("night", "0");
    world.run(&night);
    world.agrees(&night, &[]);
}

#[test]
fn marts_agree_with_other_parameters_and_birthdays_on_29_february() {
    let mut world = World::new("13", "2026-02-23");
    let mut set = |name: &str, value: toml::Value| {
        world.project.set(&format!("parameters.{name}"), value);
    };
    set("business_day_starts_at", "05:30".into());
    set("resolutions", "6,8,10".into());
    set("gap_resolution", 7.into());
    set("gap_cancel_percent", 20.into());
    set("gap_late_percent", 50.into());
    set("affinity_orders_min", 3.into());
    set("k_anonymity", 2.into());
    set("horizon_days", 10.into());
    set("leap_day", "mar1".into());
    set("minimum_age", 18.into());
    set("offer_valid_days", 5.into());
    let night = world.generate("night", "0");
    world.run(&night);
    world.agrees(&night, &[]);
}
