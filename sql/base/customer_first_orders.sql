SELECT
    customer_id,
    first_value(order_id ORDER BY placed_at, order_id) AS order_id,
    min(placed_at) AS placed_at
FROM shop.orders
WHERE status IN ('delivered', 'picked_up') AND customer_id IS NOT NULL AND placed_at IS NOT NULL
GROUP BY customer_id
