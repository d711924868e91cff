WITH recent_orders AS (
    SELECT
        o.customer_id,
        o.order_id,
        o.placed_at,
        o.store_id,
        local_hour(o.placed_at, coalesce(known_time_zone(s.time_zone), 'UTC')) AS local_hour
    FROM orders AS o
    JOIN customers AS c ON o.customer_id = c.customer_id
    LEFT JOIN stores AS s ON o.store_id = s.store_id
    WHERE o.is_completed
        AND c.deleted_at IS NULL
        AND o.placed_at <= as_of()
        AND o.placed_at > as_of() - INTERVAL '365 days'
),

-- What each order says about its customer, once.
facts AS (
    SELECT DISTINCT o.customer_id, o.order_id, o.placed_at, 'category' AS kind, i.category AS value
    FROM recent_orders AS o
    JOIN order_items AS i ON o.order_id = i.order_id
    WHERE i.category IS NOT NULL

    UNION ALL
    SELECT DISTINCT o.customer_id, o.order_id, o.placed_at, 'sku' AS kind, i.sku AS value
    FROM recent_orders AS o
    JOIN order_items AS i ON o.order_id = i.order_id
    WHERE i.sku IS NOT NULL

    UNION ALL
    SELECT customer_id, order_id, placed_at, 'store' AS kind, CAST(store_id AS VARCHAR) AS value
    FROM recent_orders
    WHERE store_id IS NOT NULL

    UNION ALL
    SELECT
        customer_id,
        order_id,
        placed_at,
        'daypart' AS kind,
        CASE
            WHEN local_hour < 6 THEN 'night'
            WHEN local_hour < 11 THEN 'morning'
            WHEN local_hour < 15 THEN 'lunch'
            WHEN local_hour < 18 THEN 'afternoon'
            ELSE 'evening'
        END AS value
    FROM recent_orders
)

SELECT customer_id, kind, value, count(*) AS orders, max(placed_at) AS last_placed_at
FROM facts
GROUP BY customer_id, kind, value
