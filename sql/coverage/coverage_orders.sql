WITH located_orders AS (
    SELECT
        *,
        coalesce(currency, 'XXX') AS currency_or_none,
        h3_cell(latitude, longitude, array_max(parameter_ints('resolutions', '7,8,9'))) AS finest_cell,
        -- Brings the orders of a day together, so that the cells are made day by day and memory holds one day's.
        row_number() OVER (PARTITION BY business_date) AS position_in_day
    FROM orders
    WHERE fulfilment = 'delivery' AND latitude IS NOT NULL AND longitude IS NOT NULL AND business_date IS NOT NULL
),

orders_by_resolution AS (
    SELECT *, unnest(parameter_ints('resolutions', '7,8,9')) AS resolution
    FROM located_orders
    WHERE finest_cell IS NOT NULL AND position_in_day > 0
),

-- Coarser cells are the finest one's parents, not computed from the point: H3's cells do not nest exactly, and so the counts
-- of a cell are the sums of its children's.
orders_by_cell AS (
    SELECT *, h3_parent(finest_cell, resolution) AS cell
    FROM orders_by_resolution
),

cells AS (
    SELECT
        business_date,
        resolution,
        cell,
        currency_or_none AS currency,
        count(*) AS orders,
        count(*) FILTER (WHERE is_completed) AS completed,
        count(*) FILTER (WHERE is_cancelled) AS cancelled,
        count(*) FILTER (WHERE is_late) AS late_orders,
        sum(revenue) AS revenue,
        array_agg(customer_id) FILTER (WHERE customer_id IS NOT NULL) AS customer_of_each_order,
        count(*) FILTER (WHERE is_new_customer) AS new_customers,
        -- Means are taken in decimals: their sums do not depend on the order of the rows, as those of doubles do.
        avg(CAST(delivery_minutes AS DECIMAL(28, 9))) AS delivery_minutes_mean,
        array_agg(delivery_minutes) FILTER (WHERE delivery_minutes IS NOT NULL) AS delivery_minutes,
        avg(CAST(store_distance_m AS DECIMAL(28, 9))) AS store_distance_mean_m,
        array_agg(store_id) FILTER (WHERE store_id IS NOT NULL) AS store_of_each_order
    FROM orders_by_cell
    GROUP BY business_date, resolution, cell, currency_or_none
)

SELECT
    business_date,
    CAST(resolution AS INT) AS resolution,
    cell,
    currency,
    orders,
    completed,
    cancelled,
    late_orders,
    CAST(revenue AS DECIMAL(18, 2)) AS revenue,
    coalesce(list_count_distinct(customer_of_each_order), 0) AS customers,
    new_customers,
    CAST(delivery_minutes_mean AS DOUBLE) AS delivery_minutes_mean,
    list_percentile(delivery_minutes, 0.5) AS delivery_minutes_p50,
    list_percentile(delivery_minutes, 0.9) AS delivery_minutes_p90,
    CAST(store_distance_mean_m AS DOUBLE) AS store_distance_mean_m,
    coalesce(list_count_distinct(store_of_each_order), 0) AS stores,
    list_mode(store_of_each_order) AS top_store_id,
    h3_center_lat(cell) AS cell_latitude,
    h3_center_lng(cell) AS cell_longitude,
    h3_boundary_wkt(cell) AS boundary_wkt
FROM cells
