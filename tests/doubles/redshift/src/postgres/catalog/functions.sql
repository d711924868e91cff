-- Redshift's functions that PostgreSQL does not have. Times are in UTC without a zone.
CREATE OR REPLACE FUNCTION _redshift.getdate() RETURNS timestamp LANGUAGE sql STABLE AS $$ SELECT date_trunc('second', timezone('UTC', statement_timestamp())) $$;
CREATE OR REPLACE FUNCTION _redshift.sysdate() RETURNS timestamp LANGUAGE sql STABLE AS $$ SELECT timezone('UTC', transaction_timestamp()) $$;
CREATE OR REPLACE FUNCTION _redshift.version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.0 (double)' $$;
CREATE OR REPLACE FUNCTION _redshift.pg_last_copy_count() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT coalesce(nullif(current_setting('redshift.last_copy_count', true), '')::bigint, 0) $$;
CREATE OR REPLACE FUNCTION _redshift.pg_last_copy_id() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT coalesce(nullif(current_setting('redshift.last_copy_id', true), '')::bigint, -1) $$;
CREATE OR REPLACE FUNCTION _redshift.pg_last_query_id() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT coalesce(nullif(current_setting('redshift.last_query_id', true), '')::bigint, -1) $$;

CREATE OR REPLACE FUNCTION _redshift.unit(part text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE
        WHEN part IN ('year', 'years', 'y', 'yr', 'yrs') THEN 'year'
        WHEN part IN ('quarter', 'quarters', 'qtr', 'qtrs') THEN 'quarter'
        WHEN part IN ('month', 'months', 'mon', 'mons') THEN 'month'
        WHEN part IN ('week', 'weeks', 'w') THEN 'week'
        WHEN part IN ('day', 'days', 'd') THEN 'day'
        WHEN part IN ('hour', 'hours', 'h', 'hr', 'hrs') THEN 'hour'
        WHEN part IN ('minute', 'minutes', 'm', 'min', 'mins') THEN 'minute'
        WHEN part IN ('second', 'seconds', 's', 'sec', 'secs') THEN 'second'
        WHEN part IN ('millisecond', 'milliseconds', 'ms', 'msec', 'msecs') THEN 'millisecond'
        WHEN part IN ('microsecond', 'microseconds', 'us', 'usec', 'usecs') THEN 'microsecond'
    END;
END $$;
CREATE OR REPLACE FUNCTION _redshift.dateadd(part text, amount bigint, at timestamp) RETURNS timestamp LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    unit text := _redshift.unit(part);
BEGIN
    IF unit IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('Specified datepart "%s" not supported for DATEADD', part);
    ELSIF unit = 'quarter' THEN
        RETURN at + make_interval(months => (amount * 3)::integer);
    ELSIF unit = 'millisecond' THEN
        RETURN at + amount * interval '1 millisecond';
    ELSIF unit = 'microsecond' THEN
        RETURN at + amount * interval '1 microsecond';
    END IF;
    RETURN at + amount * ('1 ' || unit)::interval;
END $$;
CREATE OR REPLACE FUNCTION _redshift.dateadd(part text, amount bigint, at date) RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT _redshift.dateadd(part, amount, at::timestamp) $$;
CREATE OR REPLACE FUNCTION _redshift.dateadd(part text, amount bigint, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE STRICT AS $$
    SELECT timezone('UTC', _redshift.dateadd(part, amount, timezone('UTC', at)))
$$;
-- The borders crossed between two times, not whole units.
CREATE OR REPLACE FUNCTION _redshift.datediff(part text, start_at timestamp, end_at timestamp) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    unit text := _redshift.unit(part);
    a timestamp;
    b timestamp;
BEGIN
    IF unit IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('Specified datepart "%s" not supported for DATEDIFF', part);
    END IF;
    IF unit = 'week' THEN
        -- Weeks begin on Sunday here.
        RETURN extract(epoch FROM date_trunc('week', end_at + interval '1 day') - date_trunc('week', start_at + interval '1 day'))::bigint / 604800;
    END IF;
    a := date_trunc(unit, start_at);
    b := date_trunc(unit, end_at);
    RETURN CASE unit
        WHEN 'year' THEN extract(year FROM b) - extract(year FROM a)
        WHEN 'quarter' THEN (extract(year FROM b) - extract(year FROM a)) * 4 + extract(quarter FROM b) - extract(quarter FROM a)
        WHEN 'month' THEN (extract(year FROM b) - extract(year FROM a)) * 12 + extract(month FROM b) - extract(month FROM a)
        WHEN 'day' THEN extract(epoch FROM b - a) / 86400
        WHEN 'hour' THEN extract(epoch FROM b - a) / 3600
        WHEN 'minute' THEN extract(epoch FROM b - a) / 60
        WHEN 'second' THEN extract(epoch FROM b - a)
        WHEN 'millisecond' THEN extract(epoch FROM b - a) * 1000
        ELSE extract(epoch FROM b - a) * 1000000
    END::bigint;
END $$;
CREATE OR REPLACE FUNCTION _redshift.datediff(part text, start_at timestamptz, end_at timestamptz) RETURNS bigint LANGUAGE sql STABLE STRICT AS $$
    SELECT _redshift.datediff(part, timezone('UTC', start_at), timezone('UTC', end_at))
$$;
CREATE OR REPLACE FUNCTION _redshift.datediff(part text, start_at date, end_at date) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT _redshift.datediff(part, start_at::timestamp, end_at::timestamp)
$$;
CREATE OR REPLACE FUNCTION _redshift.date_part(part text, at timestamp) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT pg_catalog.date_part(CASE part WHEN 'dayofweek' THEN 'dow' WHEN 'weekday' THEN 'dow' WHEN 'dw' THEN 'dow' WHEN 'dayofyear' THEN 'doy' WHEN 'dy' THEN 'doy' ELSE coalesce(_redshift.unit(part), part) END, at)
$$;
CREATE OR REPLACE FUNCTION _redshift.date_part(part text, at timestamptz) RETURNS double precision LANGUAGE sql STABLE STRICT AS $$ SELECT _redshift.date_part(part, timezone('UTC', at)) $$;
CREATE OR REPLACE FUNCTION _redshift.date_part(part text, at date) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT _redshift.date_part(part, at::timestamp) $$;
CREATE OR REPLACE FUNCTION _redshift.date_trunc(part text, at date) RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT pg_catalog.date_trunc(part, at::timestamp) $$;
CREATE OR REPLACE FUNCTION _redshift.trunc(at timestamp) RETURNS date LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT at::date $$;
CREATE OR REPLACE FUNCTION _redshift.last_day(at timestamp) RETURNS date LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT (pg_catalog.date_trunc('month', at) + interval '1 month' - interval '1 day')::date $$;
CREATE OR REPLACE FUNCTION _redshift.add_months(at timestamp, months bigint) RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN at::date = _redshift.last_day(at) THEN _redshift.last_day(at + make_interval(months => months::integer)) + at::time ELSE at + make_interval(months => months::integer) END
$$;
CREATE OR REPLACE FUNCTION _redshift.convert_timezone(target text, at timestamp) RETURNS timestamp LANGUAGE sql STABLE STRICT AS $$ SELECT timezone(target, timezone('UTC', at)) $$;
CREATE OR REPLACE FUNCTION _redshift.convert_timezone(source text, target text, at timestamp) RETURNS timestamp LANGUAGE sql STABLE STRICT AS $$ SELECT timezone(target, timezone(source, at)) $$;
CREATE OR REPLACE FUNCTION _redshift.len(value text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT char_length(value) $$;
CREATE OR REPLACE FUNCTION _redshift.charindex(part text, value text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT strpos(value, part) $$;
CREATE OR REPLACE FUNCTION _redshift.regexp_replace_all(value text, pattern text, replacement text DEFAULT '') RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT pg_catalog.regexp_replace(value, pattern, replacement, 'g') $$;
CREATE OR REPLACE FUNCTION _redshift.sha2(value text, bits integer) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN encode(CASE bits WHEN 0 THEN sha256(convert_to(value, 'UTF8')) WHEN 224 THEN sha224(convert_to(value, 'UTF8')) WHEN 256 THEN sha256(convert_to(value, 'UTF8'))
        WHEN 384 THEN sha384(convert_to(value, 'UTF8')) WHEN 512 THEN sha512(convert_to(value, 'UTF8')) END, 'hex');
END $$;
CREATE OR REPLACE FUNCTION _redshift.listagg_limit(value text) RETURNS varchar LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF octet_length(value) > 65535 THEN
        RAISE EXCEPTION USING ERRCODE = '22001', MESSAGE = 'Result size exceeds LISTAGG limit';
    END IF;
    RETURN value;
END $$;
CREATE OR REPLACE FUNCTION _redshift.median_of(numbers numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT trim_scale(avg(value)) FROM (SELECT value, row_number() OVER (ORDER BY value) AS place, count(*) OVER () AS total FROM unnest(numbers) AS value WHERE value IS NOT NULL) AS ranked
    WHERE place IN ((total + 1) / 2, (total + 2) / 2)
$$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc WHERE proname = 'median' AND pronamespace = '_redshift'::regnamespace) THEN
        CREATE AGGREGATE _redshift.median(numeric) (SFUNC = array_append, STYPE = numeric[], FINALFUNC = _redshift.median_of, INITCOND = '{}');
    END IF;
END $$;

-- SUPER.
CREATE OR REPLACE FUNCTION _redshift.json_parse(value text) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT value::jsonb $$;
CREATE OR REPLACE FUNCTION _redshift.json_serialize(value jsonb) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT value::text $$;
CREATE OR REPLACE FUNCTION _redshift.json_typeof(value jsonb) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_typeof(value) $$;
CREATE OR REPLACE FUNCTION _redshift.json_size(value jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT octet_length(value::text) $$;
CREATE OR REPLACE FUNCTION _redshift.is_object(value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_typeof(value) = 'object' $$;
CREATE OR REPLACE FUNCTION _redshift.is_array(value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_typeof(value) = 'array' $$;
CREATE OR REPLACE FUNCTION _redshift.is_scalar(value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_typeof(value) NOT IN ('object', 'array') $$;
CREATE OR REPLACE FUNCTION _redshift.get_array_length(value jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_array_length(value) $$;
CREATE OR REPLACE FUNCTION _redshift.to_super(value anyelement) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT to_jsonb(value) $$;
CREATE OR REPLACE FUNCTION _redshift.to_super(value text) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT to_jsonb(value) $$;
CREATE OR REPLACE FUNCTION _redshift.is_valid_json(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN jsonb_typeof(value::jsonb) = 'object';
EXCEPTION WHEN invalid_text_representation THEN
    RETURN false;
END $$;
CREATE OR REPLACE FUNCTION _redshift.json_extract_path_text(value text, VARIADIC path text[]) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT coalesce(jsonb_extract_path_text(nullif(value, '')::jsonb, VARIADIC path), '') $$;
CREATE OR REPLACE FUNCTION _redshift.json_array_length(value text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_array_length(value::jsonb) $$;

-- Trailing blanks do not count when VARCHARs are compared: the functions of CHAR do that, on the same bytes.
CREATE OR REPLACE FUNCTION _redshift.varchar_eq(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchareq';
CREATE OR REPLACE FUNCTION _redshift.varchar_ne(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharne';
CREATE OR REPLACE FUNCTION _redshift.varchar_lt(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharlt';
CREATE OR REPLACE FUNCTION _redshift.varchar_le(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharle';
CREATE OR REPLACE FUNCTION _redshift.varchar_gt(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpchargt';
CREATE OR REPLACE FUNCTION _redshift.varchar_ge(varchar, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharge';
CREATE OR REPLACE FUNCTION _redshift.varchar_cmp(varchar, varchar) RETURNS integer LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bpcharcmp';
CREATE OR REPLACE FUNCTION _redshift.varchar_hash(varchar) RETURNS integer LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashbpchar';
CREATE OR REPLACE FUNCTION _redshift.varchar_hash(varchar, bigint) RETURNS bigint LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashbpcharextended';
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_operator WHERE oprname = '=' AND oprnamespace = '_redshift'::regnamespace) THEN
        CREATE OPERATOR _redshift.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_eq, COMMUTATOR = OPERATOR(_redshift.=), NEGATOR = OPERATOR(_redshift.<>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
        CREATE OPERATOR _redshift.<> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_ne, COMMUTATOR = OPERATOR(_redshift.<>), NEGATOR = OPERATOR(_redshift.=), RESTRICT = neqsel, JOIN = neqjoinsel);
        CREATE OPERATOR _redshift.< (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_lt, COMMUTATOR = OPERATOR(_redshift.>), NEGATOR = OPERATOR(_redshift.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
        CREATE OPERATOR _redshift.<= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_le, COMMUTATOR = OPERATOR(_redshift.>=), NEGATOR = OPERATOR(_redshift.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
        CREATE OPERATOR _redshift.> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_gt, COMMUTATOR = OPERATOR(_redshift.<), NEGATOR = OPERATOR(_redshift.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
        CREATE OPERATOR _redshift.>= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = _redshift.varchar_ge, COMMUTATOR = OPERATOR(_redshift.<=), NEGATOR = OPERATOR(_redshift.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);
        CREATE OPERATOR CLASS _redshift.varchar_blank_btree DEFAULT FOR TYPE varchar USING btree AS
            OPERATOR 1 _redshift.<, OPERATOR 2 _redshift.<=, OPERATOR 3 _redshift.=, OPERATOR 4 _redshift.>=, OPERATOR 5 _redshift.>, FUNCTION 1 _redshift.varchar_cmp(varchar, varchar);
        CREATE OPERATOR CLASS _redshift.varchar_blank_hash DEFAULT FOR TYPE varchar USING hash AS
            OPERATOR 1 _redshift.=, FUNCTION 1 _redshift.varchar_hash(varchar), FUNCTION 2 _redshift.varchar_hash(varchar, bigint);
    END IF;
END $$;
