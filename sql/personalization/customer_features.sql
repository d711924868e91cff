WITH completed_orders AS (
    SELECT
        *,
        placed_at > as_of() - INTERVAL '365 days' AS is_in_year,
        placed_at > as_of() - INTERVAL '90 days' AS is_in_quarter
    FROM orders
    WHERE is_completed AND customer_id IS NOT NULL AND placed_at <= as_of()
),

timed_orders AS (
    SELECT o.*, local_hour(o.placed_at, coalesce(known_time_zone(s.time_zone), 'UTC')) AS local_hour
    FROM completed_orders AS o
    LEFT JOIN stores AS s ON o.store_id = s.store_id
),

-- One pass for all that needs no further grouping: the engine computes a common table expression for each place that reads it.
habits AS (
    SELECT
        customer_id,
        min(placed_at) AS first_placed_at,
        max(placed_at) AS last_placed_at,
        count(*) AS orders,
        count(*) FILTER (WHERE is_in_year) AS orders_365_days,
        count(*) FILTER (WHERE is_in_quarter) AS orders_90_days,
        list_mode(array_agg(store_id) FILTER (WHERE is_in_year AND store_id IS NOT NULL)) AS favourite_store_id,
        list_mode(array_agg(
            CASE WHEN local_hour < 6 THEN 5 WHEN local_hour < 11 THEN 1 WHEN local_hour < 15 THEN 2 WHEN local_hour < 18 THEN 3 ELSE 4 END
        ) FILTER (WHERE is_in_year)) AS favourite_daypart,
        list_mode(array_agg(CAST(date_part('isodow', business_date) AS INT)) FILTER (WHERE is_in_year AND business_date IS NOT NULL))
            AS favourite_weekday,
        sum(rating_stars) FILTER (WHERE is_in_year) AS rating_stars,
        count(rating_stars) FILTER (WHERE is_in_year) AS ratings
    FROM timed_orders
    GROUP BY customer_id
),

gaps AS (
    SELECT customer_id, list_percentile(array_agg(gap_minutes), 0.5) / CAST(1440 AS DOUBLE) AS gap_days_median
    FROM (
        SELECT
            customer_id,
            minutes_between(lag(placed_at) OVER (PARTITION BY customer_id ORDER BY placed_at, order_id), placed_at)
                AS gap_minutes
        FROM completed_orders
    )
    WHERE gap_minutes IS NOT NULL
    GROUP BY customer_id
),

favourite_channels AS (
    SELECT customer_id, first_value(channel ORDER BY orders DESC, last_placed_at DESC, channel) AS channel
    FROM (
        SELECT customer_id, channel, count(*) AS orders, max(placed_at) AS last_placed_at
        FROM completed_orders
        WHERE is_in_year AND channel IS NOT NULL
        GROUP BY customer_id, channel
    )
    GROUP BY customer_id
),

-- Amounts of different currencies are never added: a customer's money is told in the currency of most of the orders.
spent AS (
    SELECT
        customer_id,
        coalesce(currency, 'XXX') AS currency,
        count(*) AS orders,
        max(placed_at) AS last_placed_at,
        sum(revenue) AS revenue_365_days,
        coalesce(sum(revenue) FILTER (WHERE is_in_quarter), 0.00) AS revenue_90_days,
        sum(subtotal) AS subtotal,
        sum(discount) AS discount,
        sum(total) AS total,
        sum(refunded) AS refunded
    FROM completed_orders
    WHERE is_in_year
    GROUP BY customer_id, coalesce(currency, 'XXX')
),

money AS (
    SELECT *
    FROM (
        SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY orders DESC, last_placed_at DESC, currency) AS place
        FROM spent
    )
    WHERE place = 1
),

measured AS (
    SELECT
        c.customer_id,
        b.first_placed_at,
        b.last_placed_at,
        CAST(floor(minutes_between(b.last_placed_at, as_of()) / CAST(1440 AS DOUBLE)) AS BIGINT) AS recency_days,
        b.orders,
        b.orders_90_days,
        b.orders_365_days,
        b.favourite_store_id,
        b.favourite_daypart,
        b.favourite_weekday,
        b.rating_stars,
        b.ratings,
        m.customer_id IS NOT NULL AS is_compared,
        m.currency,
        m.orders AS orders_in_currency,
        m.revenue_90_days,
        m.revenue_365_days,
        m.subtotal,
        m.discount,
        m.total,
        m.refunded,
        c.tier,
        c.points_balance
    FROM customers AS c
    LEFT JOIN habits AS b ON c.customer_id = b.customer_id
    LEFT JOIN money AS m ON c.customer_id = m.customer_id
    WHERE c.deleted_at IS NULL
),

-- Who ordered within the year is compared with the others who did. The worst fifth has 1, the best 5. Equal customers have equal
-- scores: the lowest of those that they would take.
scored AS (
    SELECT
        *,
        CASE WHEN is_compared THEN
            1 + (rank() OVER (PARTITION BY is_compared ORDER BY last_placed_at) - 1) * 5 / count(*) OVER (PARTITION BY is_compared)
        END AS recency_score,
        CASE WHEN is_compared THEN
            1 + (rank() OVER (PARTITION BY is_compared ORDER BY orders_365_days) - 1) * 5 / count(*) OVER (PARTITION BY is_compared)
        END AS frequency_score,
        -- Where no total is known there is no money to compare.
        CASE WHEN revenue_365_days IS NOT NULL THEN
            1 + (rank() OVER (PARTITION BY currency, revenue_365_days IS NULL ORDER BY revenue_365_days) - 1) * 5
                / count(*) OVER (PARTITION BY currency, revenue_365_days IS NULL)
        END AS monetary_score
    FROM measured
)

SELECT
    c.customer_id,
    CASE
        WHEN c.orders IS NULL THEN 'never'
        WHEN c.first_placed_at >= as_of() - INTERVAL '30 days' THEN 'new'
        WHEN c.last_placed_at < as_of() - INTERVAL '90 days' THEN 'lapsed'
        WHEN minutes_between(c.last_placed_at, as_of()) / CAST(1440 AS DOUBLE) > 2 * g.gap_days_median THEN 'at_risk'
        ELSE 'active'
    END AS lifecycle_stage,
    c.first_placed_at,
    c.last_placed_at,
    c.recency_days,
    coalesce(c.orders, 0) AS orders,
    coalesce(c.orders_90_days, 0) AS orders_90_days,
    coalesce(c.orders_365_days, 0) AS orders_365_days,
    c.currency,
    CAST(c.revenue_90_days AS DECIMAL(18, 2)) AS revenue_90_days,
    CAST(c.revenue_365_days AS DECIMAL(18, 2)) AS revenue_365_days,
    CAST(c.revenue_365_days / c.orders_in_currency AS DECIMAL(18, 2)) AS average_basket,
    CAST(c.recency_score AS INT) AS recency_score,
    CAST(c.frequency_score AS INT) AS frequency_score,
    CAST(c.monetary_score AS INT) AS monetary_score,
    g.gap_days_median,
    c.favourite_store_id,
    f.channel AS favourite_channel,
    CASE c.favourite_daypart
        WHEN 1 THEN 'morning' WHEN 2 THEN 'lunch' WHEN 3 THEN 'afternoon' WHEN 4 THEN 'evening' WHEN 5 THEN 'night'
    END AS favourite_daypart,
    c.favourite_weekday,
    CAST(c.discount AS DOUBLE) / CAST(nullif(c.subtotal, 0.00) AS DOUBLE) AS discount_share,
    CAST(c.refunded AS DOUBLE) / CAST(nullif(c.total, 0.00) AS DOUBLE) AS refund_share,
    CAST(c.rating_stars AS DOUBLE) / CAST(nullif(c.ratings, 0) AS DOUBLE) AS rating_mean,
    c.tier AS loyalty_tier,
    c.points_balance AS loyalty_points
FROM scored AS c
LEFT JOIN gaps AS g ON c.customer_id = g.customer_id
LEFT JOIN favourite_channels AS f ON c.customer_id = f.customer_id
