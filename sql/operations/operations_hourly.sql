WITH local_orders AS (
    SELECT
        o.*,
        coalesce(o.currency, 'XXX') AS currency_or_none,
        local_date(o.placed_at, coalesce(known_time_zone(s.time_zone), 'UTC')) AS local_date,
        CAST(local_hour(o.placed_at, coalesce(known_time_zone(s.time_zone), 'UTC')) AS INT) AS local_hour
    FROM orders AS o
    LEFT JOIN stores AS s ON o.store_id = s.store_id
    WHERE o.store_id IS NOT NULL AND o.placed_at IS NOT NULL
),

couriers AS (
    SELECT o.local_date, o.local_hour, o.store_id, o.currency_or_none, count(DISTINCT d.courier_id) AS couriers
    FROM local_orders AS o
    JOIN deliveries AS d ON o.order_id = d.order_id
    WHERE d.courier_id IS NOT NULL
    GROUP BY o.local_date, o.local_hour, o.store_id, o.currency_or_none
),

-- A time beyond the calendar is on no day.
hours AS (
    SELECT
        local_date,
        local_hour,
        store_id,
        currency_or_none AS currency,
        count(*) AS orders,
        count(*) FILTER (WHERE is_completed) AS completed,
        count(*) FILTER (WHERE is_cancelled) AS cancelled,
        count(*) FILTER (WHERE is_late) AS late_orders,
        sum(revenue) AS revenue,
        -- Means are taken in decimals: their sums do not depend on the order of the rows, as those of doubles do.
        avg(CAST(preparation_minutes AS DECIMAL(28, 9))) AS preparation_minutes_mean
    FROM local_orders
    WHERE local_date IS NOT NULL AND local_hour IS NOT NULL
    GROUP BY local_date, local_hour, store_id, currency_or_none
)

SELECT
    h.local_date,
    h.local_hour,
    h.store_id,
    h.currency,
    h.orders,
    h.completed,
    h.cancelled,
    h.late_orders,
    CAST(h.revenue AS DECIMAL(18, 2)) AS revenue,
    CAST(h.preparation_minutes_mean AS DOUBLE) AS preparation_minutes_mean,
    coalesce(c.couriers, 0) AS active_couriers
FROM hours AS h
LEFT JOIN couriers AS c
    ON h.local_date = c.local_date AND h.local_hour = c.local_hour AND h.store_id = c.store_id AND h.currency = c.currency_or_none
