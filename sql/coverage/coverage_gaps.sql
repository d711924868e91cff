-- Trailing days of attempted deliveries, cancelled ones too: demand does not stop where service fails.
WITH attempts AS (
    SELECT
        order_id,
        customer_id,
        h3_cell(latitude, longitude, parameter_int('gap_resolution', 8)) AS cell,
        coalesce(currency, 'XXX') AS currency,
        is_completed,
        is_cancelled,
        is_late,
        delivered_at IS NOT NULL AND promised_at IS NOT NULL AND is_completed AS is_timed,
        total
    FROM orders
    WHERE fulfilment = 'delivery'
        AND latitude IS NOT NULL
        AND longitude IS NOT NULL
        AND placed_at <= as_of()
        AND placed_at > as_of() - INTERVAL '28 days'
),

demand AS (
    SELECT
        cell,
        count(*) AS attempts,
        count(*) FILTER (WHERE is_completed) AS completed,
        count(*) FILTER (WHERE is_cancelled) AS cancelled,
        count(*) FILTER (WHERE is_late) AS late_orders,
        count(*) FILTER (WHERE is_timed) AS timed_orders,
        count(DISTINCT customer_id) AS customers
    FROM attempts
    WHERE cell IS NOT NULL
    GROUP BY cell
),

-- What cancelled orders would have brought, in the currency that most of them have.
lost AS (
    SELECT
        cell,
        first_value(currency ORDER BY orders DESC, currency) AS currency,
        first_value(lost_revenue ORDER BY orders DESC, currency) AS lost_revenue
    FROM (
        SELECT
            cell,
            currency,
            count(*) AS orders,
            CAST(coalesce(sum(total) FILTER (WHERE is_cancelled), 0.00) AS DECIMAL(18, 2)) AS lost_revenue
        FROM attempts
        WHERE cell IS NOT NULL
        GROUP BY cell, currency
    )
    GROUP BY cell
),

open_stores AS (
    SELECT store_id, latitude, longitude, delivery_radius_m
    FROM stores
    WHERE latitude IS NOT NULL
        AND longitude IS NOT NULL
        AND (opened_on IS NULL OR opened_on <= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')))
        AND (closed_on IS NULL OR closed_on >= local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')))
),

distances AS (
    SELECT
        d.cell,
        s.store_id,
        s.delivery_radius_m,
        distance_m(s.latitude, s.longitude, h3_center_lat(d.cell), h3_center_lng(d.cell)) AS distance_m
    FROM demand AS d
    CROSS JOIN open_stores AS s
),

nearest AS (
    SELECT
        cell,
        first_value(store_id ORDER BY distance_m, store_id) AS store_id,
        min(distance_m) AS distance_m,
        count(*) FILTER (WHERE distance_m <= delivery_radius_m) AS stores_in_reach
    FROM distances
    WHERE distance_m IS NOT NULL
    GROUP BY cell
),

rated AS (
    SELECT
        d.*,
        CAST(d.cancelled AS DOUBLE) / CAST(d.attempts AS DOUBLE) AS cancel_rate,
        CAST(d.late_orders AS DOUBLE) / CAST(nullif(d.timed_orders, 0) AS DOUBLE) AS late_rate,
        n.store_id AS nearest_store_id,
        n.distance_m AS nearest_store_m,
        coalesce(n.stores_in_reach, 0) AS stores_in_reach,
        l.currency,
        l.lost_revenue
    FROM demand AS d
    JOIN lost AS l ON d.cell = l.cell
    LEFT JOIN nearest AS n ON d.cell = n.cell
),

gaps AS (
    SELECT
        *,
        stores_in_reach = 0 AS is_out_of_reach,
        -- Whole numbers: 7 of 25 are not more than 28 %, which as doubles they are.
        cancelled * 100 > attempts * parameter_int('gap_cancel_percent', 15) AS is_cancelled_often,
        late_orders * 100 > timed_orders * parameter_int('gap_late_percent', 30) AS is_late_often
    FROM rated
)

SELECT
    cell,
    attempts,
    completed,
    cancelled,
    late_orders,
    customers,
    cancel_rate,
    late_rate,
    is_out_of_reach,
    is_cancelled_often,
    is_late_often,
    nearest_store_id,
    nearest_store_m,
    stores_in_reach,
    currency,
    lost_revenue,
    -- Amounts of different currencies do not compare, so what ranks is how many orders were lost or late.
    CAST(rank() OVER (ORDER BY cancelled + late_orders DESC, attempts DESC, cell) AS BIGINT) AS opportunity_rank,
    h3_center_lat(cell) AS cell_latitude,
    h3_center_lng(cell) AS cell_longitude,
    h3_boundary_wkt(cell) AS boundary_wkt
FROM gaps
WHERE is_out_of_reach OR is_cancelled_often OR is_late_often
