//! Expressions of plans as people would write them in SQL.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{BinaryExpr, InList, ScalarFunction};

/// A condition in words: columns without their tables, texts in quotes, casts left out.
pub(super) fn words(expression: &Expr) -> String {
    let list = |items: &[Expr]| items.iter().map(words).collect::<Vec<_>>().join(", ");
    match expression {
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(alias) => words(&alias.expr),
        Expr::Cast(cast) => words(&cast.expr),
        Expr::TryCast(cast) => words(&cast.expr),
        Expr::Not(inner) => format!("NOT {}", words(inner)),
        Expr::IsNull(inner) => format!("{} IS NULL", words(inner)),
        Expr::IsNotNull(inner) => format!("{} IS NOT NULL", words(inner)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("{} {op} {}", words(left), words(right)),
        Expr::InList(InList { expr, list: items, negated }) => {
            format!("{} {}IN ({})", words(expr), if *negated { "NOT " } else { "" }, list(items))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => match (func.name(), args.as_slice()) {
            ("get_field", [of, names @ ..]) => names.iter().fold(words(of), |of, name| format!("{of}[{}]", words(name))),
            (name, args) => format!("{name}({})", list(args)),
        },
        other => other.human_display().to_string(),
    }
}

fn literal(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "NULL".to_owned(),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        value if value.data_type().is_numeric() || matches!(value, ScalarValue::Boolean(_)) => value.to_string(),
        value => format!("'{value}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{cast, col, lit};

    #[test]
    fn conditions_read_like_sql() {
        let condition = cast(col("o.total"), DataType::Float64).gt(lit(1)).and(col("name").eq(lit("it's")));
        assert_eq!(words(&condition), "total > 1 AND name = 'it''s'");
        assert_eq!(words(&col("a").in_list(vec![lit(1), lit(2)], true)), "a NOT IN (1, 2)");
        assert_eq!(words(&col("a").is_null()), "a IS NULL");
    }
}
