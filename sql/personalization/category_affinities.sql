WITH baskets AS (
    SELECT DISTINCT o.order_id, i.category
    FROM orders AS o
    JOIN customers AS c ON o.customer_id = c.customer_id
    JOIN order_items AS i ON o.order_id = i.order_id
    WHERE o.is_completed
        AND c.deleted_at IS NULL
        AND i.category IS NOT NULL
        AND o.placed_at <= as_of()
        AND o.placed_at > as_of() - INTERVAL '365 days'
),

pairs AS (
    SELECT x.category AS has, y.category AS wants, count(*) AS orders
    FROM baskets AS x
    JOIN baskets AS y ON x.order_id = y.order_id
    WHERE x.category <> y.category
    GROUP BY x.category, y.category
),

categories AS (
    SELECT value AS category, sum(orders) AS orders FROM customer_values WHERE kind = 'category' GROUP BY value
),

orders_of_all AS (
    SELECT sum(orders_365_days) AS orders FROM customer_features
)

SELECT
    p.has,
    p.wants,
    p.orders,
    CAST(p.orders AS DOUBLE) / CAST(h.orders AS DOUBLE) AS confidence,
    CAST(p.orders * a.orders AS DOUBLE) / CAST(h.orders * w.orders AS DOUBLE) AS lift
FROM pairs AS p
JOIN categories AS h ON p.has = h.category
JOIN categories AS w ON p.wants = w.category
CROSS JOIN orders_of_all AS a
WHERE p.orders >= parameter_int('affinity_orders_min', 10)
