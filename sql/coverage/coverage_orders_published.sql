-- Cells of the map by how fine they are; the coarsest have their day and currency as a whole for a parent.
WITH levels AS (
    SELECT resolution, lag(resolution) OVER (ORDER BY resolution) AS coarser
    FROM (SELECT DISTINCT unnest(parameter_ints('resolutions', '7,8,9')) AS resolution)
),

nested AS (
    SELECT c.business_date, c.currency, l.resolution, l.coarser, c.cell, h3_parent(c.cell, l.coarser) AS parent, c.orders, c.customers
    FROM coverage_orders AS c
    JOIN levels AS l ON c.resolution = l.resolution
),

-- As many orders as cells of the finest resolution: each of them has one.
finest AS (
    SELECT n.business_date, n.currency, h3_parent(n.cell, l.resolution) AS cell, count(*) AS cells
    FROM nested AS n
    JOIN levels AS l ON l.resolution < n.resolution
    WHERE n.resolution = array_max(parameter_ints('resolutions', '7,8,9'))
    GROUP BY n.business_date, n.currency, h3_parent(n.cell, l.resolution)
),

cells AS (
    SELECT
        n.*,
        parameter_int('k_anonymity', 5) > 1
            AND (n.customers < parameter_int('k_anonymity', 5) OR coalesce(n.orders = f.cells, false)) AS is_small
    FROM nested AS n
    LEFT JOIN finest AS f ON n.business_date = f.business_date AND n.currency = f.currency AND n.cell = f.cell
),

-- Totals of a day and currency stand in other marts too: if no cell can be shown, they would be what few cells have.
shown_days AS (
    SELECT business_date, currency
    FROM cells
    WHERE coarser IS NULL
    GROUP BY business_date, currency
    HAVING bool_or(NOT is_small)
),

families AS (
    SELECT
        business_date,
        currency,
        resolution,
        cell,
        is_small,
        max(CASE WHEN is_small THEN 1 ELSE 0 END) OVER (PARTITION BY business_date, currency, resolution, parent) AS small_siblings,
        row_number() OVER (PARTITION BY business_date, currency, resolution, parent ORDER BY is_small, customers, cell) AS position
    FROM cells
),

-- What a parent less its visible children gives is the sum of the hidden ones: so that it says nothing of a small cell, the smallest of
-- those that could be shown is hidden with it. That one has k_anonymity customers of its own.
hidden AS (
    SELECT business_date, currency, cell
    FROM families
    WHERE is_small OR (small_siblings = 1 AND position = 1)
),

ancestors AS (
    SELECT c.business_date, c.currency, c.cell, h3_parent(c.cell, l.resolution) AS ancestor
    FROM cells AS c
    JOIN levels AS l ON l.resolution <= c.resolution
),

-- Below a hidden cell all are hidden.
suppressed AS (
    SELECT DISTINCT a.business_date, a.currency, a.cell
    FROM ancestors AS a
    JOIN hidden AS h ON a.business_date = h.business_date AND a.currency = h.currency AND a.ancestor = h.cell
)

SELECT
    c.business_date,
    c.resolution,
    c.cell,
    c.currency,
    CASE WHEN s.cell IS NULL THEN c.orders END AS orders,
    CASE WHEN s.cell IS NULL THEN c.completed END AS completed,
    CASE WHEN s.cell IS NULL THEN c.cancelled END AS cancelled,
    CASE WHEN s.cell IS NULL THEN c.late_orders END AS late_orders,
    CASE WHEN s.cell IS NULL THEN c.revenue END AS revenue,
    CASE WHEN s.cell IS NULL THEN c.customers END AS customers,
    CASE WHEN s.cell IS NULL THEN c.new_customers END AS new_customers,
    CASE WHEN s.cell IS NULL THEN c.delivery_minutes_mean END AS delivery_minutes_mean,
    CASE WHEN s.cell IS NULL THEN c.delivery_minutes_p50 END AS delivery_minutes_p50,
    CASE WHEN s.cell IS NULL THEN c.delivery_minutes_p90 END AS delivery_minutes_p90,
    CASE WHEN s.cell IS NULL THEN c.store_distance_mean_m END AS store_distance_mean_m,
    CASE WHEN s.cell IS NULL THEN c.stores END AS stores,
    CASE WHEN s.cell IS NULL THEN c.top_store_id END AS top_store_id,
    c.cell_latitude,
    c.cell_longitude,
    c.boundary_wkt,
    s.cell IS NOT NULL AS suppressed
FROM coverage_orders AS c
JOIN levels AS l ON c.resolution = l.resolution
LEFT JOIN suppressed AS s ON c.business_date = s.business_date AND c.currency = s.currency AND c.cell = s.cell
WHERE parameter_int('k_anonymity', 5) <= 1
    OR EXISTS (SELECT 1 FROM shown_days AS d WHERE d.business_date = c.business_date AND d.currency = c.currency)
