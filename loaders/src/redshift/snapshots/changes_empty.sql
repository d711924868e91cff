-- lock
LOCK "pipeline_meta"."loads";

-- guard
SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) = 0 THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders';

-- mark
INSERT INTO "pipeline_meta"."loads" (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) SELECT 'nightly', 'marts.orders', 1, '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'nightly/orders/1/5f5f5f5f5f5f', '0199', 'changes', CAST(NULL AS BIGINT), 0, 0, 0, GETDATE();

-- read
SELECT revision, digest, rows_written, rows_deleted, rows_unchanged FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders' AND revision = 1;

