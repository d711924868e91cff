//! Which file is the dump of which table.

use std::path::{Path, PathBuf};

use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};

use super::error::{AMBIGUOUS, FORMAT, MISSING, of_io};
use super::{FilesOptions, TableOptions};

/// How deep below the source's folder dumps are looked for: `mongodump` writes `dump/DATABASE/COLLECTION.bson`.
pub(super) const FOLDERS_DEEP_MAX: usize = 3;

/// What a dump file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// BSON documents, one behind the other, as `mongodump` writes them.
    Bson,
    /// PostgreSQL's `COPY … TO … (FORMAT binary)`.
    Copy,
}

/// A dump that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) is_compressed: bool,
}

impl Dump {
    /// The name of what was dumped: `orders`, `payments.transactions`. None if the file's ending is not known.
    fn parse(path: &Path) -> Option<(Self, String)> {
        let name = path.file_name()?.to_str()?;
        let (stem, is_compressed) = name.strip_suffix(".gz").map_or((name, false), |stem| (stem, true));
        let (stem, format) =
            if let Some(stem) = stem.strip_suffix(".bson") { (stem, Format::Bson) } else { (stem.strip_suffix(".copy")?, Format::Copy) };
        Some((Self { path: path.to_owned(), format, is_compressed }, stem.to_owned()))
    }

    /// The relation that a COPY file's name says: `payments.transactions`.
    pub(super) fn relation(&self) -> String {
        Self::parse(&self.path).map(|(_, stem)| stem).unwrap_or_default()
    }
}

/// Finds the dump of a table: the file that its section names, or the one named as its collection, relation or itself.
pub(super) fn locate(options: &FilesOptions, table: &TableOptions, contract: &Contract) -> Result<Dump> {
    if let Some(file) = &table.file {
        let path = options.path.join(file);
        let Some((dump, _)) = Dump::parse(&path) else {
            return Err(Error::new(&FORMAT, format!("file \"{}\" of table \"{}\" has an unknown ending", path.display(), contract.table)));
        };
        std::fs::metadata(&path).map_err(|error| of_io(&path, &error))?;
        return Ok(dump);
    }
    let collection = table.collection.as_deref().unwrap_or(contract.table.table());
    let is_it = |dump: &Dump, name: &str| match (dump.format, &table.relation) {
        (Format::Bson, _) => name == collection,
        (Format::Copy, Some(relation)) if relation.contains('.') => name == relation,
        (Format::Copy, relation) => name.rsplit('.').next() == Some(relation.as_deref().unwrap_or(contract.table.table())),
    };
    let mut found = Vec::new();
    search(&options.path, FOLDERS_DEEP_MAX, &mut |path| {
        if let Some((dump, name)) = Dump::parse(path)
            && is_it(&dump, &name)
        {
            found.push(dump);
        }
    })?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    match found.as_slice() {
        [dump] => Ok(dump.clone()),
        [] => Err(Error::new(&MISSING, format!("folder \"{}\" holds no dump of table \"{}\"", options.path.display(), contract.table))
            .hint(format!(
                "Put {collection}.bson[.gz] or SCHEMA.{}.copy[.gz] there, or name the file with `file` in the table's section.",
                table.relation.as_deref().map_or(contract.table.table(), |relation| relation.rsplit('.').next().unwrap_or(relation))
            ))),
        [first, second, ..] => Err(Error::new(
            &AMBIGUOUS,
            format!("table \"{}\" could be in file \"{}\" or in \"{}\"", contract.table, first.path.display(), second.path.display()),
        )),
    }
}

fn search(folder: &Path, deep: usize, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|error| of_io(folder, &error))? {
        let path = entry.map_err(|error| of_io(folder, &error))?.path();
        if path.is_dir() {
            if deep > 0 {
                search(&path, deep - 1, visit)?;
            }
        } else {
            visit(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::contract;

    #[test]
    fn files_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["shop/orders.bson", "pg/payments.transactions.copy.gz", "pg/a.couriers.copy", "pg/b.couriers.copy", "other.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let options = FilesOptions { path: folder.path().to_owned() };
        let find = |table: &str, set: TableOptions| locate(&options, &set, &contract(table, &[("a", "int")], None));
        let orders = find("orders", TableOptions::default()).unwrap();
        assert_eq!((orders.format, orders.is_compressed), (Format::Bson, false));
        let transactions = find("transactions", TableOptions::default()).unwrap();
        assert_eq!(
            (transactions.format, transactions.is_compressed, transactions.relation().as_str()),
            (Format::Copy, true, "payments.transactions")
        );
        assert_eq!(find("couriers", TableOptions::default()).unwrap_err().code().name, "E-FILE-AMBIGUOUS");
        let relation = TableOptions { relation: Some("b.couriers".to_owned()), ..TableOptions::default() };
        assert!(find("couriers", relation).unwrap().path.ends_with("b.couriers.copy"));
        let collection = TableOptions { collection: Some("orders".to_owned()), ..TableOptions::default() };
        assert_eq!(find("purchases", collection).unwrap(), orders);
        assert_eq!(find("nothing", TableOptions::default()).unwrap_err().code().name, "E-FILE-MISSING");
        let named = |file: &str| TableOptions { file: Some(file.to_owned()), ..TableOptions::default() };
        assert_eq!(find("x", named("other.txt")).unwrap_err().code().name, "E-FILE-FORMAT");
        assert_eq!(find("x", named("absent.bson")).unwrap_err().code().name, "E-FILE-MISSING");
    }
}
