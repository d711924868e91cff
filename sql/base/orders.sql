WITH refunds AS (
    SELECT order_id, currency, sum(amount) AS amount
    FROM platform.transactions
    WHERE kind = 'refund' AND status = 'succeeded'
    GROUP BY order_id, currency
),

typed_orders AS (
    SELECT
        o.*,
        coalesce(o.status IN ('delivered', 'picked_up'), false) AS is_completed,
        coalesce(o.status IN ('cancelled', 'failed'), false) AS is_cancelled,
        o.totals['total'] AS total,
        coalesce(o.totals['tip'], 0.00) AS tip,
        o.totals['currency'] AS currency,
        o.delivery['latitude'] AS latitude,
        o.delivery['longitude'] AS longitude
    FROM shop.orders AS o
)

SELECT
    o.order_id,
    o.order_number,
    o.schema_version,
    o.customer_id,
    o.store_id,
    o.channel,
    o.fulfilment,
    o.status,
    o.is_completed,
    o.is_cancelled,
    coalesce(o.is_completed AND o.delivered_at > o.promised_at, false) AS is_late,
    f.order_id IS NOT NULL AS is_new_customer,
    o.placed_at,
    o.promised_at,
    o.delivered_at,
    o.updated_at,
    business_date(
        o.placed_at,
        coalesce(known_time_zone(s.time_zone), 'UTC'),
        parameter_text('business_day_starts_at', '04:00')
    ) AS business_date,
    coalesce(list_sum(o.items, 'quantity'), 0) AS item_count,
    o.totals['subtotal'] AS subtotal,
    CAST(coalesce(o.totals['discount'], 0.00) AS DECIMAL(18, 2)) AS discount,
    CAST(coalesce(o.totals['delivery_fee'], 0.00) AS DECIMAL(18, 2)) AS delivery_fee,
    CAST(coalesce(o.totals['service_fee'], 0.00) AS DECIMAL(18, 2)) AS service_fee,
    CAST(o.tip AS DECIMAL(18, 2)) AS tip,
    CAST(coalesce(o.totals['tax'], 0.00) AS DECIMAL(18, 2)) AS tax,
    o.total,
    CAST(coalesce(r.amount, 0.00) AS DECIMAL(18, 2)) AS refunded,
    CAST(
        CASE WHEN o.is_completed THEN o.total - o.tip - coalesce(r.amount, 0.00) ELSE 0.00 END AS DECIMAL(18, 2)
    ) AS revenue,
    o.currency,
    CASE WHEN o.is_completed THEN minutes_between(o.placed_at, o.delivered_at) END AS delivery_minutes,
    minutes_between(
        list_find(o.status_history, 'status', 'accepted', 'at'),
        coalesce(
            list_find(o.status_history, 'status', 'on_the_way', 'at'),
            list_find(o.status_history, 'status', 'picked_up', 'at')
        )
    ) AS preparation_minutes,
    o.delivery['address']['city'] AS city,
    o.delivery['address']['postcode'] AS postcode,
    o.delivery['address']['country'] AS country,
    o.delivery['zone_id'] AS zone_id,
    o.latitude,
    o.longitude,
    distance_m(s.lat, s.lng, o.latitude, o.longitude) AS store_distance_m,
    o.rating['stars'] AS rating_stars,
    CAST(coalesce(cardinality(o.promotions), 0) AS INT) AS promotion_count
FROM typed_orders AS o
LEFT JOIN platform.stores AS s ON o.store_id = s.id
LEFT JOIN refunds AS r ON o.order_id = r.order_id AND o.currency = r.currency
LEFT JOIN customer_first_orders AS f ON o.order_id = f.order_id
