use super::super::testing::{assert_snapshot, contract, layout, orders};
use super::*;

fn target() -> Relation {
    Relation::new("marts", "orders").unwrap()
}

fn plan(contract: &Contract, stored: Option<&[StoredColumn]>) -> Result<Plan> {
    let mut plan = Plan::default();
    compare(&mut plan, contract, &layout(), &target(), stored, true)?;
    Ok(plan)
}

fn text_of(plan: &Plan) -> String {
    let lines = |title: &str, statements: &[Statement]| {
        statements.iter().map(|statement| format!("-- {title}\n{};\n\n", statement.text)).collect::<String>()
    };
    let changes: String = plan.changes.iter().map(|change| format!("-- {} {}\n", change.sign, change.what)).collect();
    let whole: String = plan.whole.iter().map(|statements| lines("whole", statements)).collect();
    format!("{changes}\n{}{whole}{}", lines("together", &plan.together), lines("alone", &plan.alone))
}

fn stored(name: &str, words: &str, nullable: bool) -> StoredColumn {
    let (name_of_type, numbers) = words.trim_end_matches(')').split_once('(').unwrap_or((words, ""));
    let mut numbers = numbers.split(',').filter_map(|number| number.parse::<u32>().ok());
    let (first, second) = (numbers.next(), numbers.next());
    let scale = second.and_then(|scale| i8::try_from(scale).ok());
    let data_type = WarehouseType::of_catalog(name_of_type, first, first.and_then(|n| u8::try_from(n).ok()), scale);
    StoredColumn {
        name: name.to_owned(),
        data_type,
        words: data_type.map_or_else(|| words.to_owned(), |found| found.to_string()),
        nullable,
    }
}

fn as_declared() -> Vec<StoredColumn> {
    vec![
        stored("order_id", "varchar(24)", false),
        stored("store_id", "integer", false),
        stored("status", "varchar(256)", true),
        stored("total", "numeric(18,2)", true),
        stored("updated_at", "timestamptz", true),
    ]
}

#[test]
fn a_new_table_gets_keys_comments_and_no_old_markers() {
    let mut plan = Plan::default();
    plan.create_schema(META_SCHEMA).unwrap();
    plan.create_schema("marts").unwrap();
    plan.create_meta();
    compare(&mut plan, &orders(), &layout(), &target(), None, false).unwrap();
    assert_snapshot("create.sql", &text_of(&plan));
    let again = super::tests::plan(&orders(), None).unwrap();
    assert!(
        again
            .together
            .iter()
            .any(|statement| statement.text == "DELETE FROM \"pipeline_meta\".\"loads\" WHERE table_name = 'marts.orders'")
    );
}

#[test]
fn distributions() {
    let name = |text: &str| pipeline_core::name::ColumnName::new(text).unwrap();
    for (layout, text) in [
        (Layout::default(), ""),
        (Layout { distribution: Distribution::Even, sort: vec![] }, " DISTSTYLE EVEN"),
        (Layout { distribution: Distribution::All, sort: vec![name("a")] }, " DISTSTYLE ALL SORTKEY (\"a\")"),
        (Layout { distribution: Distribution::Key(name("user")), sort: vec![] }, " DISTSTYLE KEY DISTKEY (\"user\")"),
    ] {
        assert_eq!(attributes(&layout).unwrap(), text);
    }
}

#[test]
fn a_table_as_declared_needs_nothing() {
    assert_eq!(plan(&orders(), Some(&as_declared())).unwrap(), Plan::default());
}

#[test]
fn wider_text_and_looser_nulls_in_the_warehouse_are_left_alone() {
    let mut columns = as_declared();
    columns[2] = stored("status", "varchar(1000)", true);
    columns[1].nullable = true;
    assert_eq!(plan(&orders(), Some(&columns)).unwrap(), Plan::default());
}

#[test]
fn columns_are_added_and_widened() {
    let mut columns = as_declared();
    columns.pop();
    columns[2] = stored("status", "varchar(10)", true);
    assert_snapshot("widen.sql", &text_of(&plan(&orders(), Some(&columns)).unwrap()));
}

#[test]
fn columns_get_to_hold_null_with_all_their_values() {
    let mut columns = as_declared();
    columns[2] = stored("status", "varchar(10)", false);
    columns[3].nullable = false;
    let plan = plan(&orders(), Some(&columns)).unwrap();
    assert!(plan.whole.iter().all(|batch| batch.len() <= super::super::api::BATCH_STATEMENTS_MAX));
    assert_snapshot("loosen.sql", &text_of(&plan));
}

#[test]
fn many_columns_are_loosened_in_transactions_that_the_data_api_takes() {
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let declared: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "int")).collect();
    let contract = contract("wide", &declared, &[], None);
    let columns: Vec<StoredColumn> = names.iter().map(|name| stored(name, "integer", false)).collect();
    let mut plan = Plan::default();
    compare(&mut plan, &contract, &Layout::default(), &target(), Some(&columns), true).unwrap();
    assert_eq!(plan.whole.len(), 3);
    assert!(plan.whole.iter().all(|batch| batch.len() <= super::super::api::BATCH_STATEMENTS_MAX));
    assert_eq!(plan.whole.iter().flatten().filter(|statement| statement.text.contains("DROP COLUMN")).count(), 20);
}

#[test]
fn what_would_lose_data_is_refused_with_every_difference() {
    let mut columns = as_declared();
    columns[3] = stored("total", "numeric(38,2)", true);
    columns[1] = stored("store_id", "bigint", false);
    columns[4].nullable = false;
    columns.push(stored("note", "super", true));
    let error = plan(&orders(), Some(&columns)).unwrap_err();
    assert_eq!(error.code().name, "E-SCHEMA");
    assert_eq!(
        error.causes(),
        [
            "column \"store_id\": the warehouse has BIGINT NOT NULL, the contract INTEGER",
            "column \"total\": the warehouse has DECIMAL(38,2), the contract DECIMAL(18,2)",
            "column \"updated_at\": the warehouse has TIMESTAMPTZ NOT NULL, the contract TIMESTAMPTZ (NULL allowed)",
            "column \"note\": the warehouse has super, the contract not declared",
        ]
    );
}

#[test]
fn keys_of_the_layout_must_be_columns() {
    let contract = contract("orders", &[("order_id", "text not null")], &["order_id"], None);
    let error = plan(&contract, None).unwrap_err();
    assert!(error.message().contains("store_id"), "{error:?}");
}

#[test]
fn the_catalog_is_asked_once_for_both_tables_and_read_by_position() {
    let statement = read_columns(&[&target(), &meta_relation()]).unwrap();
    assert_snapshot("columns.sql", &format!("{};\n", statement.text));
    let row = |words: [&str; 8]| words.iter().map(|word| (!word.is_empty()).then(|| (*word).to_owned())).collect::<Vec<_>>();
    let rows = [
        row(["marts", "orders", "order_id", "character varying", "24", "", "", "NO"]),
        row(["marts", "orders", "total", "numeric", "", "18", "2", "YES"]),
        row(["pipeline_meta", "loads", "revision", "bigint", "", "64", "0", "NO"]),
    ];
    let found = stored_columns(&rows, &target()).unwrap();
    assert_eq!(found, [stored("order_id", "varchar(24)", false), stored("total", "numeric(18,2)", true)]);
    assert!(stored_columns(&rows, &Relation::new("marts", "stores").unwrap()).is_none());
}
