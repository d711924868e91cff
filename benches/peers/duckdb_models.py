"""The statements of the models in DuckDB, over the same files of the lake; prints a line of JSON per model.

    python duckdb_models.py LAKE MODELS AS_OF [MODEL ...]

Our functions are macros. Where DuckDB has nothing alike, something stands in that is less work: a square of degrees for an H3 cell, SHA-256 for a keyed hash,
the date of birth for the next birthday. `allotment` and what follows the former result of a model are not tried. A middle of three runs is told.
"""

import glob
import json
import os
import re
import sys
import tempfile
import time

import duckdb

MACROS = """
CREATE MACRO parameter_text(name, fallback) AS fallback;
CREATE MACRO parameter_int(name, fallback) AS CAST(fallback AS BIGINT);
CREATE MACRO parameter_ints(name, fallback) AS list_transform(string_split(fallback, ','), x -> CAST(x AS BIGINT));
CREATE MACRO known_time_zone(zone) AS zone;
CREATE MACRO local_date(instant, zone) AS CAST(timezone(zone, instant) AS DATE);
CREATE MACRO local_hour(instant, zone) AS date_part('hour', timezone(zone, instant));
CREATE MACRO business_date(instant, zone, begins) AS CAST(timezone(zone, instant) - CAST(begins || ':00' AS INTERVAL) AS DATE);
CREATE MACRO plus_days(day, days) AS day + CAST(days AS INTEGER);
CREATE MACRO minutes_between(a, b) AS CAST(epoch_us(b) - epoch_us(a) AS DOUBLE) / 60000000;
CREATE MACRO distance_m(lat1, lng1, lat2, lng2) AS 2 * 6371008.8 * asin(sqrt(
    pow(sin(radians(lat2 - lat1) / 2), 2) + cos(radians(lat1)) * cos(radians(lat2)) * pow(sin(radians(lng2 - lng1) / 2), 2)));
CREATE MACRO h3_cell(lat, lng, r) AS printf('%d:%d:%d', r, CAST(floor(lat * 100) AS INTEGER), CAST(floor(lng * 100) AS INTEGER));
CREATE MACRO h3_parent(cell, r) AS printf('%d:%d:%d', r, CAST(split_part(cell, ':', 2) AS INTEGER) // 3, CAST(split_part(cell, ':', 3) AS INTEGER) // 3);
CREATE MACRO h3_center_lat(cell) AS CAST(split_part(cell, ':', 2) AS DOUBLE) / 100;
CREATE MACRO h3_center_lng(cell) AS CAST(split_part(cell, ':', 3) AS DOUBLE) / 100;
CREATE MACRO h3_boundary_wkt(cell) AS concat('POLYGON((', cell, '))');
CREATE MACRO h3_disk(cell, k) AS [cell];
CREATE MACRO our_list_sum(l, f) AS coalesce(list_sum(list_transform(l, x -> struct_extract(x, f))), 0);
CREATE MACRO list_find(l, f, v, r) AS struct_extract(list_filter(l, x -> struct_extract(x, f) = v)[1], r);
CREATE MACRO list_percentile(l, q) AS list_aggregate(list_transform(l, x -> CAST(x AS DOUBLE)), 'quantile_cont', q);
CREATE MACRO list_count_distinct(l) AS list_unique(l);
CREATE MACRO our_list_mode(l) AS list_aggregate(l, 'mode');
CREATE MACRO list_to_json(l) AS CAST(to_json(l) AS VARCHAR);
CREATE MACRO keyed_hash(value) AS sha256(value);
CREATE MACRO next_birthday(birth, today, leap) AS birth;
CREATE MACRO array_max(l) AS list_max(l);
CREATE MACRO cardinality_of(l) AS len(l);
"""


def files(table):
    """The active files of a Delta table that has no checkpoint yet."""
    active = {}
    for log in sorted(glob.glob(os.path.join(table, "_delta_log", "*.json"))):
        for line in open(log, encoding="utf-8"):
            action = json.loads(line)
            if "add" in action:
                active[action["add"]["path"]] = True
            if "remove" in action:
                active.pop(action["remove"]["path"], None)
    return [os.path.join(table, path) for path in active]


def translated(sql):
    sql = sql.replace("list_sum(", "our_list_sum(").replace("list_mode(", "our_list_mode(").replace("cardinality(", "cardinality_of(")
    sql = sql.replace("first_value(", "first(").replace("LEFT ANTI JOIN", "ANTI JOIN")
    sql = sql.replace("as_of()", "getvariable('as_of')")
    return re.sub(r"/ CAST\(1440 AS DOUBLE\)", "/ 1440.0", sql)


def main():
    lake, models, as_of, *only = sys.argv[1:]
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET VARIABLE as_of = TIMESTAMPTZ '{as_of}'")
    for statement in MACROS.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    for schema in sorted(os.listdir(lake)):
        if not os.path.isdir(os.path.join(lake, schema)) or schema.startswith("_"):
            continue
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for table in sorted(os.listdir(os.path.join(lake, schema))):
            paths = files(os.path.join(lake, schema, table))
            if paths:
                listed = ", ".join(f"'{path}'" for path in paths)
                connection.execute(f'CREATE VIEW "{schema}"."{table}" AS SELECT * FROM read_parquet([{listed}])')
    connection.execute("SET search_path = 'marts,main'")
    folder = tempfile.TemporaryDirectory()
    result = os.path.join(folder.name, "model.parquet")
    for path in sorted(glob.glob(os.path.join(models, "*", "*.sql"))):
        name = os.path.basename(path).removesuffix(".sql")
        if only and name not in only:
            continue
        sql = translated(open(path, encoding="utf-8").read())
        seconds = []
        try:
            for _ in range(3):
                begun = time.perf_counter()
                connection.execute(f"COPY ({sql}) TO '{result}' (FORMAT parquet, COMPRESSION snappy)")
                seconds.append(time.perf_counter() - begun)
            rows = connection.execute(f"SELECT count(*) FROM '{result}'").fetchone()[0]
            print(json.dumps({"model": name, "rows": rows, "seconds": round(sorted(seconds)[1], 3)}), flush=True)
        except Exception as error:  # what DuckDB does not know is told, not hidden
            print(json.dumps({"model": name, "error": str(error).splitlines()[0][:160]}), flush=True)


main()
