//! Every type against the server's own opinion: `value::text` and `to_jsonb(value)::text`.

use arrow::array::{Array, AsArray};
use pipeline_extractors::postgres::{CompositeField, PostgresType};

use super::conformance::tried;
use super::contracts::{declared, decode, source};
use super::server::{Server, copied, execute, text_of};

/// Random rows of each type, besides the special ones.
const ROWS: u32 = 300;

/// A text with everything that needs quoting somewhere.
const ODD_TEXT: &str = "(array['', 'null', 'NULL', 'a\"b', 'a\\b', 'a,b', '{a}', '(a)', '[a]', ' a', E'\\t', 'zażółć', 'a;b', E'\\u0001\\n', 'plain'])[1 + floor(random() * 15)]";

struct Case {
    type_: PostgresType,
    /// The type's name in SQL.
    name: &'static str,
    /// An expression for a random value; `i` is the row's number.
    random: String,
    /// Values that are not left to chance.
    special: &'static [&'static str],
    /// Whether `to_jsonb` is compared too.
    has_json: bool,
}

fn case(type_: PostgresType, name: &'static str, random: &str, special: &'static [&'static str]) -> Case {
    Case { type_, name, random: random.to_owned(), special, has_json: true }
}

fn array(type_: PostgresType) -> PostgresType {
    PostgresType::Array(Box::new(type_))
}

fn range(type_: PostgresType) -> PostgresType {
    PostgresType::Range(Box::new(type_))
}

fn field(name: &str, type_: PostgresType) -> CompositeField {
    CompositeField { name: name.to_owned(), type_ }
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<Case> {
    use PostgresType as T;
    let instant = "to_timestamp((random() - 0.5) * 8e10)";
    let small_instant = "date_trunc('milliseconds', to_timestamp(random() * 4e9))";
    let point = "point((random() - 0.5) * 1e3, random() * 10 ^ (i % 30 - 15))";
    vec![
        case(T::Bool, "boolean", "random() < 0.5", &[]),
        case(T::Int2, "smallint", "(random() * 65535)::int - 32768", &["-32768", "32767", "0"]),
        case(T::Int4, "integer", "((random() - 0.5) * 4e9)::bigint", &["-2147483648", "2147483647"]),
        case(T::Int8, "bigint", "((random() - 0.5) * 10 ^ (i % 18))::bigint", &["-9223372036854775808", "9223372036854775807"]),
        case(T::Oid, "oid", "(random() * 4294967295)::bigint", &["4294967295"]),
        case(
            T::Float4,
            "real",
            "(random() - 0.5) * 10 ^ (i % 70 - 35)",
            &["0", "-0", "NaN", "Infinity", "-Infinity", "1e6", "999999", "1e-5", "0.0001", "3.4028235e38", "1.17549435e-38", "1e-45"],
        ),
        case(
            T::Float8,
            "double precision",
            "(random() - 0.5) * 10 ^ (i % 600 - 300)",
            &[
                "0",
                "-0",
                "NaN",
                "Infinity",
                "-Infinity",
                "1e15",
                "1e14",
                "999999999999999",
                "1e-5",
                "0.0001",
                "0.1",
                "1.7976931348623157e308",
                "5e-324",
                "123456789012345680",
            ],
        ),
        case(T::Float8, "double precision", "(random() * 1e6)::int / 100.0", &[]),
        case(
            T::Numeric,
            "numeric",
            "((random() - 0.5)::numeric * (10::numeric ^ (i % 60 - 30)))",
            &[
                "0",
                "0.00",
                "0.0000",
                "NaN",
                "Infinity",
                "-Infinity",
                "1",
                "-1",
                "10000",
                "100000000",
                "0.0001",
                "0.00010000",
                "1e-20",
                "1e40",
                "-12345678901234567890.123456789012345678901234567890",
                "9999.9999",
                "1e131071",
                "0.000000000000000000000000000000000000000000000000000000001",
            ],
        ),
        case(T::Numeric, "numeric(12,2)", "(random() - 0.5) * 1e9", &["0", "-0.01", "9999999999.99"]),
        case(T::Money, "money", "((random() - 0.5) * 1e9)::numeric::money", &["0", "-0.05", "12345678.90", "-999.99", "1000"]),
        case(T::Text, "text", ODD_TEXT, &["", " trailing ", "\u{1F600}"]),
        case(T::Char, "\"char\"", "chr(1 + (random() * 126)::int)::\"char\"", &[]),
        Case { has_json: false, ..case(T::Bpchar, "character(6)", "left(md5(random()::text), i % 7)", &["", "ab  c"]) },
        case(
            T::Json,
            "json",
            &format!(
                "json_build_object('b', {ODD_TEXT}, 'aa', array[random(), i], 'c', null, 'a', json_build_array(true, json_build_object()))"
            ),
            &[
                "1",
                " [ 1 , 2.50 , -0.0, -0, 1e5, 1.5E-3, 1.50e1, 0.5e1, 12e-1, 0e5, 0.0e-3, 100e-2 ] ",
                "{\"b\": 1, \"a\" :2, \"b\":3, \"\": {}}",
                "\"\\u00e9\\n\\/\\ud83d\\ude00\"",
                "null",
                "{\"zz\":[],\"y\":{\"k\":[{}]}}",
            ],
        ),
        case(T::Jsonb, "jsonb", &format!("jsonb_build_object('b', {ODD_TEXT}, 'aa', array[random(), i])"), &["null", "[1, {\"a\": 1.50}]"]),
        case(T::Uuid, "uuid", "gen_random_uuid()", &["ffffffff-ffff-ffff-ffff-ffffffffffff"]),
        case(
            T::Date,
            "date",
            "date '2000-01-01' + ((random() - 0.5) * 3e6)::int",
            &[
                "infinity",
                "-infinity",
                "4713-01-01 BC",
                "0001-12-31 BC",
                "0001-01-01",
                "5874897-12-31",
                "2024-02-29",
                "1900-02-28",
                "2000-02-29",
            ],
        ),
        case(
            T::Timestamp,
            "timestamp",
            &format!("{instant}::timestamp"),
            &[
                "infinity",
                "-infinity",
                "4713-01-01 00:00:00 BC",
                "294276-12-31 23:59:59.999999",
                "1969-12-31 23:59:59.999999",
                "2024-01-01 00:00:00.1",
            ],
        ),
        case(
            T::TimestampTz,
            "timestamptz",
            instant,
            &["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-01-01 00:00:00.120"],
        ),
        case(T::Time, "time", &format!("{instant}::time"), &["24:00:00", "00:00:00", "23:59:59.999999", "01:02:03.4"]),
        case(
            T::TimeTz,
            "timetz",
            &format!("({instant}::time)::timetz + interval '0'"),
            &["12:00:00+02", "12:00:00-05:30", "12:00:00+01:02:03", "24:00:00-00", "00:00:00+15:59:59"],
        ),
        case(
            T::Interval,
            "interval",
            "make_interval(months => (random() * 60)::int - 30, days => (random() * 60)::int - 30, secs => (random() - 0.5) * 10 ^ (i % 8))",
            &[
                "0",
                "1 year",
                "-1 year",
                "1 mon",
                "1 day",
                "-1 day 00:00:01",
                "-1 mon 1 day",
                "1000:00:00",
                "-00:00:00.5",
                "1 year -1 day +00:00:00.000001",
            ],
        ),
        case(T::Bytea, "bytea", "decode(md5(i::text), 'hex')", &["", "\\x00ff"]),
        case(T::Bit, "bit varying", "left(((random() * 1e9)::int)::bit(32)::text, i % 33)::bit varying", &["", "1", "101010101"]),
        case(T::Bit, "bit(11)", "((random() * 1e9)::int)::bit(11)", &[]),
        case(
            T::Inet,
            "inet",
            "(array['0.0.0.0'::inet, '::'::inet])[1 + i % 2] + (random() * 4e9)::bigint",
            &[
                "10.0.0.1",
                "10.0.0.1/8",
                "::1",
                "::",
                "fe80::1/64",
                "2001:db8::",
                "2001:0:0:1::1",
                "::ffff:1.2.3.4",
                "::1.2.3.4",
                "1:0:0:2:0:0:0:3",
                "1:2:3:4:5:6:7:8",
                "0:1:2:3:4:5:6:7",
                "1:0:3:4:5:6:7:8",
                "0:0:1:2:3:4:5:6",
            ],
        ),
        case(
            T::Cidr,
            "cidr",
            "set_masklen('0.0.0.0'::inet + (random() * 4e9)::bigint, 24)::cidr",
            &["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32", "::/0", "::1/128"],
        ),
        case(T::Macaddr, "macaddr", "left(md5(i::text), 12)::macaddr", &[]),
        case(T::Macaddr, "macaddr8", "left(md5(i::text), 16)::macaddr8", &[]),
        case(T::Lsn, "pg_lsn", "'0/0'::pg_lsn + floor(random() * 10 ^ (i % 18))::numeric", &["FFFFFFFF/FFFFFFFF"]),
        case(T::Point, "point", point, &["(1,2)", "(-0,1e300)", "(Infinity,NaN)"]),
        case(T::Line, "line", "line(point(i, random()), point(-i, 7))", &["{1,-1,0}"]),
        case(T::Segment, "lseg", &format!("lseg({point}, point(1,2))"), &[]),
        case(T::Box, "box", &format!("box({point}, point(1,2))"), &[]),
        case(T::Path, "path", "(array['((1,2),(3,4.5))'::path, '[(0,0),(1,1),(2,0)]'::path])[1 + i % 2] + point(i, 0)", &["[(1,1)]"]),
        case(T::Polygon, "polygon", &format!("polygon(circle({point}, 1))"), &["((0,0))"]),
        case(T::Circle, "circle", &format!("circle({point}, random())"), &[]),
        case(range(T::Int4), "int4range", "int4range(least(i, 10), i + 10, '[]')", &["empty", "(,)", "(,5]", "[5,)"]),
        case(range(T::Numeric), "numrange", "numrange(random()::numeric(9,4), 2, '(]')", &["empty", "[1.50,2.5]"]),
        case(range(T::Timestamp), "tsrange", &format!("tsrange({small_instant}::timestamp, null)"), &["[2024-01-01 00:00:00,infinity]"]),
        case(range(T::TimestampTz), "tstzrange", &format!("tstzrange({small_instant}, 'infinity')"), &[]),
        case(range(T::Date), "daterange", "daterange(date '2024-01-01', date '2024-01-01' + i)", &[]),
        case(
            range(T::Text),
            "textrange",
            &format!("textrange(least({ODD_TEXT}, 'm'), 'zzz', '[]')"),
            &["[\"\",\"\"]", "[\"a\"\"b\",\"c\\\\d\")"],
        ),
        case(
            PostgresType::Multirange(Box::new(T::Int4)),
            "int4multirange",
            "int4multirange(int4range(0, i), int4range(1000, 1000 + i))",
            &["{}", "{(,5),[7,8)}"],
        ),
        case(
            array(T::Int4),
            "integer[]",
            "array[i, null, (random() * 100)::int]",
            &["{}", "{{1,2},{3,4}}", "[2:3]={1,2}", "[0:1][-1:0]={{1,2},{3,NULL}}"],
        ),
        case(array(T::Text), "text[]", &format!("array[{ODD_TEXT}, {ODD_TEXT}, null]"), &["{}"]),
        case(array(T::Bool), "boolean[]", "array[true, random() < 0.5, null]", &[]),
        case(array(T::Float8), "double precision[]", "array[random(), i]", &["{NaN,1e300}"]),
        case(array(T::Numeric), "numeric[]", "array[random()::numeric, i / 3.0]", &[]),
        case(array(T::TimestampTz), "timestamptz[]", &format!("array[{small_instant}]"), &["{infinity}"]),
        case(array(T::Box), "box[]", "array[box(point(i, 1), point(0, 0)), box(point(1, 2), point(3, 4))]", &[]),
        case(array(array(T::Box)), "boxes[]", "array[array[box(point(i, 1), point(0, 0)), null]::boxes, '{}'::boxes, null]::boxes[]", &[]),
        case(array(T::Inet), "inet[]", "array['10.0.0.0'::inet + i, '10.0.0.0/8'::inet]", &[]),
        case(array(T::Jsonb), "jsonb[]", "array[jsonb_build_object('a', i), 'null'::jsonb]", &[]),
        case(array(T::Bytea), "bytea[]", "array[decode(md5(i::text), 'hex')]", &[]),
        case(T::Text, "mood", "(array['sad', 'very happy'])[1 + i % 2]::mood", &[]),
        case(array(T::Text), "mood[]", "array['sad', 'very happy']::mood[]", &[]),
        case(T::Numeric, "amount", "random() * 100", &[]),
        case(
            T::Composite(vec![
                field("street", T::Text),
                field("no", T::Int4),
                field("tags", array(T::Text)),
                field("at", T::TimestampTz),
                field("ok", T::Bool),
            ]),
            "address",
            &format!("row({ODD_TEXT}, i, array[{ODD_TEXT}, 'b'], {small_instant}, null)::address"),
            &["(,,,,)", "(\"\",1,{},infinity,t)"],
        ),
        case(
            array(T::Composite(vec![field("a", T::Numeric), field("b", T::Text)])),
            "pair[]",
            &format!("array[row(random(), {ODD_TEXT})::pair, null, row(1, null)::pair]"),
            &["{}"],
        ),
    ]
}

const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'very happy');
    CREATE DOMAIN amount AS numeric(12,2) CHECK (VALUE >= 0);
    CREATE DOMAIN boxes AS box[];
    CREATE TYPE address AS (street text, no int, tags text[], at timestamptz, ok boolean);
    CREATE TYPE pair AS (a numeric, b text);
    CREATE TYPE textrange AS RANGE (subtype = text, collation = \"C\");
    SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET lc_monetary = 'C';
    SELECT setseed(0.42);";

#[tokio::test]
async fn every_type_reads_as_the_server_prints_it() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, TYPES).await;
    let contract = declared("v", &[("as_text", "text from v"), ("as_json", "json from v"), ("t", "text"), ("j", "text")], &[], None);
    let mut compared = 0;
    for (index, case) in cases().into_iter().enumerate() {
        let Case { type_, name, random, special, has_json } = case;
        let specials: Vec<String> = special.iter().map(|text| format!("SELECT '{}'::{name}", text.replace('\'', "''"))).collect();
        let union = if specials.is_empty() { String::new() } else { format!("UNION ALL {}", specials.join(" UNION ALL ")) };
        execute(
            &mut connection,
            &format!(
                "CREATE TABLE v{index} AS SELECT ({random})::{name} AS v FROM generate_series(1, {ROWS}) AS i UNION ALL SELECT NULL {union}"
            ),
        )
        .await;
        let json = if has_json { "to_jsonb(v)::text" } else { "NULL::text" };
        let file = copied(&mut connection, &format!("SELECT v, v::text, {json} FROM v{index}")).await;
        let columns = source(&[("v", type_), ("t", PostgresType::Text), ("j", PostgresType::Text)]);
        let (batch, rejected) = decode(&contract, &columns, [file.as_slice()]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(rejected, [], "{name}");
        let expected_rows = text_of(&mut connection, &format!("SELECT count(*)::text FROM v{index}")).await;
        assert_eq!(batch.num_rows().to_string(), expected_rows);
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (as_text, as_json, texts, jsons) = (column("as_text"), column("as_json"), column("t"), column("j"));
        for row in 0..batch.num_rows() {
            assert_eq!(as_text.is_null(row), texts.is_null(row), "{name}");
            assert_eq!(as_text.value(row), texts.value(row), "{name} as text");
            if has_json {
                assert_eq!(as_json.is_null(row), jsons.is_null(row), "{name}");
                assert_eq!(as_json.value(row), jsons.value(row), "{name} {} as JSON", texts.value(row));
            }
            compared += 1 + u32::from(has_json);
        }
    }
    tried(&format!("{compared} values of every type of PostgreSQL, as text and as JSON, beside what the server prints"));
    assert!(compared > 20_000, "{compared} values compared");
}
