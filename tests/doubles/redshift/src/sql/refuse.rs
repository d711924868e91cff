//! What any query or change may not contain: PostgreSQL's features that Redshift does not have.

use super::error::SqlError;
use super::name;
use super::token::Token;

/// Functions Redshift does not have. Developer guide, "Unsupported PostgreSQL functions".
const FUNCTIONS: &str = " string_agg array_agg every xmlagg corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx \
regr_sxy regr_syy array_append array_cat array_dims array_length array_lower array_ndims array_position array_positions array_prepend array_remove \
array_replace array_to_string array_upper cardinality string_to_array unnest bit_length overlay convert_from convert_to encode format quote_nullable \
regexp_matches regexp_match regexp_split_to_array regexp_split_to_table clock_timestamp justify_days justify_hours justify_interval pg_sleep \
transaction_timestamp statement_timestamp make_date make_timestamp make_interval gen_random_uuid uuid_generate_v4 nextval currval setval lastval \
generate_subscripts row_to_json to_json to_jsonb json_agg jsonb_agg json_object_agg jsonb_object_agg json_build_object jsonb_build_object json_build_array \
jsonb_build_array jsonb_array_elements json_array_elements jsonb_each json_each jsonb_set jsonb_path_query jsonb_typeof to_tsvector to_tsquery \
xmlelement xmlforest txid_current num_nulls num_nonnulls jsonb_array_elements_text jsonb_extract_path jsonb_extract_path_text \
jsonb_populate_record date_bin ";

/// Window functions' and aggregates' clauses, data modification inside queries, PostgreSQL's own syntax.
pub(crate) fn query(tokens: &[Token]) -> Result<(), SqlError> {
    for (index, token) in tokens.iter().enumerate() {
        let rest = tokens.get(index..).unwrap_or_default();
        match token {
            Token::Word(word) => check_word(word, rest, index.checked_sub(1).and_then(|before| tokens.get(before)))?,
            Token::Symbol(symbol) => check_symbol(symbol, rest)?,
            _ => {}
        }
    }
    generate_series(tokens)
}

/// A query that makes a table: nothing of it may run on the leader node only.
pub(crate) fn table_query(tokens: &[Token]) -> Result<(), SqlError> {
    query(tokens)?;
    if tokens.iter().any(|token| token.is_word("generate_series")) { Err(leader_only()) } else { Ok(()) }
}

fn leader_only() -> SqlError {
    SqlError::unsupported("Specified types or functions (one per INFO message) not supported on Redshift tables.")
        .with_detail("Function \"generate_series(integer,integer)\" not supported.")
}

/// A change also may not return rows, or resolve conflicts.
pub(crate) fn change(tokens: &[Token]) -> Result<(), SqlError> {
    query(tokens)?;
    for (index, token) in tokens.iter().enumerate() {
        if token.is_word("returning") {
            return Err(SqlError::syntax("returning"));
        }
        if follows(tokens.get(index..).unwrap_or_default(), &["on", "conflict"]) {
            return Err(SqlError::syntax("on"));
        }
    }
    Ok(())
}

fn follows(tokens: &[Token], words: &[&str]) -> bool {
    words.iter().enumerate().all(|(ahead, word)| tokens.get(ahead).is_some_and(|token| token.is_word(word)))
}

fn opens(tokens: &[Token], ahead: usize) -> bool {
    tokens.get(ahead).is_some_and(|token| token.is_symbol("("))
}

fn check_word(word: &str, rest: &[Token], before: Option<&Token>) -> Result<(), SqlError> {
    let after_dot = before.is_some_and(|token| token.is_symbol("."));
    if name::is_never_syntax(word) && !opens(rest, 1) {
        return Err(SqlError::syntax(word));
    }
    if after_dot {
        return Ok(());
    }
    if opens(rest, 1) && FUNCTIONS.contains(&format!(" {word} ")) {
        return Err(SqlError::unsupported("Specified types or functions (one per INFO message) not supported on Redshift tables.")
            .with_detail(format!("Function \"{word}\" not supported.")));
    }
    match word {
        "distinct" if follows(rest, &["distinct", "on"]) && opens(rest, 2) => {
            Err(SqlError::unsupported("SELECT DISTINCT ON is not supported"))
        }
        "is" if follows(rest, &["is", "distinct", "from"]) || follows(rest, &["is", "not", "distinct", "from"]) => {
            Err(SqlError::syntax("distinct"))
        }
        "filter" if opens(rest, 1) && rest.get(2).is_some_and(|token| token.is_word("where")) => Err(SqlError::syntax("(")),
        "lateral" => Err(SqlError::syntax("lateral")),
        "tablesample" => Err(SqlError::syntax("tablesample")),
        "for" if ["update", "share"].iter().any(|lock| follows(rest, &["for", lock])) => {
            Err(SqlError::unsupported("SELECT FOR UPDATE/SHARE is not supported"))
        }
        "with" if follows(rest, &["with", "ordinality"]) => Err(SqlError::syntax("ordinality")),
        "array" if rest.get(1).is_some_and(|token| token.is_symbol("[")) => Err(SqlError::syntax("[")),
        "from" | "join" | "using" if opens(rest, 1) && rest.get(2).is_some_and(|token| token.is_word("values")) => {
            Err(SqlError::syntax("values"))
        }
        "as" if opens(rest, 1)
            && ["insert", "update", "delete", "merge", "values"]
                .iter()
                .any(|verb| rest.get(2).is_some_and(|token| token.is_word(verb))) =>
        {
            Err(SqlError::syntax(rest.get(2).map_or("", Token::near)))
        }
        "fetch" if follows(rest, &["fetch", "first"]) || follows(rest, &["fetch", "next"]) => Err(SqlError::syntax("fetch")),
        "qualify" => Err(SqlError::beyond_double("QUALIFY")),
        "pivot" | "unpivot" => Err(SqlError::beyond_double(&word.to_uppercase())),
        "exclude" if before.is_some_and(|token| token.is_symbol("*")) => Err(SqlError::beyond_double("SELECT * EXCLUDE")),
        _ if is_spatial(word) && opens(rest, 1) => Err(SqlError::beyond_double(&format!("the spatial function {}", word.to_uppercase()))),
        _ => Ok(()),
    }
}

fn is_spatial(word: &str) -> bool {
    word.starts_with("st_") || word.starts_with("h3_")
}

fn check_symbol(symbol: &str, rest: &[Token]) -> Result<(), SqlError> {
    match symbol {
        "->" | "=>" | "~~" => Err(SqlError::syntax(symbol)),
        "@" if rest.get(1).is_some_and(|token| token.is_symbol(">")) => Err(SqlError::syntax("@>")),
        _ => Ok(()),
    }
}

/// `generate_series` runs on the leader node only: alone it works, with a table it does not.
fn generate_series(tokens: &[Token]) -> Result<(), SqlError> {
    let series = tokens
        .iter()
        .enumerate()
        .any(|(index, token)| token.is_word("generate_series") && opens(tokens.get(index..).unwrap_or_default(), 1));
    if !series {
        return Ok(());
    }
    let with_table = tokens.windows(2).any(|pair| {
        let [first, second] = pair else { return false };
        let names_relation =
            matches!(second, Token::Word(word) if word != "generate_series" && word != "select") || matches!(second, Token::Quoted(_));
        (first.is_word("from") || first.is_word("join") || first.is_word("into")) && names_relation
    });
    let creates = tokens.first().is_some_and(|token| token.is_word("create") || token.is_word("insert"));
    if with_table || creates {
        return Err(leader_only());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn refused(text: &str) -> bool {
        let tokens = tokenize(text, Reading::default()).unwrap();
        change(&tokens).is_err()
    }

    #[test]
    fn what_redshift_does_not_have_is_refused() {
        for text in [
            "insert into t values (1) on conflict do nothing",
            "insert into t values (1) returning id",
            "delete from t returning *",
            "select distinct on (a) a, b from t",
            "select count(*) filter (where a > 1) from t",
            "select * from t, generate_series(1, 10)",
            "insert into t select generate_series(1, 10)",
            "select string_agg(a, ',') from t",
            "select array_agg(a) from t",
            "select a is distinct from b from t",
            "select a is not distinct from b from t",
            "select * from (values (1), (2)) as v",
            "with v as (values (1)) select * from v",
            "with gone as (delete from t) select 1",
            "select array[1, 2]",
            "select * from t, lateral (select 1) x",
            "select * from t for update",
            "select * from t tablesample bernoulli (1)",
            "select gen_random_uuid()",
            "select jsonb_build_object('a', 1)",
            "select a -> 'b' from t",
            "select unnest(a) from t",
            "select nextval('s')",
            "select tag from t",
            "select t.snapshot from t",
            "select a from t fetch first 1 rows only",
        ] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn what_redshift_has_passes() {
        for text in [
            "select count(distinct a) from t where a in (select b from u)",
            "select generate_series(1, 3)",
            "select * from generate_series(1, 3)",
            "with v as (select 1 as a) select * from v",
            "select sum(a) over (partition by b order by c rows between unbounded preceding and current row) from t",
            "insert into t (a, b) values (1, 2), (3, 4)",
            "select \"tag\" from t",
            "select case when a is null then 1 else 2 end from t left join u using (k)",
            "select a::varchar(10), cast(b as decimal(10,2)) from t",
            "select extract(day from d), substring(a from 1 for 2) from t",
        ] {
            assert!(!refused(text), "{text}");
        }
    }

    #[test]
    fn what_only_the_double_lacks_says_so() {
        for text in
            ["select a from t qualify row_number() over (order by a) = 1", "select st_point(1, 2)", "select h3_fromlonglat(0, 0, 10)"]
        {
            let tokens = tokenize(text, Reading::default()).unwrap();
            assert!(query(&tokens).unwrap_err().message.contains("Redshift double"), "{text}");
        }
    }
}
