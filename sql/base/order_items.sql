WITH lines AS (
    SELECT
        order_id,
        placed_at,
        store_id,
        totals['currency'] AS currency,
        unnest(range(1, CAST(cardinality(items) AS BIGINT) + 1)) AS line_number,
        unnest(items) AS item
    FROM shop.orders
),

typed_lines AS (
    SELECT
        order_id,
        placed_at,
        store_id,
        currency,
        CAST(line_number AS INT) AS line_number,
        item['sku'] AS sku,
        item['name'] AS name,
        item['category'] AS category,
        item['quantity'] AS quantity,
        item['unit_price'] AS unit_price,
        CAST(coalesce(list_sum(item['modifiers'], 'price'), 0.00) AS DECIMAL(18, 2)) AS modifiers_amount,
        CAST(coalesce(item['discount'], 0.00) AS DECIMAL(18, 2)) AS discount
    FROM lines
)

SELECT
    l.order_id,
    l.line_number,
    business_date(
        l.placed_at,
        coalesce(known_time_zone(s.time_zone), 'UTC'),
        parameter_text('business_day_starts_at', '04:00')
    ) AS business_date,
    l.store_id,
    l.sku,
    l.name,
    l.category,
    l.quantity,
    l.unit_price,
    l.modifiers_amount,
    l.discount,
    CAST(l.quantity * (l.unit_price + l.modifiers_amount) - l.discount AS DECIMAL(18, 2)) AS line_total,
    l.currency
FROM typed_lines AS l
LEFT JOIN platform.stores AS s ON l.store_id = s.id
