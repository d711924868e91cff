-- An entry belongs to the store of its order, and to the month on that store's wall clock.
WITH entries AS (
    SELECT
        CAST(coalesce(o.store_id, 0) AS INT) AS store_id,
        date_trunc(
            'month', local_date(l.created_at, coalesce(known_time_zone(s.time_zone), 'UTC'))
        ) AS month,
        CAST(l.points AS BIGINT) AS points
    FROM loyalty_ledger AS l
    LEFT JOIN orders AS o ON l.order_id = o.order_id
    LEFT JOIN stores AS s ON o.store_id = s.store_id
    WHERE l.points IS NOT NULL AND l.created_at IS NOT NULL
),

months AS (
    SELECT
        store_id,
        CAST(month AS DATE) AS month,
        count(*) AS entries,
        coalesce(sum(points) FILTER (WHERE points > 0), 0) AS earned,
        coalesce(-sum(points) FILTER (WHERE points < 0), 0) AS burnt
    FROM entries
    GROUP BY store_id, month
)

SELECT
    store_id,
    month,
    entries,
    earned,
    burnt,
    sum(earned - burnt) OVER (PARTITION BY store_id ORDER BY month) AS outstanding
FROM months
