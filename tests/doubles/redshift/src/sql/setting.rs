//! Transactions' borders and session settings.

use super::cursor::Cursor;
use super::error::SqlError;
use super::name::literal;
use super::plan::Plan;
use super::token::Token;

/// Settings PostgreSQL has too. Configuration reference of the cluster management guide.
const SHARED: [&str; 4] = ["statement_timeout", "timezone", "datestyle", "application_name"];
/// Settings of Redshift's own: kept and shown, without effect except for identifiers' case.
const OWN: [&str; 14] = [
    "enable_case_sensitive_identifier",
    "enable_result_cache_for_session",
    "enable_case_sensitive_super_attribute",
    "downcase_delimited_identifier",
    "query_group",
    "wlm_query_slot_count",
    "analyze_threshold_percent",
    "auto_analyze",
    "describe_field_name_in_uppercase",
    "extra_float_digits",
    "json_serialization_enable",
    "json_parse_dedup_attributes",
    "mv_enable_aqmv_for_session",
    "use_fips_ssl",
];

/// BEGIN or START TRANSACTION, after the first word.
pub(crate) fn begin(cursor: &mut Cursor<'_>, verb: &str) -> Result<Plan, SqlError> {
    if verb == "start" {
        cursor.expect(&["transaction"])?;
    } else if !cursor.accept(&["work"]) {
        cursor.accept(&["transaction"]);
    }
    let mut isolation = None;
    while !cursor.at_end() {
        if cursor.accept(&["isolation", "level"]) {
            // Redshift runs every level as its own: the levels below are accepted for compatibility.
            let level = cursor
                .rest()
                .iter()
                .map_while(|token| if let Token::Word(word) = token { Some(word.as_str()) } else { None })
                .take(2)
                .collect::<Vec<_>>();
            let (name, words) = match level.as_slice() {
                ["serializable", ..] => ("SERIALIZABLE", 1),
                ["snapshot", ..] => ("REPEATABLE READ", 1),
                ["read", "committed" | "uncommitted"] | ["repeatable", "read"] => ("", 2),
                _ => return Err(cursor.unexpected()),
            };
            for _ in 0..words {
                cursor.take()?;
            }
            isolation = (!name.is_empty()).then(|| name.to_owned());
        } else if !cursor.accept(&["read", "write"]) && !cursor.accept(&["read", "only"]) && !cursor.accept_symbol(",") {
            return Err(cursor.unexpected());
        }
    }
    Ok(Plan::Begin { isolation })
}

/// COMMIT, END, ROLLBACK, ABORT, after the first word; ROLLBACK TO is refused.
pub(crate) fn end(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.is_word("to") {
        return Err(SqlError::unsupported("SQL command \"ROLLBACK TO SAVEPOINT\" not supported on Redshift tables."));
    }
    if !cursor.accept(&["work"]) {
        cursor.accept(&["transaction"]);
    }
    cursor.expect_end()
}

/// SET and RESET, after the first word.
pub(crate) fn set(cursor: &mut Cursor<'_>, verb: &str) -> Result<Plan, SqlError> {
    if !cursor.accept(&["session"]) {
        cursor.accept(&["local"]);
    }
    if cursor.is_word("authorization") {
        return Err(SqlError::beyond_double("SET SESSION AUTHORIZATION"));
    }
    let Token::Word(name) = cursor.take()? else { return Err(cursor.unexpected()) };
    let mut name = name.clone();
    while cursor.accept_symbol(".") {
        let Token::Word(part) = cursor.take()? else { return Err(cursor.unexpected()) };
        name = format!("{name}.{part}");
    }
    let value = if verb == "reset" {
        cursor.expect_end()?;
        None
    } else {
        if !cursor.accept(&["to"]) && !cursor.accept_symbol("=") {
            return Err(cursor.unexpected());
        }
        let words: Vec<String> = cursor.rest().iter().filter(|token| !token.is_symbol(",")).map(|token| token.near().to_owned()).collect();
        (words != ["default"]).then_some(words)
    };
    apply(&name, value)
}

fn apply(name: &str, value: Option<Vec<String>>) -> Result<Plan, SqlError> {
    let joined = value.as_ref().map(|words| words.join(" "));
    let case_sensitive =
        (name == "enable_case_sensitive_identifier").then(|| joined.as_deref().is_some_and(|text| ["true", "on", "1"].contains(&text)));
    let sql = match (name, &value) {
        ("search_path", Some(schemas)) => {
            let schemas: Vec<String> =
                schemas.iter().map(|schema| if schema == "$user" { "\"$user\"".to_owned() } else { super::name::quote(schema) }).collect();
            format!("SET search_path TO {}, _redshift", schemas.join(", "))
        }
        ("search_path", None) => "RESET search_path".to_owned(),
        (shared, Some(_)) if SHARED.contains(&shared) => format!("SET {shared} TO {}", literal(&joined.unwrap_or_default())),
        (shared, None) if SHARED.contains(&shared) => format!("RESET {shared}"),
        (own, _) if OWN.contains(&own) => format!("SELECT set_config('redshift.{own}', {}, false)", literal(&joined.unwrap_or_default())),
        (custom, _) if custom.contains('.') => {
            format!("SELECT set_config({}, {}, false)", literal(custom), literal(&joined.unwrap_or_default()))
        }
        (unknown, _) => return Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{unknown}\""))),
    };
    Ok(Plan::Set { sql, case_sensitive })
}

/// SHOW, after that word.
pub(crate) fn show(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    let Token::Word(name) = cursor.take()? else { return Err(cursor.unexpected()) };
    if ["schemas", "tables", "columns", "databases", "view", "table", "model", "datashares", "grants"].contains(&name.as_str()) {
        return Err(SqlError::beyond_double(&format!("SHOW {}", name.to_uppercase())));
    }
    cursor.expect_end()?;
    let sql = if OWN.contains(&name.as_str()) {
        format!("SELECT coalesce(current_setting('redshift.{name}', true), '') AS {name}")
    } else {
        format!("SHOW {name}")
    };
    Ok(Plan::Query { sql })
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::Rewriting;
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn planned(text: &str) -> Result<Plan, SqlError> {
        super::super::plan::plan(&tokenize(text, Reading::default()).unwrap(), &Rewriting::default())
    }

    #[test]
    fn the_search_path_keeps_the_functions_of_the_double() {
        let Plan::Set { sql, .. } = planned("set search_path to mart, public").unwrap() else { panic!() };
        assert_eq!(sql, "SET search_path TO \"mart\", \"public\", _redshift");
    }

    #[test]
    fn case_sensitivity_is_told_to_the_reader() {
        let Plan::Set { case_sensitive, .. } = planned("set enable_case_sensitive_identifier to true").unwrap() else { panic!() };
        assert_eq!(case_sensitive, Some(true));
        assert!(planned("set work_mem to '1GB'").is_err());
    }

    #[test]
    fn transactions_have_no_savepoints() {
        assert!(matches!(
            planned("begin transaction isolation level serializable read write").unwrap(),
            Plan::Begin { isolation: Some(_) }
        ));
        assert!(matches!(planned("end transaction").unwrap(), Plan::Commit));
        assert!(planned("rollback to a").is_err());
    }
}
