SELECT
    id AS delivery_id,
    order_id,
    store_id,
    courier_id,
    status,
    assigned_at,
    picked_up_at,
    delivered_at,
    promised_at,
    distance_m,
    dropoff_longitude,
    dropoff_latitude,
    CAST(cost AS DECIMAL(18, 2)) AS cost,
    minutes_between(picked_up_at, delivered_at) AS courier_minutes,
    updated_at
FROM platform.deliveries
