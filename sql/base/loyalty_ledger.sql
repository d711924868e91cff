SELECT id AS entry_id, customer_id, order_id, points, reason, created_at
FROM platform.loyalty_ledger
