SELECT
    id AS transaction_id,
    order_id,
    customer_id,
    kind,
    status,
    method,
    provider,
    CAST(amount AS DECIMAL(18, 2)) AS amount,
    CAST(fee AS DECIMAL(18, 4)) AS fee,
    currency,
    created_at,
    updated_at
FROM platform.transactions
