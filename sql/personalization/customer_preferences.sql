WITH orders_of_all AS (
    SELECT sum(orders_365_days) AS orders FROM customer_features
),

population AS (
    SELECT kind, value, sum(orders) AS orders FROM customer_values GROUP BY kind, value
),

preferred AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY customer_id, kind ORDER BY orders DESC, last_placed_at DESC, value) AS place
    FROM customer_values
),

wanted AS (
    SELECT v.customer_id, a.wants AS value, max(a.lift) AS lift
    FROM customer_values AS v
    JOIN category_affinities AS a ON v.value = a.has
    WHERE v.kind = 'category' AND a.lift > 1
    GROUP BY v.customer_id, a.wants
),

next_best AS (
    SELECT
        w.customer_id,
        w.value,
        w.lift,
        coalesce(v.orders, 0) AS orders,
        v.last_placed_at,
        row_number() OVER (PARTITION BY w.customer_id ORDER BY w.lift DESC, w.value) AS place
    FROM wanted AS w
    LEFT JOIN customer_values AS v ON w.customer_id = v.customer_id AND v.kind = 'category' AND w.value = v.value
    WHERE v.last_placed_at IS NULL OR v.last_placed_at < as_of() - INTERVAL '60 days'
)

SELECT
    p.customer_id,
    p.kind,
    p.value,
    CAST(p.place AS INT) AS place,
    p.orders,
    CAST(p.orders AS DOUBLE) / CAST(f.orders_365_days AS DOUBLE) AS share,
    p.last_placed_at,
    CAST(p.orders * a.orders AS DOUBLE) / CAST(f.orders_365_days * n.orders AS DOUBLE) AS lift
FROM preferred AS p
JOIN customer_features AS f ON p.customer_id = f.customer_id
JOIN population AS n ON p.kind = n.kind AND p.value = n.value
CROSS JOIN orders_of_all AS a
WHERE p.place <= 5

UNION ALL
SELECT
    b.customer_id,
    'next_best_category' AS kind,
    b.value,
    CAST(b.place AS INT) AS place,
    b.orders,
    CAST(b.orders AS DOUBLE) / CAST(f.orders_365_days AS DOUBLE) AS share,
    b.last_placed_at,
    b.lift
FROM next_best AS b
JOIN customer_features AS f ON b.customer_id = f.customer_id
WHERE b.place = 1
