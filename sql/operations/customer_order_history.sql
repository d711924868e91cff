WITH paid AS (
    SELECT
        order_id,
        currency,
        CAST(coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0.00) AS DECIMAL(18, 2)) AS captured,
        first_value(method ORDER BY created_at, transaction_id) FILTER (WHERE kind = 'capture') AS payment_method,
        first_value(provider ORDER BY created_at, transaction_id) FILTER (WHERE kind = 'capture') AS payment_provider,
        CAST(coalesce(sum(fee), 0.0000) AS DECIMAL(18, 4)) AS payment_fees
    FROM payments
    WHERE status = 'succeeded' AND order_id IS NOT NULL
    GROUP BY order_id, currency
),

-- Of several deliveries of an order, the one that arrived last, or else was sent last.
delivered AS (
    SELECT
        order_id,
        first_value(courier_id ORDER BY delivered_at DESC NULLS LAST, assigned_at DESC NULLS LAST, delivery_id DESC) AS courier_id,
        first_value(courier_minutes ORDER BY delivered_at DESC NULLS LAST, assigned_at DESC NULLS LAST, delivery_id DESC)
            AS courier_minutes,
        first_value(distance_m ORDER BY delivered_at DESC NULLS LAST, assigned_at DESC NULLS LAST, delivery_id DESC)
            AS courier_distance_m,
        CAST(sum(cost) AS DECIMAL(18, 2)) AS delivery_cost,
        count(*) AS deliveries
    FROM deliveries
    WHERE order_id IS NOT NULL
    GROUP BY order_id
)

SELECT
    o.order_id,
    o.order_number,
    o.customer_id,
    CAST(
        row_number() OVER (
            PARTITION BY coalesce(o.customer_id, o.order_id) ORDER BY o.placed_at NULLS LAST, o.order_id
        ) AS BIGINT
    ) AS customer_order_number,
    c.tier AS customer_tier,
    c.created_at AS customer_since,
    o.store_id,
    s.name AS store_name,
    s.brand AS store_brand,
    s.city AS store_city,
    o.business_date,
    o.placed_at,
    o.channel,
    o.fulfilment,
    o.status,
    o.is_completed,
    o.is_cancelled,
    o.is_late,
    o.is_new_customer,
    o.item_count,
    o.total,
    o.discount,
    o.tip,
    o.refunded,
    o.revenue,
    o.currency,
    coalesce(p.captured, CAST(0.00 AS DECIMAL(18, 2))) AS captured,
    p.payment_method,
    p.payment_provider,
    p.payment_fees,
    o.delivery_minutes,
    o.preparation_minutes,
    d.courier_id,
    d.courier_minutes,
    d.courier_distance_m,
    d.delivery_cost,
    coalesce(d.deliveries, 0) AS deliveries,
    o.rating_stars
FROM orders AS o
LEFT JOIN customers AS c ON o.customer_id = c.customer_id
LEFT JOIN stores AS s ON o.store_id = s.store_id
LEFT JOIN paid AS p ON o.order_id = p.order_id AND o.currency = p.currency
LEFT JOIN delivered AS d ON o.order_id = d.order_id
