-- lock
LOCK "pipeline_meta"."loads";

-- guard
SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) < 7 THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders';

-- stage
CREATE TEMP TABLE "pipeline_stage" ("order_id" VARCHAR(24), "store_id" INTEGER, "status" VARCHAR(256), "total" DECIMAL(18,2), "updated_at" TIMESTAMPTZ) DISTSTYLE KEY DISTKEY ("store_id");

-- copy
COPY "pipeline_stage" ("order_id", "store_id", "status", "total", "updated_at") FROM 's3://lake/nightly/0199/orders/1/copy.manifest' IAM_ROLE default FORMAT AS PARQUET MANIFEST;

-- stage
CREATE TEMP TABLE "pipeline_picked" ("order_id" VARCHAR(24), "store_id" INTEGER, "status" VARCHAR(256), "total" DECIMAL(18,2), "updated_at" TIMESTAMPTZ) DISTSTYLE KEY DISTKEY ("store_id");

-- pick
INSERT INTO "pipeline_picked" ("order_id", "store_id", "status", "total", "updated_at") SELECT "order_id", "store_id", "status", "total", "updated_at" FROM (SELECT "order_id", "store_id", "status", "total", "updated_at", ROW_NUMBER() OVER (PARTITION BY "order_id", OCTET_LENGTH("order_id") ORDER BY "updated_at" DESC NULLS LAST, "store_id" DESC NULLS LAST, "status" DESC NULLS LAST, "total" DESC NULLS LAST) AS pipeline_rank FROM "pipeline_stage") AS ranked WHERE pipeline_rank = 1;

-- drop stale
DELETE FROM "pipeline_picked" USING "marts"."orders" WHERE ("marts"."orders"."order_id" = "pipeline_picked"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_picked"."order_id")) AND ("marts"."orders"."updated_at" > "pipeline_picked"."updated_at" OR ("marts"."orders"."updated_at" IS NOT NULL AND "pipeline_picked"."updated_at" IS NULL));

-- mark
INSERT INTO "pipeline_meta"."loads" (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) SELECT 'nightly', 'marts.orders', 7, '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'nightly/orders/7/5f5f5f5f5f5f', '0199', 'merge', CAST(NULL AS BIGINT), picked.n - same.n, 0, same.n, GETDATE() FROM (SELECT COUNT(*) AS n FROM "pipeline_picked") AS picked CROSS JOIN (SELECT COUNT(*) AS n FROM "pipeline_picked" JOIN "marts"."orders" ON ("marts"."orders"."order_id" = "pipeline_picked"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_picked"."order_id")) AND "marts"."orders"."store_id" = "pipeline_picked"."store_id" AND (("marts"."orders"."status" = "pipeline_picked"."status" AND OCTET_LENGTH("marts"."orders"."status") = OCTET_LENGTH("pipeline_picked"."status")) OR ("marts"."orders"."status" IS NULL AND "pipeline_picked"."status" IS NULL)) AND ("marts"."orders"."total" = "pipeline_picked"."total" OR ("marts"."orders"."total" IS NULL AND "pipeline_picked"."total" IS NULL)) AND ("marts"."orders"."updated_at" = "pipeline_picked"."updated_at" OR ("marts"."orders"."updated_at" IS NULL AND "pipeline_picked"."updated_at" IS NULL))) AS same;

-- drop same
DELETE FROM "pipeline_picked" USING "marts"."orders" WHERE ("marts"."orders"."order_id" = "pipeline_picked"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_picked"."order_id")) AND "marts"."orders"."store_id" = "pipeline_picked"."store_id" AND (("marts"."orders"."status" = "pipeline_picked"."status" AND OCTET_LENGTH("marts"."orders"."status") = OCTET_LENGTH("pipeline_picked"."status")) OR ("marts"."orders"."status" IS NULL AND "pipeline_picked"."status" IS NULL)) AND ("marts"."orders"."total" = "pipeline_picked"."total" OR ("marts"."orders"."total" IS NULL AND "pipeline_picked"."total" IS NULL)) AND ("marts"."orders"."updated_at" = "pipeline_picked"."updated_at" OR ("marts"."orders"."updated_at" IS NULL AND "pipeline_picked"."updated_at" IS NULL));

-- delete
DELETE FROM "marts"."orders" USING "pipeline_picked" WHERE ("marts"."orders"."order_id" = "pipeline_picked"."order_id" AND OCTET_LENGTH("marts"."orders"."order_id") = OCTET_LENGTH("pipeline_picked"."order_id"));

-- insert
INSERT INTO "marts"."orders" ("order_id", "store_id", "status", "total", "updated_at") SELECT "order_id", "store_id", "status", "total", "updated_at" FROM "pipeline_picked";

-- read
SELECT revision, digest, rows_written, rows_deleted, rows_unchanged FROM "pipeline_meta"."loads" WHERE pipeline = 'nightly' AND table_name = 'marts.orders' AND revision = 7;

