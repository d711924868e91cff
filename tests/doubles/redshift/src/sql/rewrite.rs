//! Redshift's expressions in PostgreSQL's words: functions, casts, `TOP`, `MINUS`, system views, parameters.

use super::cursor::{Cursor, closing, list};
use super::data_type::DataType;
use super::error::SqlError;
use super::name;
use super::token::Token;

/// What the rewriting of one statement needs to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewriting {
    /// Columns of type SUPER, by name: `a.b[0].c` after one of these is navigation.
    pub(crate) super_columns: Vec<String>,
}

/// Rewrites a query, a change or an expression.
pub(crate) fn expressions(tokens: &[Token], rewriting: &Rewriting) -> Result<Vec<Token>, SqlError> {
    let tokens = top(tokens)?;
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let rest = tokens.get(index..).unwrap_or_default();
        let after_dot = out.last().is_some_and(|token| token.is_symbol("."));
        let used = match token {
            Token::Word(word) if !after_dot => keyword(word, rest, &mut out, rewriting)?,
            Token::Symbol(symbol) if symbol == "::" => cast_after(rest, &mut out)?,
            Token::Symbol(symbol) if symbol == "(" => {
                let end = closing(rest).ok_or_else(SqlError::end_of_input)?;
                out.push(token.clone());
                out.extend(expressions(rest.get(1..end).unwrap_or_default(), rewriting)?);
                out.push(Token::symbol(")"));
                end + 1
            }
            Token::Symbol(symbol) if symbol == ")" => return Err(SqlError::syntax(")")),
            _ => 0,
        };
        let used = if used == 0 { navigation(rest, &mut out, rewriting)? } else { used };
        if used == 0 {
            out.push(token.clone());
            index += 1;
        } else {
            index += used;
        }
    }
    Ok(out)
}

fn opens(tokens: &[Token], ahead: usize) -> bool {
    tokens.get(ahead).is_some_and(|token| token.is_symbol("("))
}

/// The arguments of a call whose name stands first, and how many tokens the call takes.
fn arguments(rest: &[Token]) -> Result<(Vec<&[Token]>, usize), SqlError> {
    let call = rest.get(1..).unwrap_or_default();
    let end = closing(call).ok_or_else(SqlError::end_of_input)?;
    let inside = call.get(1..end).unwrap_or_default();
    let arguments = if inside.is_empty() { Vec::new() } else { list(inside) };
    Ok((arguments, end + 2))
}

/// Rewrites what begins with a word. Returns how many tokens were used: 0 leaves the word to the caller.
fn keyword(word: &str, rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let calls = opens(rest, 1);
    let before = out.last();
    match word {
        "sysdate" => push(out, "_redshift.sysdate()", 1),
        "minus" if rest.get(1).is_some_and(|token| token.is_word("select") || token.is_symbol("(")) && before.is_some() => {
            push(out, "except", 1)
        }
        "approximate" if rest.get(1).is_some_and(|token| token.is_word("count") || token.is_word("percentile_disc")) => Ok(skip(1)),
        "nvl" if calls => push(out, "coalesce", 1),
        "version" if calls => push(out, "_redshift.version", 1),
        "now" if calls => {
            Err(SqlError::unsupported("Specified types or functions (one per INFO message) not supported on Redshift tables.")
                .with_detail("Function \"now()\" not supported."))
        }
        "regexp_replace" if calls => push(out, "_redshift.regexp_replace_all", 1),
        "array" if calls => push(out, "jsonb_build_array", 1),
        "object" if calls => push(out, "jsonb_build_object", 1),
        "nvl2" if calls => nvl2(rest, out, rewriting),
        "decode" if calls => decode(rest, out, rewriting),
        "dateadd" | "date_add" | "datediff" | "date_diff" | "date_part" | "datepart" if calls => date_function(word, rest, out, rewriting),
        "listagg" if calls => listagg(rest, out, rewriting),
        "cast" if calls => cast_call(rest, out, rewriting),
        "convert" if calls => convert(rest, out, rewriting),
        "pg_catalog" => system_relation(rest, out),
        _ => Ok(0),
    }
}

/// A word that is dropped: `APPROXIMATE` changes the result's precision, not its meaning.
fn skip(used: usize) -> usize {
    used
}

fn push(out: &mut Vec<Token>, sql: &str, used: usize) -> Result<usize, SqlError> {
    out.push(Token::Raw(sql.to_owned()));
    Ok(used)
}

fn extend(out: &mut Vec<Token>, tokens: &[Token], rewriting: &Rewriting) -> Result<(), SqlError> {
    out.extend(expressions(tokens, rewriting)?);
    Ok(())
}

fn nvl2(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, used) = arguments(rest)?;
    let [tested, present, absent] = arguments.as_slice() else { return Err(SqlError::new("42883", "function nvl2 takes three arguments")) };
    push(out, "(case when (", 0)?;
    extend(out, tested, rewriting)?;
    push(out, ") is not null then (", 0)?;
    extend(out, present, rewriting)?;
    push(out, ") else (", 0)?;
    extend(out, absent, rewriting)?;
    push(out, ") end)", used)
}

/// `DECODE(value, search, result, …, default)`: NULL matches NULL.
fn decode(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, used) = arguments(rest)?;
    let [value, pairs @ ..] = arguments.as_slice() else { return Err(SqlError::new("42883", "function decode() does not exist")) };
    if pairs.len() < 2 {
        return Err(SqlError::new("42883", "function decode takes at least three arguments"));
    }
    push(out, "(case", 0)?;
    let mut pairs = pairs.chunks(2);
    for pair in pairs.by_ref() {
        match pair {
            [search, result] => {
                push(out, "when (", 0)?;
                extend(out, value, rewriting)?;
                push(out, ") is not distinct from (", 0)?;
                extend(out, search, rewriting)?;
                push(out, ") then (", 0)?;
                extend(out, result, rewriting)?;
            }
            [otherwise] => {
                push(out, "else (", 0)?;
                extend(out, otherwise, rewriting)?;
            }
            _ => {}
        }
        push(out, ")", 0)?;
    }
    push(out, "end)", used)
}

/// The first argument is a date part, bare or quoted.
fn date_function(word: &str, rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, used) = arguments(rest)?;
    let [part, others @ ..] = arguments.as_slice() else { return Err(SqlError::new("42883", format!("function {word}() does not exist"))) };
    let part = match part {
        [Token::Word(part) | Token::Quoted(part) | Token::Text(part)] => part.to_ascii_lowercase(),
        _ => return Err(SqlError::syntax(part.first().map_or(",", Token::near))),
    };
    let function = match word {
        "dateadd" | "date_add" => "_redshift.dateadd",
        "datediff" | "date_diff" => "_redshift.datediff",
        _ => "_redshift.date_part",
    };
    push(out, &format!("{function}({}", name::literal(&part)), 0)?;
    for other in others {
        push(out, ", ", 0)?;
        extend(out, other, rewriting)?;
    }
    push(out, ")", used)
}

/// `LISTAGG([DISTINCT] value [, separator]) [WITHIN GROUP (ORDER BY …)]`.
fn listagg(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, mut used) = arguments(rest)?;
    let (value, separator) = match arguments.as_slice() {
        [value] => (*value, None),
        [value, separator] => (*value, Some(*separator)),
        _ => return Err(SqlError::new("42883", "function listagg takes one or two arguments")),
    };
    let (distinct, value) = match value.split_first() {
        Some((first, others)) if first.is_word("distinct") => (true, others),
        _ => (false, value),
    };
    let mut order: &[Token] = &[];
    let tail = rest.get(used..).unwrap_or_default();
    if tail.first().is_some_and(|token| token.is_word("within")) {
        let group = tail.get(2..).unwrap_or_default();
        let end = closing(group).ok_or_else(SqlError::end_of_input)?;
        order = group.get(1..end).unwrap_or_default();
        used += end + 3;
    }
    if rest.get(used).is_some_and(|token| token.is_word("over")) {
        return Err(SqlError::beyond_double("LISTAGG as a window function"));
    }
    push(out, "_redshift.listagg_limit(string_agg(", 0)?;
    if distinct {
        push(out, "distinct", 0)?;
    }
    push(out, "(", 0)?;
    extend(out, value, rewriting)?;
    push(out, ")::text,", 0)?;
    match separator {
        Some(separator) => extend(out, separator, rewriting)?,
        None => {
            push(out, "''", 0)?;
        }
    }
    if distinct && !order.is_empty() {
        push(out, "order by (", 0)?;
        extend(out, value, rewriting)?;
        push(out, ")::text", 0)?;
        if order.last().is_some_and(|token| token.is_word("desc")) {
            push(out, "desc", 0)?;
        }
    } else {
        extend(out, order, rewriting)?;
    }
    push(out, "))", used)
}

fn cast_call(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, used) = arguments(rest)?;
    let [argument] = arguments.as_slice() else { return Err(SqlError::syntax(",")) };
    let mut cursor = Cursor::new(argument);
    let mut value = cursor.until(&["as"])?;
    cursor.expect(&["as"])?;
    // The last `AS` outside parentheses separates: `CAST(CASE … END AS type)` has one, nested casts are in parentheses.
    let kind = cast_type(&mut cursor)?;
    cursor.expect_end()?;
    if value.is_empty() {
        value = &[];
    }
    if kind == "jsonb" {
        push(out, "_redshift.to_super(", 0)?;
        extend(out, value, rewriting)?;
        return push(out, ")", used);
    }
    push(out, "cast(", 0)?;
    extend(out, value, rewriting)?;
    push(out, &format!("as {kind})"), used)
}

fn convert(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let (arguments, used) = arguments(rest)?;
    let [kind, value] = arguments.as_slice() else { return Err(SqlError::new("42883", "function convert takes a type and a value")) };
    let kind = cast_type(&mut Cursor::new(kind))?;
    push(out, "cast(", 0)?;
    extend(out, value, rewriting)?;
    push(out, &format!("as {kind})"), used)
}

/// A cast's type in PostgreSQL's words; catalog types pass as they are.
fn cast_type(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    if let Some(Token::Word(word)) = cursor.peek()
        && ["regclass", "name", "oid", "regtype", "regproc"].contains(&word.as_str())
    {
        cursor.take()?;
        return Ok(word.clone());
    }
    Ok(DataType::parse(cursor, "unknown")?.postgres())
}

fn cast_after(rest: &[Token], out: &mut Vec<Token>) -> Result<usize, SqlError> {
    let mut cursor = Cursor::new(rest);
    cursor.expect_symbol("::")?;
    let kind = cast_type(&mut cursor)?;
    if kind == "jsonb" {
        let start = operand_start(out);
        out.insert(start, Token::Raw("_redshift.to_super(".to_owned()));
        out.push(Token::symbol(")"));
    } else {
        out.push(Token::Raw(format!(":: {kind}")));
    }
    Ok(cursor.position())
}

/// Where the operand that ends `out` begins: a constant, a name, a call or parentheses.
fn operand_start(out: &[Token]) -> usize {
    let mut start = out.len();
    if out.last().is_some_and(|token| token.is_symbol(")")) {
        let mut depth = 0_usize;
        while start > 0 {
            start -= 1;
            let token = out.get(start);
            if token.is_some_and(|token| token.is_symbol(")")) {
                depth += 1;
            } else if token.is_some_and(|token| token.is_symbol("(")) {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
        }
        if start == 0 || !matches!(out.get(start - 1), Some(Token::Word(word)) if !name::is_reserved(word)) {
            return start;
        }
    }
    start = start.saturating_sub(1);
    while start >= 2 && out.get(start - 1).is_some_and(|token| token.is_symbol(".")) {
        start -= 2;
    }
    start
}

/// `pg_catalog.svv_tables` and its like are the double's own.
fn system_relation(rest: &[Token], out: &mut Vec<Token>) -> Result<usize, SqlError> {
    const PREFIXES: [&str; 6] = ["svv_", "sys_", "stl_", "stv_", "svl_", "pg_table_def"];
    match (rest.get(1), rest.get(2)) {
        (Some(dot), Some(Token::Word(relation))) if dot.is_symbol(".") && PREFIXES.iter().any(|prefix| relation.starts_with(prefix)) => {
            push(out, "_redshift", 1)
        }
        _ => Ok(0),
    }
}

/// SUPER navigation: `column.field[0].field` becomes subscripts. The column is known by its name, so an alias or
/// another column of the same name must not be followed by a dot.
fn navigation(rest: &[Token], out: &mut Vec<Token>, rewriting: &Rewriting) -> Result<usize, SqlError> {
    let Some(Token::Word(column) | Token::Quoted(column)) = rest.first() else { return Ok(0) };
    let steps = rest.get(1).is_some_and(|token| token.is_symbol(".") || token.is_symbol("["));
    if !steps || !rewriting.super_columns.contains(column) {
        return Ok(0);
    }
    out.extend(rest.first().cloned());
    let mut used = 1;
    loop {
        match (rest.get(used), rest.get(used + 1), rest.get(used + 2)) {
            (Some(dot), Some(Token::Word(field) | Token::Quoted(field)), _) if dot.is_symbol(".") => {
                push(out, &format!("[{}]", name::literal(field)), 0)?;
                used += 2;
            }
            (Some(bracket), Some(Token::Number(place)), Some(close)) if bracket.is_symbol("[") && close.is_symbol("]") => {
                push(out, &format!("[{place}]"), 0)?;
                used += 3;
            }
            _ => return Ok(used),
        }
    }
}

/// `SELECT TOP n …` becomes `SELECT … LIMIT n` on its own level.
fn top(tokens: &[Token]) -> Result<Vec<Token>, SqlError> {
    let mut out = tokens.to_vec();
    let found = out.windows(3).enumerate().find_map(|(index, three)| {
        let [first, second, third] = three else { return None };
        let plain = first.is_word("select") && second.is_word("top") && matches!(third, Token::Number(_));
        plain.then_some(index)
    });
    let Some(index) = found.filter(|index| depth(tokens, *index) == 0) else { return Ok(out) };
    let combined = tokens.iter().enumerate().any(|(place, token)| {
        let word = ["union", "intersect", "except", "minus"].iter().any(|word| token.is_word(word));
        word && depth(tokens, place) == 0
    });
    if combined {
        return Err(SqlError::beyond_double("TOP in a branch of UNION, INTERSECT or EXCEPT"));
    }
    let limit = out.get(index + 2).cloned();
    out.drain(index + 1..index + 3);
    out.push(Token::word("limit"));
    out.extend(limit);
    Ok(out)
}

fn depth(tokens: &[Token], place: usize) -> usize {
    tokens.iter().take(place).fold(0_usize, |depth, token| match token {
        token if token.is_symbol("(") => depth + 1,
        token if token.is_symbol(")") => depth.saturating_sub(1),
        _ => depth,
    })
}

/// Tokens as text for PostgreSQL.
pub(crate) fn render(tokens: &[Token]) -> String {
    let mut sql = String::new();
    for token in tokens {
        if !sql.is_empty() {
            sql.push(' ');
        }
        match token {
            Token::Word(word) => sql.push_str(&name::stored(word)),
            Token::Quoted(quoted) => sql.push_str(&name::quote(quoted)),
            Token::Text(value) | Token::Parameter(value) => sql.push_str(&name::literal(value)),
            Token::Number(text) | Token::Symbol(text) | Token::Raw(text) => sql.push_str(text),
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn rewritten(text: &str) -> String {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let rewriting = Rewriting { super_columns: vec!["payload".to_owned()] };
        render(&expressions(&tokens, &rewriting).unwrap())
    }

    #[test]
    fn functions_are_put_in_postgres_words() {
        assert_eq!(rewritten("select nvl(a, 0), sysdate, getdate()"), "select coalesce ( a , 0 ) , _redshift.sysdate() , getdate ( )");
        assert_eq!(rewritten("select dateadd(day, 1, d)"), "select _redshift.dateadd('day' ,  1 ,  d )");
        assert_eq!(rewritten("select approximate count(distinct a) from t"), "select count ( distinct a ) from t");
        assert_eq!(rewritten("select a from t minus select a from u"), "select a from t except select a from u");
        assert_eq!(
            rewritten("select listagg(a, ',') within group (order by b desc) from t"),
            "select _redshift.listagg_limit(string_agg( ( a )::text, ',' order by b desc )) from t"
        );
        assert_eq!(rewritten("select nvl2(a, 1, 2)"), "select (case when ( a ) is not null then ( 1 ) else ( 2 ) end)");
    }

    #[test]
    fn top_becomes_limit_on_its_own_level() {
        assert_eq!(rewritten("select top 3 a from t order by a"), "select a from t order by a limit 3");
        assert_eq!(rewritten("select * from (select top 3 a from t) x"), "select * from ( select a from t limit 3 ) x");
    }

    #[test]
    fn casts_take_redshifts_lengths() {
        assert_eq!(rewritten("a::varchar"), "a :: character varying(256)");
        assert_eq!(rewritten("cast(a as decimal)"), "cast( a as numeric(18,0))");
        assert_eq!(rewritten("f(x)::super"), "_redshift.to_super( f ( x ) )");
        assert_eq!(rewritten("select 'a'::super"), "select _redshift.to_super( 'a' )");
    }

    #[test]
    fn navigation_into_super_becomes_subscripts() {
        assert_eq!(rewritten("select t.payload.items[0].sku from t"), "select t . payload ['items'] [0] ['sku'] from t");
        assert_eq!(rewritten("select t.other from t"), "select t . other from t");
    }

    #[test]
    fn system_views_are_found_in_pg_catalog() {
        assert_eq!(rewritten("select * from pg_catalog.svv_tables"), "select * from _redshift . svv_tables");
        assert_eq!(rewritten("select * from pg_catalog.pg_class"), "select * from pg_catalog . pg_class");
    }
}
