-- The system views a loader and its reports read. Names and columns: developer guide, "SVV views" and "SYS monitoring views".
CREATE OR REPLACE FUNCTION _redshift.full_name(stored text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT name FROM _redshift.long_names WHERE short = stored), stored)
$$;
CREATE OR REPLACE FUNCTION _redshift.exact_rows(relation regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    counted bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', relation) INTO counted;
    RETURN counted;
END $$;
-- The double's own schema is not shown.
CREATE OR REPLACE VIEW _redshift.shown_relations AS
    SELECT c.oid AS relation, n.nspname, c.relname, c.relkind, c.relpersistence
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname NOT IN ('_redshift', 'pg_toast') AND n.nspname NOT LIKE 'pg_toast_temp%';
CREATE OR REPLACE VIEW _redshift.shown_columns AS
    SELECT r.relation, r.nspname, r.relname, r.relkind, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull,
           CASE WHEN a.attidentity <> '' THEN format('"identity"(%s, %s, ''1,1''::text)', a.attrelid, a.attnum - 1) ELSE pg_get_expr(d.adbin, d.adrelid) END AS default_text,
           CASE WHEN a.atttypid = 'jsonb'::regtype THEN 'super' WHEN a.atttypid = 'bytea'::regtype THEN 'binary varying' ELSE format_type(a.atttypid, NULL) END AS type_name,
           CASE WHEN a.atttypid IN ('varchar'::regtype, 'bpchar'::regtype) THEN nullif(a.atttypmod, -1) - 4 WHEN a.atttypid = 'bytea'::regtype THEN coalesce(c.varbyte_bytes, 64000) END AS length,
           CASE WHEN a.atttypid = 'numeric'::regtype AND a.atttypmod <> -1 THEN (a.atttypmod - 4) >> 16 WHEN a.atttypid = 'smallint'::regtype THEN 16
                WHEN a.atttypid = 'integer'::regtype THEN 32 WHEN a.atttypid = 'bigint'::regtype THEN 64 WHEN a.atttypid = 'real'::regtype THEN 24 WHEN a.atttypid = 'float8'::regtype THEN 53 END AS precision,
           CASE WHEN a.atttypid = 'numeric'::regtype AND a.atttypmod <> -1 THEN (a.atttypmod - 4) & 65535 WHEN a.atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN 0 END AS scale,
           CASE WHEN a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype, 'timetz'::regtype) THEN 6 END AS datetime_precision,
           col_description(r.relation, a.attnum) AS remarks,
           c.encoding, l.distkey, l.sortkey
    FROM _redshift.shown_relations r
    JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relation AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN _redshift.columns c ON c.relation = a.attrelid AND c.name = a.attname
    LEFT JOIN _redshift.relations l ON l.relation = a.attrelid;
CREATE OR REPLACE VIEW _redshift.svv_tables AS
    SELECT current_database()::varchar AS table_catalog, nspname::varchar AS table_schema, _redshift.full_name(relname)::varchar AS table_name,
           (CASE WHEN relpersistence = 't' THEN 'LOCAL TEMPORARY' WHEN relkind = 'r' THEN 'BASE TABLE' ELSE 'VIEW' END)::varchar AS table_type,
           obj_description(relation, 'pg_class')::varchar AS remarks
    FROM _redshift.shown_relations
    UNION ALL
    SELECT current_database(), schema_name, _redshift.full_name(view_name), 'VIEW', NULL FROM _redshift.late_views;
CREATE OR REPLACE VIEW _redshift.svv_columns AS
    SELECT current_database()::varchar AS table_catalog, nspname::varchar AS table_schema, _redshift.full_name(relname)::varchar AS table_name, _redshift.full_name(attname)::varchar AS column_name,
           (row_number() OVER (PARTITION BY relation ORDER BY attnum))::integer AS ordinal_position, default_text::varchar AS column_default,
           (CASE WHEN attnotnull THEN 'NO' ELSE 'YES' END)::varchar AS is_nullable, type_name::varchar AS data_type, length::integer AS character_maximum_length,
           precision::integer AS numeric_precision, (CASE WHEN precision IS NOT NULL THEN CASE WHEN type_name = 'numeric' THEN 10 ELSE 2 END END)::integer AS numeric_precision_radix,
           scale::integer AS numeric_scale, datetime_precision::integer AS datetime_precision, NULL::varchar AS interval_type, NULL::varchar AS interval_precision, remarks::varchar AS remarks
    FROM _redshift.shown_columns;
CREATE OR REPLACE VIEW _redshift.pg_table_def AS
    SELECT nspname::varchar AS schemaname, _redshift.full_name(relname)::varchar AS tablename, _redshift.full_name(attname)::varchar AS "column",
           (CASE WHEN type_name IN ('super') THEN type_name WHEN type_name = 'binary varying' THEN format('binary varying(%s)', length) ELSE format_type(atttypid, atttypmod) END)::varchar AS type,
           coalesce(encoding, 'none')::varchar AS encoding, coalesce(distkey = attname, false) AS distkey, coalesce(array_position(sortkey, attname::text), 0) AS sortkey, attnotnull AS "notnull"
    FROM _redshift.shown_columns WHERE relkind IN ('r', 'm') AND nspname = ANY (current_schemas(false));
CREATE OR REPLACE VIEW _redshift.svv_table_info AS
    SELECT current_database()::varchar AS database, r.nspname::varchar AS schema, r.relation::bigint AS table_id, _redshift.full_name(r.relname)::varchar AS "table",
           'Y, AUTO(ENCODE)'::varchar AS encoded, (CASE WHEN l.diststyle = 'AUTO' THEN 'AUTO(ALL)' ELSE coalesce(l.diststyle, 'AUTO(ALL)') END)::varchar AS diststyle,
           (CASE WHEN cardinality(l.sortkey) > 0 THEN l.sortkey[1] ELSE 'AUTO(SORTKEY)' END)::varchar AS sortkey1,
           (SELECT max(length) FROM _redshift.shown_columns c WHERE c.relation = r.relation AND c.type_name = 'character varying')::integer AS max_varchar,
           coalesce(cardinality(l.sortkey), 0) AS sortkey_num, greatest(1, pg_table_size(r.relation) / 1048576) AS size, 0::numeric(10, 4) AS pct_used, 0::bigint AS empty,
           0::numeric(5, 2) AS unsorted, 0::numeric(5, 2) AS stats_off, counted.total::numeric(38, 0) AS tbl_rows, counted.total::numeric(38, 0) AS estimated_visible_rows, l.created_at AS create_time
    FROM _redshift.shown_relations r LEFT JOIN _redshift.relations l ON l.relation = r.relation CROSS JOIN LATERAL (SELECT _redshift.exact_rows(r.relation) AS total) AS counted
    WHERE r.relkind = 'r' AND r.nspname NOT IN ('pg_catalog', 'information_schema') AND counted.total > 0;
CREATE OR REPLACE VIEW _redshift.stv_db_isolation_level AS SELECT current_database()::varchar AS db_name, 'Snapshot Isolation'::varchar AS isolation_level;
