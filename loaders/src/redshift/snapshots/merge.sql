-- lock
LOCK "pipeline_meta"."loads";

-- guard
SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) < 7 THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders';

-- stage
CREATE TEMP TABLE "pipeline_stage" ("order_id" VARCHAR(24), "store_id" INTEGER, "status" VARCHAR(256), "total" DECIMAL(18,2), "updated_at" TIMESTAMPTZ) DISTSTYLE KEY DISTKEY ("store_id");

-- copy
COPY "pipeline_stage" ("order_id", "store_id", "status", "total", "updated_at") FROM 's3://lake/nightly/0199/orders/1/copy.manifest' IAM_ROLE default FORMAT AS PARQUET MANIFEST;

-- drop stale
DELETE FROM "pipeline_stage" USING "marts"."orders" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND ("marts"."orders"."updated_at" > "pipeline_stage"."updated_at" OR ("marts"."orders"."updated_at" IS NOT NULL AND "pipeline_stage"."updated_at" IS NULL));

-- mark
INSERT INTO "pipeline_meta"."loads" (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) SELECT 'nightly', 'marts.orders', 7, '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'nightly/orders/7/5f5f5f5f5f5f', '0199', 'merge', CAST(NULL AS BIGINT), staged.n - same.n, 0, same.n, GETDATE() FROM (SELECT COUNT(*) AS n FROM "pipeline_stage") AS staged CROSS JOIN (SELECT COUNT(*) AS n FROM "pipeline_stage" JOIN "marts"."orders" ON ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND "marts"."orders"."store_id" = "pipeline_stage"."store_id" AND (("marts"."orders"."status" = "pipeline_stage"."status" AND OCTET_LENGTH("marts"."orders"."status") = OCTET_LENGTH("pipeline_stage"."status")) OR ("marts"."orders"."status" IS NULL AND "pipeline_stage"."status" IS NULL)) AND ("marts"."orders"."total" = "pipeline_stage"."total" OR ("marts"."orders"."total" IS NULL AND "pipeline_stage"."total" IS NULL)) AND ("marts"."orders"."updated_at" = "pipeline_stage"."updated_at" OR ("marts"."orders"."updated_at" IS NULL AND "pipeline_stage"."updated_at" IS NULL))) AS same;

-- drop same
DELETE FROM "pipeline_stage" USING "marts"."orders" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id")) AND "marts"."orders"."store_id" = "pipeline_stage"."store_id" AND (("marts"."orders"."status" = "pipeline_stage"."status" AND OCTET_LENGTH("marts"."orders"."status") = OCTET_LENGTH("pipeline_stage"."status")) OR ("marts"."orders"."status" IS NULL AND "pipeline_stage"."status" IS NULL)) AND ("marts"."orders"."total" = "pipeline_stage"."total" OR ("marts"."orders"."total" IS NULL AND "pipeline_stage"."total" IS NULL)) AND ("marts"."orders"."updated_at" = "pipeline_stage"."updated_at" OR ("marts"."orders"."updated_at" IS NULL AND "pipeline_stage"."updated_at" IS NULL));

-- delete
DELETE FROM "marts"."orders" USING "pipeline_stage" WHERE ("marts"."orders"."order_id" = "pipeline_stage"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_stage"."order_id"));

-- insert
INSERT INTO "marts"."orders" ("order_id", "store_id", "status", "total", "updated_at") SELECT "order_id", "store_id", "status", "total", "updated_at" FROM "pipeline_stage";

-- read
SELECT revision, digest, rows_written, rows_deleted, rows_unchanged FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders' AND revision = 7;

