-- + schema pipeline_meta
-- + schema marts
-- + table pipeline_meta.loads (12 columns)
-- + table marts.orders (5 columns)

-- together
CREATE SCHEMA IF NOT EXISTS "pipeline_meta";

-- together
CREATE SCHEMA IF NOT EXISTS "marts";

-- together
CREATE TABLE IF NOT EXISTS "pipeline_meta"."loads" ("pipeline" VARCHAR(256) NOT NULL, "table_name" VARCHAR(256) NOT NULL, "revision" BIGINT NOT NULL, "digest" VARCHAR(64) NOT NULL, "load_id" VARCHAR(1024) NOT NULL, "run" VARCHAR(256) NOT NULL, "mode" VARCHAR(16) NOT NULL, "base" BIGINT, "rows_written" BIGINT NOT NULL, "rows_deleted" BIGINT NOT NULL, "rows_unchanged" BIGINT NOT NULL, "loaded_at" TIMESTAMP NOT NULL);

-- together
CREATE TABLE "marts"."orders" ("order_id" VARCHAR(24) NOT NULL, "store_id" INTEGER NOT NULL, "status" VARCHAR(256), "total" DECIMAL(18,2), "updated_at" TIMESTAMPTZ) DISTSTYLE KEY DISTKEY ("store_id") SORTKEY ("updated_at", "store_id");

-- together
COMMENT ON TABLE "marts"."orders" IS 'One row per order; it''s the base of all.';

-- together
COMMENT ON COLUMN "marts"."orders"."order_id" IS 'The order_id.';

-- together
COMMENT ON COLUMN "marts"."orders"."store_id" IS 'The store_id.';

-- together
COMMENT ON COLUMN "marts"."orders"."status" IS 'The status.';

-- together
COMMENT ON COLUMN "marts"."orders"."total" IS 'The total.';

-- together
COMMENT ON COLUMN "marts"."orders"."updated_at" IS 'The updated_at.';

