-- lock
LOCK "pipeline_meta"."loads";

-- guard
SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) < 1 THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders';

-- stage
CREATE TEMP TABLE "pipeline_stage" ("order_id" VARCHAR(36), "line" INTEGER) DISTSTYLE KEY DISTKEY ("store_id");

-- copy
COPY "pipeline_stage" ("order_id", "line") FROM 's3://lake/nightly/0199/orders/1/copy.manifest' IAM_ROLE default FORMAT AS PARQUET MANIFEST;

-- mark
INSERT INTO "pipeline_meta"."loads" (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) SELECT 'nightly', 'marts.orders', 1, '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'nightly/items/1/5f5f5f5f5f5f', '0199', 'merge', CAST(NULL AS BIGINT), staged.n - same.n, 0, same.n, GETDATE() FROM (SELECT COUNT(*) AS n FROM "pipeline_stage") AS staged CROSS JOIN (SELECT COUNT(*) AS n FROM "pipeline_stage" JOIN "marts"."orders" ON ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND "marts"."orders"."line" = "pipeline_stage"."line") AS same;

-- drop same
DELETE FROM "pipeline_stage" USING "marts"."orders" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND "marts"."orders"."line" = "pipeline_stage"."line";

-- delete
DELETE FROM "marts"."orders" USING "pipeline_stage" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND "marts"."orders"."line" = "pipeline_stage"."line";

-- insert
INSERT INTO "marts"."orders" ("order_id", "line") SELECT "order_id", "line" FROM "pipeline_stage";

-- read
SELECT revision, digest, rows_written, rows_deleted, rows_unchanged FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders' AND revision = 1;

