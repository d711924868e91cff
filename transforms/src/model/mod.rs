//! Models: a statement, its contract, and what they read.
//!
//! `sql/base/orders.sql` with `sql/base/orders.toml` beside it is the model `orders`; folders are only for order. What a model
//! reads is taken from its parsed statement: `FROM orders` is a model, `FROM shop.orders` an extracted table, and
//! `FROM previous.NAME` is the model's own result as it stood before, or that of a model made from it, which makes no edge in the
//! graph. `FROM segments.rules` and `FROM segments.matches` are the rules of segments: see [`rules`].

mod contract;
mod data_test;
mod graph;
mod incremental;
pub mod rules;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::load::Layout;
use pipeline_core::model::ModelNode;
use pipeline_core::name::TableName;
use pipeline_core::privacy::PrivacyKey;
use sha2::{Digest, Sha256};

pub(crate) use data_test::spell_age;
pub use data_test::{DataTest, Measure, Severity, TestKind};
pub use incremental::{CHANGED, CHANGED_ROWS, CHANGED_UNITS, Dependence, Incremental, Rows};

use crate::errors::{MODEL_FILE, MODEL_INPUT};
use contract::ModelContract;
use rules::{Rules, SEGMENTS};
use statement::Statement;

/// The schema in which a model reads its own former result, or that of a model made from it.
pub const PREVIOUS: &str = "previous";

/// A statement and what it promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The columns, the key and the meaning of its result.
    pub contract: Contract,
    /// What one row is.
    pub grain: String,
    /// The statement.
    pub sql: String,
    /// The statement's file.
    pub file: PathBuf,
    /// The tables it reads, without its own former result.
    pub inputs: Vec<TableName>,
    /// Those of them that are stored, and in the place of views the stored tables that these read.
    pub stored: Vec<TableName>,
    /// Whether it is not stored itself: its statement stands in the place of its name wherever that is read.
    pub is_view: bool,
    /// Whether it reads its own former result.
    pub uses_previous: bool,
    /// Contracts of other models whose former results it reads: models that are made from it.
    pub former: Vec<Contract>,
    /// The rules of segments, if it reads them.
    pub rules: Option<Arc<Rules>>,
    /// Whether it asks for the as-of instant.
    pub uses_as_of: bool,
    /// How it is kept up to date from what changed; None if it is computed whole each time.
    pub incremental: Option<Incremental>,
    /// What its result has to pass.
    pub tests: Vec<DataTest>,
    /// Units of its columns, by name, for documentation.
    pub units: BTreeMap<String, String>,
    /// Hints for warehouses.
    pub layout: Layout,
    /// The model whose published form this one is.
    pub published_form_of: Option<TableName>,
    /// Changes exactly when statement, contract, the parameters it asks for, or the key of hashes it computes change.
    /// Changes exactly when statement, contract, the parameters it asks for, the key of hashes it computes, or a view that it reads change.
    pub digest: String,
    /// The same without views.
    own_digest: String,
    /// Whether its statement hashes with the privacy key.
    pub uses_key: bool,
}

impl Model {
    /// The model's table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.contract.table
    }

    /// The model as the run loop sees it.
    #[must_use]
    pub fn node(&self) -> ModelNode {
        ModelNode {
            contract: self.contract.clone(),
            inputs: self.inputs.clone(),
            stored: self.stored.clone(),
            is_view: self.is_view,
            keeps_former: self.former.iter().any(|former| former.table == *self.table()),
            digest: self.digest.clone(),
            uses_as_of: self.uses_as_of,
            incremental_by: self.incremental.as_ref().map(|incremental| incremental.by.clone()),
            layout: self.layout.clone(),
            published_form_of: self.published_form_of.clone(),
        }
    }

    /// The model, and the others whose former results it reads.
    fn read(file: &Path, parameters: &BTreeMap<String, String>, key: Option<&PrivacyKey>) -> Result<(Self, Vec<TableName>)> {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let table = TableName::model(stem).map_err(|error| error.context(format!("file \"{}\" names no model", file.display())))?;
        let sql = read(file)?;
        let contract_file = file.with_extension("toml");
        let contract_text = read(&contract_file)?;
        let mut statement = Statement::parse(&sql, file)?;
        let declared = ModelContract::parse(&table, &contract_text, &contract_file)?;
        if let Some(incremental) = &declared.incremental {
            incremental.check(&table, &mut statement, &contract_file)?;
        }
        let unknown_outside = statement.reads.iter().find(|read| matches!(read.schema(), PREVIOUS | SEGMENTS));
        if let Some(read) = unknown_outside.filter(|_| declared.is_view) {
            return Err(Error::new(&MODEL_FILE, format!("model \"{table}\" cannot be a view"))
                .caused_by(format!("file \"{}\"", file.display()))
                .caused_by(format!("its statement reads \"{read}\", which is known only while a run makes a table")));
        }
        let mut inputs = Vec::new();
        let mut uses_previous = false;
        let mut former = Vec::new();
        let mut rules = None;
        for reference in statement.reads {
            match reference.schema() {
                PREVIOUS if reference.table() == table.table() => uses_previous = true,
                PREVIOUS => former.push(TableName::model(reference.table())?),
                SEGMENTS => rules = Some(rules::none()),
                _ => inputs.push(reference),
            }
        }
        let mut hash = Sha256::new();
        for part in [&sql, &contract_text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        add_asked(&mut hash, &statement.parameters, statement.uses_key, parameters, key);
        let digest = hex::encode(hash.finalize());
        let model = Self {
            contract: declared.contract,
            grain: declared.grain,
            sql,
            file: file.to_path_buf(),
            stored: inputs.clone(),
            inputs,
            is_view: declared.is_view,
            uses_previous,
            former: Vec::new(),
            rules,
            uses_as_of: statement.uses_as_of,
            incremental: declared.incremental,
            tests: declared.tests,
            units: declared.units,
            layout: declared.layout,
            published_form_of: declared.published_form_of,
            own_digest: digest.clone(),
            digest,
            uses_key: statement.uses_key,
        };
        Ok((model, former))
    }

    /// The common table expressions of the statement, with another query after them.
    ///
    /// # Errors
    /// [`SQL`](crate::errors::SQL) if the statement cannot be parsed.
    pub fn with_query(&self, query: &str) -> Result<String> {
        Statement::with(&self.sql, &self.file).map(|with| format!("{with} {query}"))
    }
}

/// The models of a folder, each after those it reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSet {
    models: Vec<Model>,
}

impl ModelSet {
    /// Reads every `NAME.sql` with its `NAME.toml` below a folder and puts them in order. `parameters` and `key` go into the
    /// digests of the models that use them.
    ///
    /// # Errors
    /// [`MODEL_FILE`] with file and line, [`SQL`](crate::errors::SQL) if a statement cannot be parsed,
    /// [`MODEL_CYCLE`](crate::errors::MODEL_CYCLE) with the circle, [`MODEL_INPUT`] for a model that does not exist.
    pub fn load(folder: &Path, parameters: &BTreeMap<String, String>, key: Option<&PrivacyKey>) -> Result<Self> {
        let mut files = Vec::new();
        statement_files(folder, &mut files)?;
        files.sort();
        let mut models: Vec<Model> = Vec::with_capacity(files.len());
        let mut former: BTreeMap<TableName, Vec<TableName>> = BTreeMap::new();
        for file in &files {
            let (model, reads) = Model::read(file, parameters, key)?;
            if let Some(twin) = models.iter().find(|other| other.table() == model.table()) {
                let (one, two) = (twin.file.display(), file.display());
                return Err(Error::new(&MODEL_FILE, format!("model \"{}\" is declared by \"{one}\" and by \"{two}\"", model.table()))
                    .hint("Rename one of the files: a model's name is its file's, whatever the folder."));
            }
            former.insert(model.table().clone(), reads);
            models.push(model);
        }
        let mut set = Self { models: graph::ordered(models)? };
        set.find_former(&former)?;
        set.look_through_views()?;
        set.check_published_forms()?;
        Ok(set)
    }

    /// A published form is made from the model in whose place it stands, and is the only one of it.
    fn check_published_forms(&self) -> Result<()> {
        let forms = || self.models.iter().filter_map(|model| Some((model, model.published_form_of.as_ref()?)));
        for (model, of) in forms() {
            let problem = if !graph::made_from(&self.models, of).contains(model.table()) {
                "which it is not made from"
            } else if forms().any(|(other, twin)| twin == of && other.table() != model.table()) {
                "of which there is another one"
            } else if forms().any(|(base, _)| base.table() == of) {
                "which is one itself"
            } else if model.is_view {
                "and a view, which destinations do not have"
            } else {
                continue;
            };
            return Err(Error::new(
                &MODEL_FILE,
                format!("model \"{}\" is declared the published form of \"{of}\", {problem}", model.table()),
            )
            .caused_by(format!("file \"{}\"", model.file.with_extension("toml").display()))
            .hint("[publication] of = \"NAME\" names the exact model that this one is made from, and no two name the same."));
        }
        Ok(())
    }

    /// The same models with the rules of segments: what the predicates read is what the models read that ask for them.
    ///
    /// # Errors
    /// [`MODEL_CYCLE`](crate::errors::MODEL_CYCLE) or [`MODEL_INPUT`] if the rules read what is made from them or does not exist.
    pub fn with_rules(mut self, rules: Rules, parameters: &BTreeMap<String, String>, key: Option<&PrivacyKey>) -> Result<Self> {
        let rules = Arc::new(rules);
        for model in self.models.iter_mut().filter(|model| model.rules.is_some()) {
            let mut hash = Sha256::new();
            hash.update(&model.own_digest);
            hash.update(rules.digest_text());
            add_asked(&mut hash, &rules.statement.parameters, rules.statement.uses_key, parameters, key);
            model.own_digest = hex::encode(hash.finalize());
            model.uses_as_of |= rules.statement.uses_as_of;
            let inputs: BTreeSet<TableName> = model.inputs.iter().chain(&rules.statement.reads).cloned().collect();
            model.inputs = inputs.into_iter().collect();
            model.rules = Some(Arc::clone(&rules));
        }
        self.models = graph::ordered(self.models)?;
        self.look_through_views()?;
        Ok(self)
    }

    /// A former result is well defined if its model is made later in the same run, so that it still stands.
    fn find_former(&mut self, former: &BTreeMap<TableName, Vec<TableName>>) -> Result<()> {
        for at in 0..self.models.len() {
            let (table, file) = (self.models[at].table().clone(), self.models[at].file.clone());
            let later = graph::made_from(&self.models, &table);
            let contracts = former.get(&table).into_iter().flatten().map(|other| {
                let found = self.get(other).filter(|model| later.contains(other) && !model.is_view);
                found.map(|model| model.contract.clone()).ok_or_else(|| {
                    Error::new(&MODEL_INPUT, format!("model \"{table}\" reads \"{PREVIOUS}.{}\" in \"{}\"", other.table(), file.display()))
                        .hint(format!(
                            "A model reads former results of its own ({PREVIOUS}.{}) and of models that are made from it; a view has none.",
                            table.table()
                        ))
                })
            });
            self.models[at].former = contracts.collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// Lets what a model reads through views be its own: the stored tables, the now, and what changes its digest.
    fn look_through_views(&mut self) -> Result<()> {
        for at in 0..self.models.len() {
            let (before, rest) = self.models.split_at_mut(at);
            let Some(model) = rest.first_mut() else { continue };
            let views: Vec<&Model> = before.iter().filter(|other| other.is_view && model.inputs.contains(other.table())).collect();
            if let (Some(view), Some(_)) = (views.first(), &model.incremental) {
                let view = view.table();
                return Err(Error::new(&MODEL_FILE, format!("model \"{}\" cannot be incremental", model.table()))
                    .caused_by(format!("file \"{}\"", model.file.with_extension("toml").display()))
                    .caused_by(format!("its statement reads \"{view}\", which is a view: nothing stored tells which of its rows changed"))
                    .hint(format!(
                        "Let the statement read what \"{view}\" reads, or let one of the two be `materialization = \"full\"`."
                    )));
            }
            let is_view = |input: &TableName| views.iter().any(|view| view.table() == input);
            let mut stored: BTreeSet<TableName> = model.inputs.iter().filter(|input| !is_view(input)).cloned().collect();
            let mut hash = Sha256::new();
            hash.update(&model.own_digest);
            for view in &views {
                stored.extend(view.stored.iter().cloned());
                model.uses_as_of |= view.uses_as_of;
                model.uses_key |= view.uses_key;
                hash.update(&view.digest);
            }
            model.stored = stored.into_iter().collect();
            model.digest = if views.is_empty() { model.own_digest.clone() } else { hex::encode(hash.finalize()) };
        }
        Ok(())
    }

    /// The models, each after those it reads.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model that makes a table.
    #[must_use]
    pub fn get(&self, table: &TableName) -> Option<&Model> {
        self.models.iter().find(|model| model.table() == table)
    }

    /// The models as the run loop sees them, in the same order.
    #[must_use]
    pub fn nodes(&self) -> Vec<ModelNode> {
        self.models.iter().map(Model::node).collect()
    }
}

/// Adds what a statement asks for to a digest.
fn add_asked(hash: &mut Sha256, names: &BTreeSet<String>, uses_key: bool, parameters: &BTreeMap<String, String>, key: Option<&PrivacyKey>) {
    for name in names {
        hash.update(format!("{name:?}={:?}\n", parameters.get(name)));
    }
    if uses_key {
        // A hash of a constant tells one key from another without telling the key.
        hash.update(key.map(|key| key.hash(b"models")).unwrap_or_default());
    }
}

/// The position of a byte in a text: line and column, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Error::new(&MODEL_FILE, format!("file \"{}\" cannot be read", file.display()))
            .caused_by(error.kind())
            .hint("A model is two files side by side: NAME.sql, its statement, and NAME.toml, its contract.")
    })
}

fn statement_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error: std::io::Error| {
        Error::new(&MODEL_FILE, format!("folder of models \"{}\" cannot be read", folder.display()))
            .caused_by(error.kind())
            .hint("Set `models` in [project] to the folder that holds the models.")
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            statement_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    Ok(())
}
