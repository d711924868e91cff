//! Where a call wants its statement run: a cluster or a workgroup, a database, an identity.

use serde_json::{Map, Value};

use super::error::ServiceError;

/// A call's target, as given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) cluster: Option<String>,
    pub(crate) workgroup: Option<String>,
    pub(crate) database: String,
    pub(crate) user: Option<String>,
    pub(crate) secret: Option<String>,
}

impl Target {
    /// Checks the combinations of management guide, "Using the Data API", "Authorizing access".
    pub(crate) fn new(
        cluster: Option<String>,
        workgroup: Option<String>,
        database: Option<String>,
        user: Option<String>,
        secret: Option<String>,
    ) -> Result<Self, ServiceError> {
        match (&cluster, &workgroup) {
            (Some(_), Some(_)) => return Err(ServiceError::validation("Only one of ClusterIdentifier and WorkgroupName can be specified")),
            (None, None) => return Err(ServiceError::validation("Either ClusterIdentifier or WorkgroupName must be specified")),
            (None, Some(_)) if user.is_some() => return Err(ServiceError::validation("DbUser cannot be specified with WorkgroupName")),
            _ => {}
        }
        if user.is_some() && secret.is_some() {
            return Err(ServiceError::validation("Only one of DbUser and SecretArn can be specified"));
        }
        let Some(database) = database else { return Err(ServiceError::validation("Database must be specified")) };
        Ok(Self { cluster, workgroup, database, user, secret })
    }

    /// Adds the target to a response.
    pub(crate) fn describe(&self, response: &mut Map<String, Value>) {
        let fields =
            [("ClusterIdentifier", &self.cluster), ("WorkgroupName", &self.workgroup), ("DbUser", &self.user), ("SecretArn", &self.secret)];
        for (name, value) in fields {
            if let Some(value) = value {
                response.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        response.insert("Database".to_owned(), Value::String(self.database.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn combinations_are_checked() {
        assert!(Target::new(some("c"), None, some("dev"), None, None).is_ok());
        assert!(Target::new(some("c"), None, some("dev"), some("u"), None).is_ok());
        assert!(Target::new(None, some("w"), some("dev"), None, some("arn")).is_ok());
        assert!(Target::new(some("c"), some("w"), some("dev"), None, None).is_err());
        assert!(Target::new(None, None, some("dev"), None, None).is_err());
        assert!(Target::new(None, some("w"), some("dev"), some("u"), None).is_err());
        assert!(Target::new(some("c"), None, some("dev"), some("u"), some("arn")).is_err());
        assert!(Target::new(some("c"), None, None, None, None).is_err());
    }
}
