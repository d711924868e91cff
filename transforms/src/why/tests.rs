//! Rows behind rows of small models, over tables in memory.

use std::path::Path;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use pipeline_core::contract::parse_column;
use pipeline_core::window::Timestamp;

use super::*;
use crate::lake::LakeModels;
use crate::session::{Difference, Engine, Options, Pinned, Tables};

#[derive(Debug)]
struct InMemory(BTreeMap<TableName, Arc<dyn TableProvider>>);

#[async_trait]
impl Tables for InMemory {
    fn names(&self) -> Vec<TableName> {
        self.0.keys().cloned().collect()
    }

    async fn open(&self, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.get(table).cloned())
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        Ok(self.0.get(table).map(|_| "the only one".to_owned()))
    }

    async fn pin(&self, table: &TableName) -> Result<Option<Pinned>> {
        Ok(self.0.get(table).map(|rows| Pinned { state: "the only one".to_owned(), rows: Arc::clone(rows) }))
    }

    async fn difference(&self, _table: &TableName, _since: &str, _now: &str) -> Result<Option<Difference>> {
        Ok(Some(Difference::default()))
    }
}

fn as_of() -> Timestamp {
    "2025-11-04T06:00:00Z".parse().unwrap()
}

fn contract(table: &str, columns: &[(&str, &str)]) -> Contract {
    let columns = columns.iter().map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &str::to_owned).unwrap());
    let columns: Vec<_> = columns.collect();
    Contract { table: table.parse().unwrap(), key: vec![columns[0].name.clone()], columns, cursor: None, description: String::new() }
}

/// Models with the key's columns first, each with its statement and columns.
#[expect(clippy::type_complexity, reason = "a table of cases")]
const MODELS: &[(&str, &str, usize, &[(&str, &str)])] = &[
    (
        "sales",
        "SELECT o.id, o.customer, coalesce(c.town, 'nowhere') AS town, o.amount FROM lab.orders o LEFT JOIN lab.customers c ON o.customer = c.id \
         WHERE o.amount > 0",
        1,
        &[("id", "bigint"), ("customer", "text"), ("town", "text"), ("amount", "bigint")],
    ),
    (
        "towns",
        "SELECT upper(town) AS town, count(*) AS sales, sum(amount) AS amount FROM sales GROUP BY upper(town)",
        1,
        &[("town", "text"), ("sales", "bigint"), ("amount", "bigint")],
    ),
    (
        "largest",
        "SELECT town, id, amount FROM (SELECT *, row_number() OVER (PARTITION BY town ORDER BY amount DESC, id) AS place FROM sales) WHERE place = 1",
        1,
        &[("town", "text"), ("id", "bigint"), ("amount", "bigint")],
    ),
    (
        "findings",
        "SELECT id, 'large' AS finding FROM sales WHERE amount > 10 UNION ALL \
         SELECT s.id, 'alone' FROM sales s WHERE s.customer NOT IN (SELECT id FROM lab.customers)",
        2,
        &[("id", "bigint"), ("finding", "text")],
    ),
];

async fn project(folder: &Path) -> LakeModels {
    project_with(folder, &[]).await
}

/// The same with some of the models as views.
async fn project_with(folder: &Path, views: &[&str]) -> LakeModels {
    for (name, sql, keys, columns) in MODELS {
        std::fs::write(folder.join(format!("{name}.sql")), sql).unwrap();
        let kind = if views.contains(name) { "view" } else { "full" };
        let key: Vec<String> = columns.iter().take(*keys).map(|(name, _)| format!("\"{name}\"")).collect();
        let mut text = format!("description = \"d\"\ngrain = \"g\"\nkey = [{}]\nmaterialization = \"{kind}\"\n", key.join(", "));
        for (column, data_type) in *columns {
            text.push_str(&format!("[columns.{column}]\ntype = \"{data_type}\"\ndescription = \"d\"\n"));
        }
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    let models = ModelSet::load(folder, &BTreeMap::new(), None).unwrap();
    let sources = vec![
        contract("lab.orders", &[("id", "bigint not null"), ("customer", "text"), ("amount", "bigint")]),
        contract("lab.customers", &[("id", "text not null"), ("town", "text")]),
    ];
    let options = Options {
        memory_limit_bytes: 32 << 20,
        spill_directory: folder.join("spill"),
        target_partitions: 2,
        parameters: BTreeMap::new(),
        key: None,
    };
    let engine = Engine::new(options).unwrap();
    let session = engine.session(as_of(), None);
    let mut tables: BTreeMap<TableName, Arc<dyn TableProvider>> = BTreeMap::new();
    for (table, sql) in [
        (
            "lab.orders",
            "SELECT * FROM (VALUES (1, 'ann', 5), (2, 'ann', 20), (3, 'bob', 7), (4, NULL, 9), (5, 'cid', 0), (6, 'dan', 11)) AS v (id, customer, amount)",
        ),
        ("lab.customers", "SELECT * FROM (VALUES ('ann', 'Ulm'), ('bob', 'Ulm'), ('cid', 'Bonn'), ('eve', 'Bonn')) AS v (id, town)"),
    ] {
        tables.insert(table.parse().unwrap(), made(&session, sql).await);
    }
    for (table, provider) in &tables {
        session.register_table(table.schema(), table.table(), Arc::clone(provider));
    }
    for model in models.models() {
        let provider = made(&session, &model.sql).await;
        session.register_table(TableName::MARTS, model.table().table(), Arc::clone(&provider));
        if !model.is_view {
            tables.insert(model.table().clone(), provider);
        }
    }
    LakeModels::new(models, engine, Arc::new(InMemory(tables)), sources)
}

async fn made(session: &Session, sql: &str) -> Arc<dyn TableProvider> {
    let frame = session.select(sql).await.unwrap();
    let schema = Arc::clone(frame.schema().inner());
    Arc::new(MemTable::try_new(schema, vec![frame.collect().await.unwrap()]).unwrap())
}

/// `table: keys…` of every input with rows, and what differs.
async fn found(models: &LakeModels, table: &str, key: &[&str]) -> (Vec<String>, Vec<String>) {
    let key: Vec<String> = key.iter().map(|&value| value.to_owned()).collect();
    let why = models.why(&table.parse().unwrap(), &key, as_of(), 10).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    let options = arrow::util::display::FormatOptions::default();
    let inputs = why.inputs.iter().filter(|input| input.rows > 0).map(|input| {
        let keys = input.shown.iter().flat_map(|batch| {
            let column = arrow::util::display::ArrayFormatter::try_new(batch.column(0), &options).unwrap();
            (0..batch.num_rows()).map(|row| column.value(row).to_string()).collect::<Vec<_>>()
        });
        let keys: Vec<String> = keys.collect();
        assert_eq!(keys.len() as u64, input.rows);
        format!("{}: {}", input.table, keys.join(" "))
    });
    (inputs.collect(), why.differs)
}

#[tokio::test]
async fn rows_are_followed_through_groups_joins_windows_and_unions() {
    let folder = std::env::temp_dir().join(format!("pipeline-why-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let models = project(&folder).await;
    let none = Vec::<String>::new();
    for (table, key, inputs) in [
        ("sales", &["2"][..], &["lab.customers: ann", "lab.orders: 2"][..]),
        // A guest has no customer.
        ("sales", &["4"], &["lab.orders: 4"]),
        ("towns", &["ULM"], &["sales: 1 2 3", "lab.customers: ann bob", "lab.orders: 1 2 3"]),
        ("towns", &["NOWHERE"], &["sales: 4 6", "lab.orders: 4 6"]),
        ("largest", &["Ulm"], &["sales: 2", "lab.customers: ann", "lab.orders: 2"]),
        // Only the branch that makes the finding.
        ("findings", &["2", "large"], &["sales: 2", "lab.customers: ann", "lab.orders: 2"]),
        ("findings", &["6", "alone"], &["sales: 6", "lab.orders: 6"]),
    ] {
        assert_eq!(
            found(&models, table, key).await,
            (inputs.iter().map(|&text| text.to_owned()).collect(), none.clone()),
            "{table} {key:?}"
        );
    }
    for (table, key, words) in [
        ("nothing", &["1"][..], "no model"),
        ("lab.orders", &["1"], "no model"),
        ("findings", &["2"], "has 2 columns, and 1 values"),
        ("sales", &["two"], "is no bigint"),
        ("sales", &["77"], "no row with this key"),
    ] {
        let key: Vec<String> = key.iter().map(|&value| value.to_owned()).collect();
        let error = models.why(&table.parse().unwrap(), &key, as_of(), 10).await.unwrap_err();
        assert_eq!(error.code(), &WHY);
        assert!(error.message().contains(words), "{error:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_view_is_a_step_like_a_stored_model() {
    let folders = ["stored", "view"].map(|name| std::env::temp_dir().join(format!("pipeline-why-{name}-{}", std::process::id())));
    for folder in &folders {
        std::fs::create_dir_all(folder).unwrap();
    }
    let (stored, with_view) = (project(&folders[0]).await, project_with(&folders[1], &["sales"]).await);
    for (table, key) in [("towns", vec!["ULM"]), ("largest", vec!["Ulm"]), ("findings", vec!["6", "large"]), ("sales", vec!["2"])] {
        let expected = found(&stored, table, &key).await;
        assert!(!expected.0.is_empty(), "{table}");
        assert_eq!(found(&with_view, table, &key).await, expected, "{table}");
    }
    for folder in &folders {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
