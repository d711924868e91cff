//! What single statements are made of, told as text.

use std::collections::BTreeMap;

use pipeline_core::contract::parse_column;
use pipeline_core::name::ColumnName;

use super::*;
use crate::session::{Engine, Options};

fn contract(table: &str, columns: &[(&str, &str)]) -> Contract {
    let columns = columns.iter().map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &str::to_owned).unwrap()).collect();
    Contract { table: table.parse().unwrap(), columns, key: Vec::new(), cursor: None, description: String::new() }
}

fn tables() -> Vec<Contract> {
    vec![
        contract(
            "lab.orders",
            &[
                ("id", "bigint"),
                ("customer", "text"),
                ("amount", "decimal(18,2)"),
                ("status", "text"),
                ("at", "timestamp"),
                ("totals", "struct<total decimal(18,2), tip decimal(18,2) from tipAmount>"),
                ("items", "list<struct<sku text, quantity int, prices list<struct<net int>>>>"),
                ("tags", "list<text>"),
            ],
        ),
        contract("lab.customers", &[("id", "text"), ("name", "text"), ("tier", "text")]),
    ]
}

fn session() -> Session {
    let folder = std::env::temp_dir().join("pipeline-lineage-tests");
    let options = Options {
        memory_limit_bytes: 16 << 20,
        spill_directory: folder,
        target_partitions: 1,
        parameters: BTreeMap::from([("days".to_owned(), "7".to_owned())]),
        key: None,
    };
    Engine::new(options).unwrap().session("2025-11-04T06:00:00Z".parse().unwrap(), None)
}

/// `lab.` goes without saying; kinds in lower case, direct ones with a sign before: `=` identity, `~` transformation, `+` aggregation.
fn told(column: &ColumnLineage) -> String {
    let name = |field: &InputField| field.to_string().replace("lab.", "");
    let direct = column.direct.iter().map(|(field, kind)| {
        let sign = match kind {
            Direct::Identity => '=',
            Direct::Transformation => '~',
            Direct::Aggregation => '+',
        };
        format!("{sign}{}", name(field))
    });
    let settings = column.settings.iter().map(|setting| format!("~{setting}"));
    direct.chain(settings).chain(influences(&column.indirect)).collect::<Vec<_>>().join(" ")
}

fn influences(influences: &Influences) -> Vec<String> {
    let fields = influences.fields.iter().map(|(field, kinds)| {
        let kinds: Vec<String> = kinds.iter().map(|kind| kind.name().to_lowercase()).collect();
        format!("{}:{}", kinds.join(","), field.to_string().replace("lab.", ""))
    });
    fields.chain(influences.settings.iter().map(|setting| format!("by:{setting}"))).collect()
}

async fn follow(sql: &str) -> ModelLineage {
    let (session, tables) = (session(), tables());
    let contracts: Contracts<'_> = tables.iter().map(|contract| (contract.table.clone(), contract)).collect();
    for contract in &tables {
        session.register_table(contract.table.schema(), contract.table.table(), Arc::new(EmptyTable::new(contract.schema())));
    }
    let frame = session.select(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let relation = Walk::new(&contracts).relation(frame.logical_plan()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let names = frame.schema().fields().iter().map(|field| field.name().clone());
    ModelLineage { columns: names.zip(relation.columns).collect(), rows: relation.rows, rows_of: relation.rows_of }
}

/// Columns one by one as `name <- origin`, then what decides about the rows.
async fn check(sql: &str, columns: &[&str], rows: &str) {
    let lineage = follow(sql).await;
    let found: Vec<String> = lineage.columns.iter().map(|(name, column)| format!("{name} <- {}", told(column)).trim().to_owned()).collect();
    assert_eq!(found, columns, "{sql}");
    assert_eq!(influences(&lineage.rows).join(" "), rows, "{sql}");
}

#[tokio::test]
async fn projections_and_aliases() {
    check(
        "SELECT o.id, o.customer AS who, amount * 2 AS twice, upper(status) || customer AS words, 1 AS one FROM lab.orders AS o",
        &["id <- =orders.id", "who <- =orders.customer", "twice <- ~orders.amount", "words <- ~orders.customer ~orders.status", "one <-"],
        "",
    )
    .await;
    check(
        "SELECT CAST(amount AS DOUBLE) AS a, amount IS NULL AS b, status IN ('x', customer) AS c FROM lab.orders",
        &["a <- ~orders.amount", "b <- ~orders.amount", "c <- ~orders.customer ~orders.status"],
        "",
    )
    .await;
}

#[tokio::test]
async fn conditions() {
    check(
        "SELECT CASE WHEN status = 'x' THEN amount ELSE 0.00 END AS a, CASE customer WHEN 'y' THEN 1 END AS b, \
         nullif(amount, totals['tip']) AS c, coalesce(amount, totals['total']) AS d FROM lab.orders",
        &[
            "a <- ~orders.amount conditional:orders.status",
            "b <- conditional:orders.customer",
            "c <- ~orders.amount conditional:orders.totals.tip",
            "d <- ~orders.amount ~orders.totals.total",
        ],
        "",
    )
    .await;
    check(
        "SELECT id FROM lab.orders WHERE status = 'x' AND at < as_of() ORDER BY amount",
        &["id <- =orders.id"],
        "sort:orders.amount filter:orders.at filter:orders.status by:as_of()",
    )
    .await;
}

#[tokio::test]
async fn settings_of_the_run() {
    check(
        "SELECT as_of() AS at, parameter_int('days') + id AS days FROM lab.orders WHERE id > parameter_int('days', 1)",
        &["at <- ~as_of()", "days <- ~orders.id ~parameter days"],
        "filter:orders.id by:parameter days",
    )
    .await;
}

#[tokio::test]
async fn aggregates() {
    check(
        "SELECT customer, count(*) AS rows, sum(amount) AS amount, count(DISTINCT status) AS states, \
         sum(id) FILTER (WHERE status = 'x') AS ids, first_value(status ORDER BY at DESC) AS last, max(id) + 1 AS next \
         FROM lab.orders GROUP BY customer HAVING count(*) > 1",
        &[
            "customer <- =orders.customer",
            "rows <- +rows of orders",
            "amount <- +orders.amount",
            "states <- +orders.status",
            "ids <- +orders.id filter:orders.status",
            "last <- +orders.status sort:orders.at",
            "next <- +orders.id",
        ],
        "filter:rows of orders group_by:orders.customer",
    )
    .await;
    check("SELECT count(*) FILTER (WHERE status = 'x') AS n FROM lab.orders", &["n <- +rows of orders filter:orders.status"], "").await;
    check("SELECT DISTINCT status FROM lab.orders", &["status <- =orders.status"], "group_by:orders.status").await;
    check(
        "SELECT DISTINCT ON (customer) id FROM lab.orders ORDER BY customer, at",
        &["id <- =orders.id"],
        "sort:orders.at group_by,sort:orders.customer",
    )
    .await;
    check(
        "SELECT customer, status, sum(amount) AS amount FROM lab.orders GROUP BY ROLLUP (customer, status)",
        &["customer <- =orders.customer", "status <- =orders.status", "amount <- +orders.amount"],
        "group_by:orders.customer group_by:orders.status",
    )
    .await;
}

#[tokio::test]
async fn windows() {
    check(
        "SELECT row_number() OVER (PARTITION BY customer ORDER BY at) AS n, sum(amount) OVER (PARTITION BY customer) AS amount, \
         lag(status) OVER (ORDER BY at) AS before, count(*) OVER () AS rows, row_number() OVER () AS number FROM lab.orders",
        &[
            "n <- window:orders.at window:orders.customer",
            "amount <- +orders.amount window:orders.customer",
            "before <- ~orders.status window:orders.at",
            "rows <- +rows of orders",
            "number <- +rows of orders",
        ],
        "",
    )
    .await;
}

#[tokio::test]
async fn joins() {
    check(
        "SELECT o.id, c.name, count(*) OVER (PARTITION BY o.id) AS rows FROM lab.orders o JOIN lab.customers c ON o.customer = c.id AND o.id > length(c.tier)",
        &["id <- =orders.id", "name <- =customers.name", "rows <- +rows of customers +rows of orders window:orders.id"],
        "join:customers.id join:customers.tier join:orders.customer join:orders.id",
    )
    .await;
    check(
        "SELECT o.id, c.name FROM lab.orders o LEFT JOIN (SELECT * FROM lab.customers WHERE tier = 'gold') c ON o.customer = c.id",
        &["id <- =orders.id", "name <- =customers.name"],
        "join:customers.id filter:customers.tier join:orders.customer",
    )
    .await;
    check(
        "SELECT count(*) AS n FROM lab.orders o LEFT ANTI JOIN lab.customers c ON o.customer = c.id",
        &["n <- +rows of orders"],
        "join:customers.id join:orders.customer",
    )
    .await;
    check(
        "SELECT customer, name FROM lab.orders CROSS JOIN lab.customers",
        &["customer <- =orders.customer", "name <- =customers.name"],
        "",
    )
    .await;
    check(
        "SELECT c.id, x.n FROM lab.customers c, LATERAL (SELECT sum(o.amount) AS n FROM lab.orders o WHERE o.customer = c.id) x",
        &["id <- =customers.id", "n <- +orders.amount"],
        "filter:customers.id filter:orders.customer",
    )
    .await;
}

#[tokio::test]
async fn unions_and_values() {
    check(
        "SELECT id, 'order' AS kind, status AS s FROM lab.orders WHERE amount > 0 UNION ALL SELECT 0, 'customer', upper(name) FROM lab.customers",
        &["id <- =orders.id", "kind <-", "s <- ~customers.name =orders.status"],
        "filter:orders.amount",
    )
    .await;
    check("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v (n, t)", &["n <-", "t <-"], "").await;
    check(
        "WITH RECURSIVE chain AS (SELECT id, customer AS c FROM lab.orders UNION ALL \
         SELECT chain.id + 1, u.name FROM chain JOIN lab.customers u ON u.id = chain.c) SELECT * FROM chain",
        &["id <- ~orders.id", "c <- =customers.name =orders.customer"],
        "join:customers.id join:customers.name join:orders.customer",
    )
    .await;
}

#[tokio::test]
async fn lists_are_taken_apart() {
    check(
        "WITH lines AS (SELECT id, unnest(items) AS item, unnest(tags) AS tag FROM lab.orders) \
         SELECT id, item['sku'] AS sku, tag, item['prices'][1]['net'] AS net FROM lines",
        &["id <- =orders.id", "sku <- ~orders.items.sku", "tag <- ~orders.tags", "net <- ~orders.items.prices.net"],
        "",
    )
    .await;
    check(
        "SELECT unnest(totals) FROM lab.orders",
        &["lab.orders.totals.total <- =orders.totals.total", "lab.orders.totals.tip <- =orders.totals.tip"],
        "",
    )
    .await;
    check("SELECT count(*) AS n FROM (SELECT unnest(items) AS item FROM lab.orders)", &["n <- +rows of orders +orders.items"], "").await;
}

#[tokio::test]
async fn subqueries_with_in_and_exists_and_as_values() {
    check(
        "SELECT id FROM lab.orders WHERE customer IN (SELECT id FROM lab.customers WHERE tier = 'gold')",
        &["id <- =orders.id"],
        "filter:customers.id filter:customers.tier filter:orders.customer",
    )
    .await;
    check(
        "SELECT id FROM lab.orders o WHERE NOT EXISTS (SELECT name FROM lab.customers c WHERE c.id = o.customer AND tier = 'gold')",
        &["id <- =orders.id"],
        "filter:customers.id filter:customers.tier filter:orders.customer",
    )
    .await;
    check(
        "SELECT id, (SELECT max(c.name) FROM lab.customers c WHERE c.id = o.customer) AS name, \
         status IN (SELECT tier FROM lab.customers) AS known FROM lab.orders o",
        &[
            "id <- =orders.id",
            "name <- +customers.name filter:customers.id filter:orders.customer",
            "known <- ~customers.tier ~orders.status",
        ],
        "",
    )
    .await;
}

#[tokio::test]
async fn fields_of_structs_and_nested_functions() {
    check(
        "SELECT totals['total'] AS total, coalesce(totals['tip'], 0.00) AS tip, totals FROM lab.orders",
        &["total <- =orders.totals.total", "tip <- ~orders.totals.tip", "totals <- =orders.totals"],
        "",
    )
    .await;
    check(
        "WITH t AS (SELECT named_struct('a', amount, 'b', named_struct('c', status, 'd', customer)) AS s FROM lab.orders) \
         SELECT s['a'] AS a, s['b']['c'] AS c FROM t",
        &["a <- =orders.amount", "c <- =orders.status"],
        "",
    )
    .await;
    check(
        "SELECT list_sum(items, 'quantity') AS q, list_find(items, 'sku', customer, 'quantity') AS f, \
         abs(round(coalesce(list_sum(items, 'quantity'), id))) AS n FROM lab.orders",
        &[
            "q <- ~orders.items.quantity",
            "f <- ~orders.items.quantity conditional:orders.customer conditional:orders.items.sku",
            "n <- ~orders.id ~orders.items.quantity",
        ],
        "",
    )
    .await;
    check(
        "SELECT first_value(totals ORDER BY at)['tip'] AS tip, (CASE WHEN id = 1 THEN totals END)['total'] AS total FROM lab.orders GROUP BY id, totals",
        &["tip <- +orders.totals.tip sort:orders.at", "total <- ~orders.totals.total conditional:orders.id"],
        "group_by:orders.id group_by:orders.totals",
    )
    .await;
}

#[tokio::test]
async fn common_table_expressions_are_seen_through() {
    check(
        "WITH a AS (SELECT customer, sum(amount) AS s FROM lab.orders WHERE status = 'x' GROUP BY customer), \
         b AS (SELECT c.tier, a.s, a.customer FROM a JOIN lab.customers c ON a.customer = c.id) \
         SELECT tier, CASE WHEN sum(s) > 1 THEN max(customer) END AS m FROM b GROUP BY tier",
        &["tier <- =customers.tier", "m <- +orders.customer conditional:orders.amount"],
        "join:customers.id group_by:customers.tier join,group_by:orders.customer filter:orders.status",
    )
    .await;
}

#[tokio::test]
async fn models_are_seen_through_down_to_the_extracted_tables() {
    let folder = std::env::temp_dir().join(format!("pipeline-lineage-models-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, sql: &str, columns: &[(&str, &str)]| {
        std::fs::write(folder.join(format!("{name}.sql")), sql).unwrap();
        let mut text = format!("description = \"d\"\ngrain = \"g\"\nkey = [\"{}\"]\nmaterialization = \"full\"\n", columns[0].0);
        for (column, data_type) in columns {
            text.push_str(&format!("[columns.{column}]\ntype = \"{data_type}\"\ndescription = \"d\"\n"));
        }
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    };
    write(
        "base",
        "SELECT id, customer, totals['tip'] AS tip FROM lab.orders WHERE status = 'x'",
        &[("id", "bigint"), ("customer", "text"), ("tip", "decimal(18,2)")],
    );
    write(
        "top",
        "SELECT c.tier, count(*) AS n, sum(b.tip) AS tips FROM base b JOIN lab.customers c ON b.customer = c.id GROUP BY c.tier",
        &[("tier", "text"), ("n", "bigint"), ("tips", "decimal(28,2)")],
    );
    write(
        "kept",
        "SELECT tier, n, at FROM previous.kept UNION ALL SELECT tier, n, as_of() FROM top",
        &[("tier", "text"), ("n", "bigint"), ("at", "timestamp")],
    );
    let models = ModelSet::load(&folder, &BTreeMap::new(), None).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let lineage = Lineage::of(&session(), &models, &tables()).await.unwrap();
    let tell = |lineage: &ModelLineage| {
        let columns = lineage.columns.iter().map(|(name, column)| format!("{name} <- {}", told(column)));
        columns.chain([format!("rows by {}", influences(&lineage.rows).join(" "))]).collect::<Vec<_>>()
    };
    let table = |name: &str| TableName::model(name).unwrap();
    assert_eq!(
        tell(lineage.step(&table("top")).unwrap()),
        [
            "tier <- =customers.tier",
            "n <- +rows of customers +rows of base",
            "tips <- +base.tip",
            "rows by join:customers.id group_by:customers.tier join:base.customer",
        ]
    );
    assert_eq!(
        tell(lineage.to_sources(&table("top")).unwrap()),
        [
            "tier <- =customers.tier",
            "n <- +rows of customers +rows of orders filter:orders.status",
            "tips <- +orders.totals.tip",
            "rows by join:customers.id group_by:customers.tier join:orders.customer filter:orders.status",
        ]
    );
    assert_eq!(tell(lineage.step(&table("kept")).unwrap())[2], "at <- =previous.kept.at ~as_of()");
    assert_eq!(
        tell(lineage.to_sources(&table("kept")).unwrap()),
        [
            "tier <- =customers.tier",
            "n <- +rows of customers +rows of orders filter:orders.status",
            "at <- ~as_of()",
            "rows by join:customers.id group_by:customers.tier join:orders.customer filter:orders.status",
        ]
    );
}
