WITH settled AS (
    SELECT
        coalesce(order_id, 'transaction ' || CAST(transaction_id AS VARCHAR)) AS subject,
        order_id,
        coalesce(currency, 'XXX') AS currency,
        CAST(coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0.00) AS DECIMAL(18, 2)) AS captured,
        count(*) FILTER (WHERE kind = 'capture') AS captures,
        CAST(coalesce(max(amount) FILTER (WHERE kind = 'capture'), 0.00) AS DECIMAL(18, 2)) AS largest_capture,
        CAST(coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0.00) AS DECIMAL(18, 2)) AS refunded
    FROM payments
    WHERE status = 'succeeded' AND kind IN ('capture', 'refund')
    GROUP BY 1, order_id, coalesce(currency, 'XXX')
),

known_orders AS (
    SELECT order_id, store_id, business_date, is_completed, total, coalesce(currency, 'XXX') AS currency
    FROM orders
),

-- What was paid in the order's own currency, in another one, and for no order at all.
paired AS (
    SELECT
        coalesce(s.subject, o.order_id) AS subject,
        coalesce(o.order_id, s.order_id) AS order_id,
        coalesce(s.currency, o.currency) AS currency,
        o.currency AS order_currency,
        o.store_id,
        o.business_date,
        o.order_id IS NOT NULL AS is_known,
        coalesce(o.is_completed, false) AS is_completed,
        o.total,
        coalesce(s.captured, 0.00) AS captured,
        coalesce(s.captures, 0) AS captures,
        coalesce(s.largest_capture, 0.00) AS largest_capture,
        coalesce(s.refunded, 0.00) AS refunded,
        s.currency IS NULL OR o.currency IS NULL OR s.currency = o.currency AS is_same_currency
    FROM known_orders AS o
    FULL JOIN settled AS s ON o.order_id = s.order_id
),

-- An order with payments in several currencies is in several rows; what it lacks is told by the first.
counted AS (
    SELECT
        *,
        sum(captures) OVER (PARTITION BY order_id) AS captures_in_all,
        row_number() OVER (PARTITION BY order_id ORDER BY is_same_currency DESC, currency) AS position
    FROM paired
),

findings AS (
    SELECT p.*, 'missing_capture' AS finding, p.total AS at_stake
    FROM counted AS p
    WHERE p.is_known AND p.is_completed AND p.total > 0.00 AND p.captures_in_all = 0 AND p.position = 1

    UNION ALL
    SELECT p.*, 'capture_without_order' AS finding, p.captured AS at_stake
    FROM counted AS p
    WHERE NOT p.is_known AND p.captures > 0

    UNION ALL
    SELECT p.*, 'currency_mismatch' AS finding, p.captured AS at_stake
    FROM counted AS p
    WHERE p.is_known AND NOT p.is_same_currency AND p.captures > 0

    UNION ALL
    SELECT p.*, 'double_capture' AS finding, p.captured - p.largest_capture AS at_stake
    FROM counted AS p
    WHERE p.is_known AND p.is_same_currency AND p.captures > 1

    UNION ALL
    SELECT p.*, 'amount_mismatch' AS finding, abs(p.captured - p.total) AS at_stake
    FROM counted AS p
    WHERE p.is_known AND p.is_same_currency AND p.captures = 1 AND p.captured <> p.total

    UNION ALL
    SELECT p.*, 'refund_over_total' AS finding, p.refunded - p.total AS at_stake
    FROM counted AS p
    WHERE p.is_known AND p.is_same_currency AND p.refunded > p.total
)

SELECT
    subject,
    CASE WHEN finding = 'missing_capture' THEN order_currency ELSE currency END AS currency,
    finding,
    order_id,
    store_id,
    business_date,
    total,
    captures,
    CAST(captured AS DECIMAL(18, 2)) AS captured,
    -- What was refunded in another currency than the missing capture's is no part of it.
    CAST(
        CASE WHEN finding = 'missing_capture' AND NOT is_same_currency THEN 0.00 ELSE refunded END AS DECIMAL(18, 2)
    ) AS refunded,
    CAST(at_stake AS DECIMAL(18, 2)) AS at_stake
FROM findings
