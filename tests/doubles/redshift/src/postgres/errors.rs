//! PostgreSQL's errors in Redshift's words.

use sqlx::postgres::PgDatabaseError;

use crate::sql::error::SqlError;
use crate::sql::name;

/// Puts a driver's error in Redshift's words. Details are left out: they may hold rows' values.
pub(crate) fn translate(error: &sqlx::Error) -> SqlError {
    let sqlx::Error::Database(database) = error else {
        return SqlError::new("08006", "connection to the database was lost");
    };
    let Some(error) = database.try_downcast_ref::<PgDatabaseError>() else {
        return SqlError::new("XX000", "the database failed");
    };
    redshift(error.code(), error.message(), error.constraint(), error.column())
}

fn redshift(code: &str, message: &str, constraint: Option<&str>, column: Option<&str>) -> SqlError {
    match code {
        "23514" => check(constraint.unwrap_or_default(), message),
        "23502" => SqlError::new("23502", format!("Cannot insert a NULL value into column {}", name::shown(column.unwrap_or_default()))),
        "21000" if message.starts_with("MERGE command") => SqlError::new("21000", "Found multiple matches to update the same tuple."),
        "40001" => serialization("the transaction's tables"),
        "57014" => SqlError::new("57014", "Query cancelled on user's request"),
        "22003" if message == "numeric field overflow" => SqlError::new("22003", "Numeric data overflow (result precision)"),
        _ => SqlError::new(code, unshortened(message)),
    }
}

/// Redshift's error 1023.
pub(crate) fn serialization(what: &str) -> SqlError {
    SqlError::new("40001", "1023")
        .with_detail(format!("Serializable isolation violation on {what}, transactions forming the cycle are: concurrent writers"))
}

/// The checks that hold lengths in bytes. Their names carry the length.
fn check(constraint: &str, message: &str) -> SqlError {
    if let Some(rest) = constraint.strip_prefix("_redshift_bytes_") {
        let bytes = rest.split('_').next().unwrap_or_default();
        return SqlError::new("22001", format!("value too long for type character varying({bytes})"));
    }
    if constraint.starts_with("_redshift_ascii_") {
        return SqlError::new("22021", "CHAR string contains a multibyte character");
    }
    if let Some(rest) = constraint.strip_prefix("_redshift_varbyte_") {
        let bytes = rest.split('_').next().unwrap_or_default();
        return SqlError::new("22001", format!("value too long for type varbyte({bytes})"));
    }
    SqlError::new("23514", message)
}

/// Puts names that were shortened for PostgreSQL back.
fn unshortened(message: &str) -> String {
    name::shortened().iter().fold(message.to_owned(), |text, (short, name)| text.replace(short, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_limits_read_as_lengths() {
        let error = redshift("23514", "new row violates check constraint", Some("_redshift_bytes_20_3"), None);
        assert_eq!((error.code.as_str(), error.message.as_str()), ("22001", "value too long for type character varying(20)"));
    }

    #[test]
    fn merges_and_serialization_read_as_redshifts() {
        assert_eq!(
            redshift("21000", "MERGE command cannot affect row a second time", None, None).message,
            "Found multiple matches to update the same tuple."
        );
        assert!(
            redshift("40001", "could not serialize access", None, None)
                .to_string()
                .starts_with("ERROR: 1023\n  Detail: Serializable isolation violation on")
        );
        assert_eq!(redshift("23502", "null value", None, Some("id")).message, "Cannot insert a NULL value into column id");
    }
}
