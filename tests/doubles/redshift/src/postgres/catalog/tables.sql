-- What Redshift knows of tables and PostgreSQL does not.
CREATE SCHEMA IF NOT EXISTS _redshift;
CREATE TABLE IF NOT EXISTS _redshift.relations (
    relation oid PRIMARY KEY,
    diststyle text NOT NULL DEFAULT 'AUTO',
    distkey text,
    sortkey text[] NOT NULL DEFAULT '{}',
    interleaved boolean NOT NULL DEFAULT false,
    created_at timestamp NOT NULL DEFAULT timezone('UTC', clock_timestamp())
);
CREATE TABLE IF NOT EXISTS _redshift.columns (
    relation oid NOT NULL,
    name text NOT NULL,
    encoding text,
    varbyte_bytes integer,
    varbyte_bounded boolean,
    constrained boolean NOT NULL DEFAULT false,
    PRIMARY KEY (relation, name)
);
CREATE TABLE IF NOT EXISTS _redshift.late_views (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    query text NOT NULL,
    PRIMARY KEY (schema_name, view_name)
);
CREATE TABLE IF NOT EXISTS _redshift.long_names (short text PRIMARY KEY, name text NOT NULL);

-- The system views' rows. CHAR columns are padded with blanks, as on the service.
CREATE TABLE IF NOT EXISTS _redshift.sys_load_error_detail (
    user_id integer,
    query_id bigint,
    transaction_id bigint,
    session_id integer,
    database_name char(64),
    table_id integer,
    start_time timestamp,
    file_name char(256),
    line_number bigint,
    column_name char(127),
    column_type char(10),
    column_length char(10),
    position integer,
    error_code integer,
    error_message char(512)
);
CREATE TABLE IF NOT EXISTS _redshift.sys_load_history (
    user_id integer,
    query_id bigint,
    transaction_id bigint,
    session_id integer,
    database_name text,
    status text,
    table_name text,
    start_time timestamp,
    end_time timestamp,
    duration bigint,
    data_source text,
    file_format text,
    loaded_rows bigint,
    loaded_bytes bigint,
    source_file_count integer,
    source_file_bytes bigint,
    file_count_scanned integer,
    file_bytes_scanned bigint,
    error_count integer,
    copy_job_id bigint
);
CREATE TABLE IF NOT EXISTS _redshift.sys_query_history (
    user_id integer,
    query_id bigint,
    query_label char(320),
    transaction_id bigint,
    session_id integer,
    database_name char(128),
    query_type char(32),
    status char(10),
    result_cache_hit boolean,
    start_time timestamp,
    end_time timestamp,
    elapsed_time bigint,
    queue_time bigint,
    execution_time bigint,
    error_message char(512),
    returned_rows bigint,
    returned_bytes bigint,
    query_text char(4000),
    redshift_version char(256),
    usage_limit char(150),
    compute_type varchar(18),
    compile_time bigint,
    planning_time bigint,
    lock_wait_time bigint
);
