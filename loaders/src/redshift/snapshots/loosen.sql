-- ~ column marts.orders.status VARCHAR(10) NOT NULL becomes VARCHAR(256)
-- ~ column marts.orders.total DECIMAL(18,2) NOT NULL becomes DECIMAL(18,2)

-- whole
ALTER TABLE "marts"."orders" ADD COLUMN "status_nullable" VARCHAR(256);

-- whole
ALTER TABLE "marts"."orders" ADD COLUMN "total_nullable" DECIMAL(18,2);

-- whole
UPDATE "marts"."orders" SET "status_nullable" = "status", "total_nullable" = "total";

-- whole
ALTER TABLE "marts"."orders" DROP COLUMN "status";

-- whole
ALTER TABLE "marts"."orders" DROP COLUMN "total";

-- whole
ALTER TABLE "marts"."orders" RENAME COLUMN "status_nullable" TO "status";

-- whole
ALTER TABLE "marts"."orders" RENAME COLUMN "total_nullable" TO "total";

-- whole
COMMENT ON COLUMN "marts"."orders"."status" IS 'The status.';

-- whole
COMMENT ON COLUMN "marts"."orders"."total" IS 'The total.';

