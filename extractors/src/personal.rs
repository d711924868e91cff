//! Which fields of a document are personal: they are left out where a document is kept as the source had it.

use pipeline_core::contract::{Contract, Privacy};

/// Paths of fields that the contract hashes, masks or drops, as seen from a document or from a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Personal(Vec<String>);

/// What a field is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Nothing personal is in it.
    Open,
    /// It is personal.
    Closed,
    /// It holds fields that are, at these paths within it. If it is no document, nobody knows where in it they are.
    Mixed(Personal),
}

impl Personal {
    /// Those of a contract.
    pub(crate) fn of(contract: &Contract) -> Self {
        let personal = contract.columns.iter().filter(|column| !matches!(column.privacy, Privacy::None | Privacy::Keep));
        Self(personal.map(|column| column.from.clone()).collect())
    }

    /// The same as seen from a document that holds them at `place`.
    pub(crate) fn at(&self, place: &str) -> Self {
        Self(self.0.iter().map(|path| format!("{place}.{path}")).collect())
    }

    /// Whether there are none.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What the field of that name is. A name may hold points, and then be a path itself.
    pub(crate) fn field(&self, name: &str) -> Field {
        let mut within = Vec::new();
        for path in &self.0 {
            let beneath = |path: &str, head: &str| path.strip_prefix(head).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned);
            if path == name || beneath(name, path).is_some() {
                return Field::Closed;
            }
            within.extend(beneath(path, name));
        }
        if within.is_empty() { Field::Open } else { Field::Mixed(Self(within)) }
    }

    /// What an array's element is: the path may count elements, or mean each of them.
    pub(crate) fn element(&self, index: usize) -> Field {
        match self.field(&index.to_string()) {
            Field::Open if !self.is_none() => Field::Mixed(self.clone()),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_names_with_points_and_elements_are_found() {
        let personal = Personal(vec!["email".to_owned(), "contact.phone".to_owned(), "contact.name".to_owned()]);
        assert_eq!(personal.field("email"), Field::Closed);
        assert_eq!(personal.field("email.domain"), Field::Closed);
        assert_eq!(personal.field("emails"), Field::Open);
        assert_eq!(personal.field("contact.phone"), Field::Closed);
        let Field::Mixed(contact) = personal.field("contact") else { panic!("a part of it is personal") };
        assert_eq!(contact.field("phone"), Field::Closed);
        assert_eq!(contact.field("since"), Field::Open);
        assert_eq!(contact.element(3), Field::Mixed(contact));
        assert_eq!(Personal(vec!["1".to_owned()]).element(1), Field::Closed);
        assert_eq!(Personal(Vec::new()).element(1), Field::Open);
    }
}
