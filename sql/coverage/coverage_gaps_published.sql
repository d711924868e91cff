-- What the published days of the cells add up to, where all of them show their numbers.
WITH shown_days AS (
    SELECT
        cell,
        bool_or(suppressed) AS has_suppressed,
        sum(orders) AS orders,
        sum(completed) AS completed,
        sum(cancelled) AS cancelled,
        sum(late_orders) AS late_orders
    FROM coverage_orders_published
    WHERE resolution = parameter_int('gap_resolution', 8)
        AND business_date >= CAST(as_of() - INTERVAL '28 days' AS DATE)
        AND business_date <= CAST(as_of() AS DATE)
    GROUP BY cell
),

gaps AS (
    SELECT
        g.*,
        parameter_int('k_anonymity', 5) <= 1 AS shows_all,
        -- Counts that are those of the days give nothing away that the days do not; others would, by what they have more.
        parameter_int('k_anonymity', 5) > 1 AND NOT coalesce(
            NOT d.has_suppressed
                AND g.attempts = d.orders
                AND g.completed = d.completed
                AND g.cancelled = d.cancelled
                AND g.late_orders = d.late_orders,
            false
        ) AS suppressed
    FROM coverage_gaps AS g
    LEFT JOIN shown_days AS d ON g.cell = d.cell
    WHERE parameter_int('k_anonymity', 5) <= 1 OR g.customers >= parameter_int('k_anonymity', 5)
)

SELECT
    cell,
    CASE WHEN NOT suppressed THEN attempts END AS attempts,
    CASE WHEN NOT suppressed THEN completed END AS completed,
    CASE WHEN NOT suppressed THEN cancelled END AS cancelled,
    CASE WHEN NOT suppressed THEN late_orders END AS late_orders,
    customers,
    CASE WHEN NOT suppressed THEN cancel_rate END AS cancel_rate,
    CASE WHEN NOT suppressed THEN late_rate END AS late_rate,
    is_out_of_reach,
    is_cancelled_often,
    is_late_often,
    nearest_store_id,
    nearest_store_m,
    stores_in_reach,
    currency,
    lost_revenue,
    -- The order of the counts would tell of those that are not shown.
    CASE
        WHEN shows_all THEN opportunity_rank
        ELSE CAST(rank() OVER (ORDER BY customers DESC, cell) AS BIGINT)
    END AS opportunity_rank,
    cell_latitude,
    cell_longitude,
    boundary_wkt,
    suppressed
FROM gaps
