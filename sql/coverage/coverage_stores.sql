WITH store_orders AS (
    SELECT
        *,
        coalesce(currency, 'XXX') AS currency_or_none,
        fulfilment = 'delivery' AND latitude IS NOT NULL AND longitude IS NOT NULL AS is_located
    FROM orders
    WHERE store_id IS NOT NULL AND business_date IS NOT NULL
),

store_days AS (
    SELECT
        o.business_date,
        o.store_id,
        o.currency_or_none AS currency,
        count(*) AS orders,
        count(*) FILTER (WHERE o.is_completed) AS completed,
        count(*) FILTER (WHERE o.is_cancelled) AS cancelled,
        count(*) FILTER (WHERE o.is_late) AS late_orders,
        count(*) FILTER (
            WHERE o.is_completed AND o.delivered_at IS NOT NULL AND o.promised_at IS NOT NULL
        ) AS timed_orders,
        sum(o.revenue) AS revenue,
        array_agg(o.delivery_minutes) FILTER (WHERE o.delivery_minutes IS NOT NULL) AS delivery_minutes,
        array_agg(o.preparation_minutes) FILTER (WHERE o.preparation_minutes IS NOT NULL) AS preparation_minutes,
        array_agg(o.store_distance_m) FILTER (WHERE o.is_located AND o.store_distance_m IS NOT NULL) AS distances_m,
        count(*) FILTER (WHERE o.is_located AND o.store_distance_m <= s.delivery_radius_m) AS orders_inside_radius,
        count(*) FILTER (WHERE o.is_located AND o.store_distance_m IS NOT NULL AND s.delivery_radius_m IS NOT NULL)
            AS orders_with_radius,
        sum(o.rating_stars) AS rating_stars,
        count(o.rating_stars) AS ratings
    FROM store_orders AS o
    LEFT JOIN stores AS s ON o.store_id = s.store_id
    GROUP BY o.business_date, o.store_id, o.currency_or_none
),

served_cells AS (
    SELECT DISTINCT
        business_date,
        store_id,
        currency_or_none AS currency,
        h3_parent(h3_cell(latitude, longitude, 9), 8) AS cell
    FROM store_orders
    WHERE is_located
),

stores_by_cell AS (
    SELECT business_date, cell, count(DISTINCT store_id) AS stores
    FROM served_cells
    WHERE cell IS NOT NULL
    GROUP BY business_date, cell
),

store_reach AS (
    SELECT
        c.business_date,
        c.store_id,
        c.currency,
        count(*) AS cells,
        count(*) FILTER (WHERE b.stores > 1) AS shared_cells
    FROM served_cells AS c
    JOIN stores_by_cell AS b ON c.business_date = b.business_date AND c.cell = b.cell
    GROUP BY c.business_date, c.store_id, c.currency
),

courier_trips AS (
    SELECT
        o.business_date,
        o.store_id,
        o.currency_or_none AS currency,
        avg(CAST(d.courier_minutes AS DECIMAL(28, 9))) AS courier_minutes_mean
    FROM deliveries AS d
    JOIN store_orders AS o ON d.order_id = o.order_id
    WHERE d.courier_minutes IS NOT NULL
    GROUP BY o.business_date, o.store_id, o.currency_or_none
)

SELECT
    d.business_date,
    d.store_id,
    d.currency,
    d.orders,
    d.completed,
    d.cancelled,
    d.late_orders,
    CAST(d.revenue AS DECIMAL(18, 2)) AS revenue,
    CAST(d.revenue / nullif(d.completed, 0) AS DECIMAL(18, 2)) AS average_order_value,
    CAST(d.cancelled AS DOUBLE) / CAST(d.orders AS DOUBLE) AS cancel_rate,
    CAST(d.late_orders AS DOUBLE) / CAST(nullif(d.timed_orders, 0) AS DOUBLE) AS late_rate,
    list_percentile(d.delivery_minutes, 0.5) AS delivery_minutes_p50,
    list_percentile(d.delivery_minutes, 0.9) AS delivery_minutes_p90,
    list_percentile(d.preparation_minutes, 0.5) AS preparation_minutes_p50,
    list_percentile(d.preparation_minutes, 0.9) AS preparation_minutes_p90,
    CAST(t.courier_minutes_mean AS DOUBLE) AS courier_minutes_mean,
    coalesce(r.cells, 0) AS cells,
    list_percentile(d.distances_m, 0.95) AS reach_p95_m,
    CAST(d.orders_inside_radius AS DOUBLE) / CAST(nullif(d.orders_with_radius, 0) AS DOUBLE) AS inside_radius_share,
    CAST(r.shared_cells AS DOUBLE) / CAST(nullif(r.cells, 0) AS DOUBLE) AS shared_cells_share,
    CAST(d.rating_stars AS DOUBLE) / CAST(nullif(d.ratings, 0) AS DOUBLE) AS rating_mean
FROM store_days AS d
LEFT JOIN store_reach AS r
    ON d.business_date = r.business_date AND d.store_id = r.store_id AND d.currency = r.currency
LEFT JOIN courier_trips AS t
    ON d.business_date = t.business_date AND d.store_id = t.store_id AND d.currency = t.currency
