-- ~ column marts.orders.status VARCHAR(10) becomes VARCHAR(256)
-- + column marts.orders.updated_at TIMESTAMPTZ

-- together
ALTER TABLE "marts"."orders" ADD COLUMN "updated_at" TIMESTAMPTZ;

-- together
COMMENT ON COLUMN "marts"."orders"."updated_at" IS 'The updated_at.';

-- alone
ALTER TABLE "marts"."orders" ALTER COLUMN "status" TYPE VARCHAR(256);

