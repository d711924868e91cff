WITH reachable_customers AS (
    SELECT
        customer_id,
        birth_date,
        local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')) AS today
    FROM customers
    WHERE marketing_opt_in AND deleted_at IS NULL AND birth_date IS NOT NULL
),

birthdays AS (
    SELECT
        customer_id,
        birth_date,
        today,
        next_birthday(birth_date, today, parameter_text('leap_day', 'feb28')) AS birthday_on
    FROM reachable_customers
),

birthdays_ahead AS (
    SELECT
        customer_id,
        today,
        birthday_on,
        CAST(date_part('year', birthday_on) - date_part('year', birth_date) AS INT) AS age_turned
    FROM birthdays
    WHERE birthday_on <= plus_days(today, parameter_int('horizon_days', 7))
),

recent_orders AS (
    SELECT o.customer_id, o.order_id, o.store_id, o.placed_at
    FROM orders AS o
    WHERE o.is_completed
        AND o.placed_at > as_of() - INTERVAL '365 days'
        AND o.placed_at <= as_of()
        AND o.customer_id IN (SELECT customer_id FROM birthdays_ahead)
),

orders_by_store AS (
    SELECT customer_id, store_id, count(*) AS orders, max(placed_at) AS last_placed_at
    FROM recent_orders
    GROUP BY customer_id, store_id
),

favourite_stores AS (
    SELECT
        customer_id,
        first_value(store_id ORDER BY orders DESC, last_placed_at DESC, store_id) FILTER (WHERE store_id IS NOT NULL)
            AS store_id
    FROM orders_by_store
    GROUP BY customer_id
),

quantities_by_category AS (
    SELECT o.customer_id, i.category, coalesce(sum(i.quantity), 0) AS quantity
    FROM recent_orders AS o
    JOIN order_items AS i ON o.order_id = i.order_id
    WHERE i.category IS NOT NULL
    GROUP BY o.customer_id, i.category
),

favourite_categories AS (
    SELECT customer_id, first_value(category ORDER BY quantity DESC, category) AS category
    FROM quantities_by_category
    GROUP BY customer_id
)

SELECT
    b.customer_id,
    b.birthday_on,
    b.age_turned,
    b.today,
    'B' || upper(substr(keyed_hash('birthday ' || b.customer_id || ' ' || CAST(b.birthday_on AS VARCHAR)), 1, 15)) AS offer_code,
    b.birthday_on AS valid_from,
    plus_days(b.birthday_on, parameter_int('offer_valid_days', 14)) AS valid_to,
    s.store_id AS favourite_store_id,
    c.category AS favourite_category
FROM birthdays_ahead AS b
JOIN favourite_stores AS s ON b.customer_id = s.customer_id
LEFT JOIN favourite_categories AS c ON b.customer_id = c.customer_id
WHERE b.age_turned >= parameter_int('minimum_age', 16)
