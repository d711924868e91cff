-- lock
LOCK "pipeline_meta"."loads";

-- guard
SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) = 6 THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders';

-- stage
CREATE TEMP TABLE "pipeline_stage" ("order_id" VARCHAR(24), "store_id" INTEGER, "status" VARCHAR(256), "total" DECIMAL(18,2), "updated_at" TIMESTAMPTZ, "_deleted" BOOLEAN) DISTSTYLE KEY DISTKEY ("store_id");

-- copy
COPY "pipeline_stage" ("order_id", "store_id", "status", "total", "updated_at", "_deleted") FROM 's3://lake/nightly/0199/orders/1/copy.manifest' IAM_ROLE default FORMAT AS PARQUET MANIFEST;

-- mark
INSERT INTO "pipeline_meta"."loads" (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) SELECT 'nightly', 'marts.orders', 7, '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'nightly/orders/7/5f5f5f5f5f5f', '0199', 'changes', 6, new_rows.n, gone.n, 0, GETDATE() FROM (SELECT COUNT(*) AS n FROM "pipeline_stage" WHERE NOT "_deleted") AS new_rows CROSS JOIN (SELECT COUNT(*) AS n FROM "marts"."orders" JOIN "pipeline_stage" ON ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) WHERE "pipeline_stage"."_deleted") AS gone;

-- delete
DELETE FROM "marts"."orders" USING "pipeline_stage" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id"));

-- insert
INSERT INTO "marts"."orders" ("order_id", "store_id", "status", "total", "updated_at") SELECT "order_id", "store_id", "status", "total", "updated_at" FROM "pipeline_stage" WHERE NOT "_deleted";

-- read
SELECT revision, digest, rows_written, rows_deleted, rows_unchanged FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders' AND revision = 7;

