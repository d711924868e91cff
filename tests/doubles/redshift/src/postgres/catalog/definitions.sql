-- Functions that definitions call before and after themselves.
CREATE OR REPLACE FUNCTION _redshift.raise(code text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
END $$;

-- The byte limits of every character column, and what the column definitions said.
CREATE OR REPLACE FUNCTION _redshift.adopt(target regclass, attributes jsonb, definitions jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kind "char" := (SELECT relkind FROM pg_catalog.pg_class WHERE oid = target);
    found record;
    bytes integer;
    constraint_name text;
    condition text;
BEGIN
    INSERT INTO _redshift.relations (relation, diststyle, distkey, sortkey, interleaved)
    SELECT target, coalesce(attributes->>'diststyle', 'AUTO'), attributes->>'distkey',
           coalesce((SELECT array_agg(value) FROM jsonb_array_elements_text(attributes->'sortkey')), '{}'), coalesce((attributes->>'interleaved')::boolean, false)
    ON CONFLICT (relation) DO NOTHING;
    INSERT INTO _redshift.columns (relation, name, encoding, varbyte_bytes, varbyte_bounded, constrained)
    SELECT target, definition->>'name', definition->>'encoding', (definition->>'varbyte_bytes')::integer, (definition->>'varbyte_bounded')::boolean, (definition->>'constrained')::boolean
    FROM jsonb_array_elements(definitions) AS definition
    ON CONFLICT (relation, name) DO NOTHING;
    IF kind <> 'r' THEN
        RETURN;
    END IF;
    FOR found IN
        SELECT attnum, attname, atttypid, atttypmod FROM pg_catalog.pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
    LOOP
        IF found.atttypid = 'text'::regtype OR (found.atttypid = 'varchar'::regtype AND found.atttypmod = -1) THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE varchar(65535)', target, found.attname);
            found.atttypid := 'varchar'::regtype;
            found.atttypmod := 65539;
        END IF;
        constraint_name := NULL;
        IF found.atttypid = 'varchar'::regtype THEN
            bytes := found.atttypmod - 4;
            constraint_name := format('_redshift_bytes_%s_%s', bytes, found.attnum);
            condition := format('octet_length(%I) <= %s', found.attname, bytes);
        ELSIF found.atttypid = 'bpchar'::regtype THEN
            constraint_name := format('_redshift_ascii_%s', found.attnum);
            condition := format('octet_length(%1$I::text) = char_length(%1$I::text)', found.attname);
        ELSIF found.atttypid = 'bytea'::regtype THEN
            bytes := coalesce((SELECT varbyte_bytes FROM _redshift.columns WHERE relation = target AND name = found.attname), 64000);
            constraint_name := format('_redshift_varbyte_%s_%s', bytes, found.attnum);
            condition := format('octet_length(%I) <= %s', found.attname, bytes);
        END IF;
        IF constraint_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE conrelid = target AND conname = constraint_name) THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%s)', target, constraint_name, condition);
        END IF;
    END LOOP;
END $$;

-- LIKE takes over distribution, sort keys, encodings; not keys.
CREATE OR REPLACE FUNCTION _redshift.inherit(target regclass, parent regclass) RETURNS void LANGUAGE sql AS $$
    INSERT INTO _redshift.relations (relation, diststyle, distkey, sortkey, interleaved)
    SELECT target, diststyle, distkey, sortkey, interleaved FROM _redshift.relations WHERE relation = parent
    ON CONFLICT (relation) DO NOTHING;
    INSERT INTO _redshift.columns (relation, name, encoding, varbyte_bytes, varbyte_bounded)
    SELECT target, name, encoding, varbyte_bytes, varbyte_bounded FROM _redshift.columns WHERE relation = parent
    ON CONFLICT (relation, name) DO NOTHING;
$$;

CREATE OR REPLACE FUNCTION _redshift.require_column(target regclass, wanted text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = target AND attname = wanted AND attnum > 0 AND NOT attisdropped) THEN
        RAISE EXCEPTION USING ERRCODE = '42703', MESSAGE = format('column "%s" of relation "%s" does not exist', wanted, target);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION _redshift.informational(target regclass, named jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
BEGIN
    FOR wanted IN SELECT value FROM jsonb_array_elements_text(named) LOOP
        PERFORM _redshift.require_column(target, wanted);
        INSERT INTO _redshift.columns (relation, name, constrained) VALUES (target, wanted, true)
        ON CONFLICT (relation, name) DO UPDATE SET constrained = true;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION _redshift.rename_column(target regclass, old_name text, new_name text) RETURNS void LANGUAGE sql AS $$
    UPDATE _redshift.columns SET name = new_name WHERE relation = target AND name = old_name;
    UPDATE _redshift.relations SET distkey = CASE WHEN distkey = old_name THEN new_name ELSE distkey END, sortkey = array_replace(sortkey, old_name, new_name) WHERE relation = target;
$$;

CREATE OR REPLACE FUNCTION _redshift.forget_column(target regclass, dropped text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM _redshift.columns WHERE relation = target AND name = dropped;
$$;

CREATE OR REPLACE FUNCTION _redshift.check_column_drop(target regclass, wanted text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    keys record;
BEGIN
    SELECT distkey, sortkey INTO keys FROM _redshift.relations WHERE relation = target;
    IF keys.distkey = wanted THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot drop distkey column "%s"', wanted);
    ELSIF wanted = ANY (keys.sortkey) THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot drop sortkey column "%s"', wanted);
    END IF;
END $$;

-- ALTER COLUMN TYPE VARCHAR(n), with the service's conditions.
CREATE OR REPLACE FUNCTION _redshift.alter_varchar(target regclass, wanted text, bytes integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found record;
    known record;
    longest integer;
BEGIN
    PERFORM _redshift.require_column(target, wanted);
    SELECT attnum, atttypid, atttypmod, atthasdef INTO found FROM pg_catalog.pg_attribute WHERE attrelid = target AND attname = wanted;
    SELECT encoding, constrained INTO known FROM _redshift.columns WHERE relation = target AND name = wanted;
    IF found.atttypid <> 'varchar'::regtype THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot alter type of column "%s": only the size of VARCHAR columns can be altered', wanted);
    ELSIF known.encoding IN ('bytedict', 'runlength', 'text255', 'text32k') THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot alter type of column "%s" with encoding %s', wanted, upper(known.encoding));
    ELSIF found.atthasdef THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot alter type of column "%s" with a default', wanted);
    ELSIF known.constrained THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = format('cannot alter type of column "%s" with a UNIQUE, PRIMARY KEY or FOREIGN KEY constraint', wanted);
    END IF;
    EXECUTE format('SELECT max(octet_length(%I)) FROM %s', wanted, target) INTO longest;
    IF longest > bytes THEN
        RAISE EXCEPTION USING ERRCODE = '22001', MESSAGE = format('cannot alter column "%s" to a size below the longest existing value', wanted);
    END IF;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', target, format('_redshift_bytes_%s_%s', found.atttypmod - 4, found.attnum));
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE varchar(%s)', target, wanted, bytes);
    PERFORM _redshift.adopt(target, '{}', '[]');
END $$;

CREATE OR REPLACE FUNCTION _redshift.alter_encoding(target regclass, wanted text, chosen text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _redshift.require_column(target, wanted);
    IF chosen NOT IN ('raw', 'az64', 'bytedict', 'delta', 'delta32k', 'lzo', 'mostly8', 'mostly16', 'mostly32', 'runlength', 'text255', 'text32k', 'zstd') THEN
        RAISE EXCEPTION USING ERRCODE = '42601', MESSAGE = format('invalid encoding "%s" specified for column', chosen);
    END IF;
    INSERT INTO _redshift.columns (relation, name, encoding) VALUES (target, wanted, chosen)
    ON CONFLICT (relation, name) DO UPDATE SET encoding = excluded.encoding;
END $$;

CREATE OR REPLACE FUNCTION _redshift.alter_attributes(target regclass, attributes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
BEGIN
    FOR wanted IN SELECT value FROM jsonb_array_elements_text(attributes->'sortkey') UNION ALL SELECT attributes->>'distkey' WHERE attributes->>'distkey' IS NOT NULL LOOP
        PERFORM _redshift.require_column(target, wanted);
    END LOOP;
    INSERT INTO _redshift.relations (relation) VALUES (target) ON CONFLICT (relation) DO NOTHING;
    IF attributes->>'distkey' IS NOT NULL THEN
        UPDATE _redshift.relations SET distkey = attributes->>'distkey', diststyle = format('KEY(%s)', attributes->>'distkey') WHERE relation = target;
    ELSIF attributes ? 'diststyle' THEN
        UPDATE _redshift.relations SET distkey = NULL, diststyle = attributes->>'diststyle' WHERE relation = target;
    END IF;
    IF attributes ? 'sortkey' THEN
        UPDATE _redshift.relations SET sortkey = coalesce((SELECT array_agg(value) FROM jsonb_array_elements_text(attributes->'sortkey')), '{}') WHERE relation = target;
    END IF;
END $$;

-- OR REPLACE keeps a view's columns: names, types and order.
CREATE OR REPLACE FUNCTION _redshift.view_columns(target text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum), '')
    FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(target) AND attnum > 0 AND NOT attisdropped
$$;

CREATE OR REPLACE FUNCTION _redshift.remember_view(target text) RETURNS void LANGUAGE sql AS $$
    SELECT set_config('redshift.view_columns', _redshift.view_columns(target), true)
$$;

CREATE OR REPLACE FUNCTION _redshift.check_view(target text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    former text := current_setting('redshift.view_columns', true);
BEGIN
    IF former <> '' AND former <> _redshift.view_columns(target) THEN
        RAISE EXCEPTION USING ERRCODE = '42P16', MESSAGE = 'cannot change the columns of a view';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION _redshift.create_late_view(schema_wanted text, view_wanted text, body text, replacing boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regnamespace(quote_ident(schema_wanted)) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '3F000', MESSAGE = format('schema "%s" does not exist', schema_wanted);
    ELSIF to_regclass(format('%I.%I', schema_wanted, view_wanted)) IS NOT NULL OR (NOT replacing AND EXISTS (SELECT 1 FROM _redshift.late_views WHERE schema_name = schema_wanted AND view_name = view_wanted)) THEN
        RAISE EXCEPTION USING ERRCODE = '42P07', MESSAGE = format('relation "%s" already exists', view_wanted);
    END IF;
    INSERT INTO _redshift.late_views VALUES (schema_wanted, view_wanted, body) ON CONFLICT (schema_name, view_name) DO UPDATE SET query = excluded.query;
END $$;

CREATE OR REPLACE FUNCTION _redshift.drop_view(schema_wanted text, view_wanted text, quoted text, if_exists boolean, cascading boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM _redshift.late_views WHERE schema_name = schema_wanted AND view_name = view_wanted;
    IF NOT FOUND THEN
        EXECUTE format('DROP VIEW %s %s %s', CASE WHEN if_exists THEN 'IF EXISTS' ELSE '' END, quoted, CASE WHEN cascading THEN 'CASCADE' ELSE '' END);
    END IF;
END $$;

-- A view that reads the target cannot be a MERGE's source.
CREATE OR REPLACE FUNCTION _redshift.check_merge_source(source regclass, target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF source = target THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = 'Source table and target table in MERGE cannot be the same.';
    ELSIF EXISTS (
        WITH RECURSIVE reads(relation) AS (
            SELECT source::oid
            UNION
            SELECT d.refobjid FROM reads r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.relation
            JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
        )
        SELECT 1 FROM reads WHERE relation = target
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = 'Source view/subquery in Merge statement cannot reference target table.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION _redshift.refuse_multiple_matches(found boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF found THEN
        RAISE EXCEPTION USING ERRCODE = '21000', MESSAGE = 'Found multiple matches to update the same tuple.';
    END IF;
END $$;
