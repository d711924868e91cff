//! Values in columns of their own kind: exactly, or in quarantine.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use pipeline_extractors::postgres::{CompositeField, PostgresType};

use super::contracts::{declared, decode, key, source};
use super::server::{Server, copied, execute, text_of};

#[tokio::test]
async fn numbers_are_exact_or_rejected() {
    let server = Server::start();
    let mut connection = server.connection().await;
    // Numbers of up to 40 digits with up to 12 after the point, and the edges; each with what the server says of its fit.
    execute(
        &mut connection,
        "SELECT setseed(0.7); CREATE TABLE n AS
         SELECT trunc((random() - 0.5)::numeric * (10::numeric ^ (i % 40)), i % 13) AS v FROM generate_series(1, 4000) AS i
         UNION ALL SELECT unnest(array['NaN', 'Infinity', '-Infinity', '0', '9999999999999999.99', '10000000000000000', '-9999999999999999.99',
           '0.01', '0.001', '0.010', '1e15', '1e-30', '2147483647', '2147483648', '-2147483648.00', '99999999999999999999999999999999999999.5',
           '12345678901234567890123456789012345678.9012345678901234567890123456789012345'])::numeric",
    )
    .await;
    for (type_, fits, shown) in [
        ("decimal(18,2)", "v = round(v, 2) AND abs(v) < 1e16", "round(v, 2)::text"),
        ("decimal(38,10)", "v = round(v, 10) AND abs(v) < 1e28", "round(v, 10)::text"),
        ("decimal(76,38)", "v = round(v, 38) AND abs(v) < 1e38", "round(v, 38)::text"),
        ("decimal(38,0)", "v = round(v) AND abs(v) < 1e38", "round(v)::text"),
        ("int", "v = round(v) AND v BETWEEN -2147483648 AND 2147483647", "round(v)::text"),
        ("bigint", "v = round(v) AND v BETWEEN -9223372036854775808 AND 9223372036854775807", "round(v)::text"),
    ] {
        let fits = format!("(v NOT IN ('NaN', 'Infinity', '-Infinity') AND {fits})");
        let contract = declared("n", &[("v", type_), ("shown", "text")], &[], None);
        let columns = source(&[("v", PostgresType::Numeric), ("shown", PostgresType::Text)]);
        let file = copied(&mut connection, &format!("SELECT v, CASE WHEN {fits} THEN {shown} END FROM n")).await;
        let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
        let expected = text_of(&mut connection, &format!("SELECT count(*)::text FROM n WHERE {fits}")).await;
        assert_eq!(batch.num_rows().to_string(), expected, "{type_}");
        assert!(batch.num_rows() > 50 && rejected.len() > 50, "{type_}: {} and {}", batch.num_rows(), rejected.len());
        assert!(
            rejected.iter().all(|row| row.column == "v" && row.format == "copy-binary" && row.position.starts_with("tuple ")),
            "{type_}"
        );
        let shown = batch.column(1).as_string::<i32>();
        for row in 0..batch.num_rows() {
            assert_eq!(array_value_to_string(batch.column(0), row).unwrap(), shown.value(row), "{type_}");
        }
    }
}

#[tokio::test]
async fn numbers_cross_between_kinds_where_nothing_is_lost() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let columns = source(&[
        ("i", PostgresType::Int8),
        ("d", PostgresType::Float8),
        ("f", PostgresType::Float4),
        ("n", PostgresType::Numeric),
        ("m", PostgresType::Money),
    ]);
    let select = |values: &str| {
        format!("SELECT i::bigint, d::float8, f::float4, n::numeric, m::numeric::money FROM (VALUES {values}) AS v (i, d, f, n, m)")
    };
    let contract = declared(
        "n",
        &[
            ("narrow", "int from i"),
            ("whole", "double from i"),
            ("wide", "decimal(40,2) from i"),
            ("cents", "decimal(18,2) from d"),
            ("single", "decimal(18,2) from f"),
            ("number", "double from n"),
            ("count", "int from d"),
            ("money", "decimal(18,2) from m"),
        ],
        &[],
        None,
    );
    let fitting = select("(7, 12, 0.25, 0.1, 12.34), (-2147483648, -3, 12.5, 1e20, -0.01)");
    let file = copied(&mut connection, &fitting).await;
    let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
    assert_eq!(rejected, []);
    assert_eq!(batch.column_by_name("narrow").unwrap().as_primitive::<Int32Type>().values(), &[7, i32::MIN]);
    assert_eq!(batch.column_by_name("wide").unwrap().as_primitive::<Decimal256Type>().value_as_string(1), "-2147483648.00");
    assert_eq!(batch.column_by_name("cents").unwrap().as_primitive::<Decimal128Type>().values(), &[1_200, -300]);
    assert_eq!(batch.column_by_name("single").unwrap().as_primitive::<Decimal128Type>().values(), &[25, 1_250]);
    assert_eq!(batch.column_by_name("number").unwrap().as_primitive::<Float64Type>().values(), &[0.1, 1e20]);
    assert_eq!(batch.column_by_name("money").unwrap().as_primitive::<Decimal128Type>().values(), &[1_234, -1]);
    for (values, column, reason) in [
        ("(2147483648, 0, 0, 0, 0)", "narrow", "out of the range of int"),
        ("(0, 0.5, 0, 0, 0)", "count", "more digits after the point than int"),
        ("(0, 'NaN', 0, 0, 0)", "cents", "infinite or not a number"),
        ("(0, 0.001, 0, 0, 0)", "cents", "more digits after the point than decimal(18,2)"),
        ("(0, 0, 0, 0.1000000000000000055511151231257827, 0)", "number", "lose digits"),
    ] {
        let file = copied(&mut connection, &select(values)).await;
        let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
        assert_eq!((batch.num_rows(), rejected.len()), (0, 1), "{values}");
        assert_eq!(rejected[0].column, column);
        assert!(rejected[0].reason.contains(reason), "{}", rejected[0].reason);
    }
}

#[tokio::test]
async fn dates_and_times_count_from_1970_and_infinities_are_rejected() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let columns = source(&[
        ("d", PostgresType::Date),
        ("z", PostgresType::TimestampTz),
        ("l", PostgresType::Timestamp),
        ("t", PostgresType::Time),
        ("days", PostgresType::Int4),
        ("us", PostgresType::Int8),
        ("local_us", PostgresType::Int8),
        ("time_us", PostgresType::Int8),
    ]);
    let contract = declared(
        "d",
        &[
            ("d", "date"),
            ("z", "timestamp"),
            ("l", "local_timestamp"),
            ("t", "time"),
            ("days", "int"),
            ("us", "bigint"),
            ("local_us", "bigint"),
            ("time_us", "bigint"),
        ],
        &[],
        None,
    );
    execute(
        &mut connection,
        "SELECT setseed(0.1); CREATE TABLE d AS
         SELECT date '2000-01-01' + ((random() - 0.5) * 1e6)::int AS d, z, z::timestamp AS l, z::time AS t
         FROM (SELECT to_timestamp((random() - 0.3) * 1e10) AS z FROM generate_series(1, 3000)) AS r",
    )
    .await;
    let select = "SELECT d, z, l, t, d - date '1970-01-01', (extract(epoch FROM z) * 1000000)::bigint, (extract(epoch FROM l) * 1000000)::bigint, \
                  (extract(epoch FROM t) * 1000000)::bigint FROM d";
    let file = copied(&mut connection, select).await;
    let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
    assert_eq!((batch.num_rows(), rejected.len()), (3_000, 0));
    assert_eq!(batch.column(0).as_primitive::<Date32Type>().values(), batch.column(4).as_primitive::<Int32Type>().values());
    let int8 = |place: usize| batch.column(place).as_primitive::<arrow::datatypes::Int64Type>().values().clone();
    assert_eq!(batch.column(1).as_primitive::<TimestampMicrosecondType>().values(), &int8(5));
    assert_eq!(batch.column(2).as_primitive::<TimestampMicrosecondType>().values(), &int8(6));
    assert_eq!(batch.column(3).as_primitive::<Time64MicrosecondType>().values(), &int8(7));

    for (column, value) in
        [("d", "infinity"), ("z", "-infinity"), ("l", "infinity"), ("t", "24:00"), ("l", "294276-12-31"), ("z", "294276-12-31")]
    {
        execute(&mut connection, "TRUNCATE d; INSERT INTO d VALUES ('2024-01-01', now(), now(), '12:00')").await;
        execute(&mut connection, &format!("UPDATE d SET {column} = '{value}'")).await;
        let file = copied(&mut connection, "SELECT d, z, l, t, 0, 0::bigint, 0::bigint, 0::bigint FROM d").await;
        let (_, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
        assert_eq!(rejected.len(), 1, "{column} {value}");
        assert_eq!(rejected[0].column, column);
    }
}

#[tokio::test]
async fn arrays_rows_and_points_come_apart() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let field = |name: &str, type_| CompositeField { name: name.to_owned(), type_ };
    execute(&mut connection, "CREATE TYPE item AS (sku text, \"unitPrice\" numeric, tags text[])").await;
    let item = PostgresType::Composite(vec![
        field("sku", PostgresType::Text),
        field("unitPrice", PostgresType::Numeric),
        field("tags", PostgresType::Array(Box::new(PostgresType::Text))),
    ]);
    let columns = source(&[
        ("tags", PostgresType::Array(Box::new(PostgresType::Text))),
        ("grid", PostgresType::Array(Box::new(PostgresType::Int4))),
        ("items", PostgresType::Array(Box::new(item.clone()))),
        ("best", item),
        ("at.place", PostgresType::Point),
        ("ignored", PostgresType::Other("hstore".to_owned())),
        ("spare", PostgresType::Jsonb),
        ("other", PostgresType::Int4),
    ]);
    let contract = declared(
        "a",
        &[
            ("tags", "list<text>"),
            ("grid", "list<list<int>>"),
            ("items", "list<struct<sku text not null, price decimal(18,2) from unitPrice, tags list<text>>>"),
            ("best_price", "decimal(18,2) from best.unitPrice"),
            ("longitude", "double from at.place.x"),
            ("latitude", "double from at.place.y"),
            ("_extra", "json"),
        ],
        &[],
        None,
    );
    let select = |items: &str, grid: &str| {
        format!(
            "SELECT array['a', null]::text[], '{grid}'::int[], array[{items}]::item[], row('b', 2.50, null)::item, point(21.5, 52.25), 'x'::text, '{{\"k\": 1}}'::jsonb, \
             NULL::int UNION ALL SELECT null, null, null, null, null, null, null, 7"
        )
    };
    let file = copied(&mut connection, &select("row('s', 1.5, array['t']), row('u', null, '{}')", "{{1,2},{3,4}}")).await;
    let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
    assert_eq!(rejected, []);
    let shown = |row: usize| (0..7).map(|column| array_value_to_string(batch.column(column), row).unwrap()).collect::<Vec<_>>();
    assert_eq!(
        shown(0),
        [
            "[a, ]",
            "[[1, 2], [3, 4]]",
            "[{sku: s, price: 1.50, tags: [t]}, {sku: u, price: , tags: []}]",
            "2.50",
            "21.5",
            "52.25",
            "{\"spare\": {\"k\": 1}}"
        ]
    );
    assert!((0..6).all(|column| batch.column(column).is_null(1)));
    assert_eq!(batch.column(6).as_string::<i32>().value(1), "{\"other\": 7}");
    for (items, grid, column) in [
        ("row(null, 1, null)", "{}", "items.sku"),
        ("row('s', 1.555, null)", "{}", "items.price"),
        ("row('s', 1, null)", "{1}", "grid"),
        ("row('s', 1, null)", "[0:0][1:1]={{1}}", "grid"),
    ] {
        let file = copied(&mut connection, &select(items, grid)).await;
        let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
        assert_eq!((batch.num_rows(), rejected.len()), (1, 1), "{items} {grid}");
        assert_eq!(rejected[0].column, column);
    }
}

#[tokio::test]
async fn personal_values_never_leave_in_the_clear() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let columns =
        source(&[("email", PostgresType::Text), ("n", PostgresType::Numeric), ("u", PostgresType::Uuid), ("secret", PostgresType::Text)]);
    let contract = declared(
        "p",
        &[
            ("email", "text pii hash"),
            ("amount", "decimal(18,2) from n pii hash"),
            ("u", "uuid pii hash"),
            ("masked", "text from email pii mask"),
            ("secret", "text pii drop"),
            ("_extra", "json"),
        ],
        &[],
        None,
    );
    let file = copied(
        &mut connection,
        "SELECT 'a@example.com', 12.5, 'AAAAAAAA-0000-4000-8000-000000000001'::uuid, 'hidden' UNION ALL SELECT null, null, null, null UNION ALL SELECT 'b@example.com', 0.001, null, null",
    )
    .await;
    let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap();
    assert_eq!(batch.num_rows(), 2);
    let text = |column: usize| batch.column(column).as_string::<i32>().value(0).to_owned();
    assert_eq!(text(0), key().hash(b"a@example.com"));
    assert_eq!(text(1), key().hash(b"12.50"));
    assert_eq!(text(2), key().hash(b"aaaaaaaa-0000-4000-8000-000000000001"));
    assert_eq!(text(3), "***");
    assert!((0..6).all(|column| batch.column(column).is_null(1)) && batch.column(4).is_null(0));
    // A value that is not of its declared type is no value to be hashed.
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].column, "amount");
    // Nor does it leave with the row that is rejected because of another value.
    assert!(!String::from_utf8_lossy(&rejected[0].raw).contains("example.com"));
    let open = declared("p", &[("email", "text"), ("amount", "decimal(18,2) from n pii hash")], &[], None);
    let (_, rejected) = decode(&open, &columns, [file.as_slice()]).unwrap();
    assert!(String::from_utf8_lossy(&rejected[0].raw).contains("b@example.com"));
}
