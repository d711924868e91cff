-- While a birthday's offer runs, it is the only one.
WITH greeted AS (
    SELECT DISTINCT o.customer_id
    FROM offers AS o
    JOIN customers AS c ON o.customer_id = c.customer_id
    WHERE o.kind = 'birthday'
        AND local_date(as_of(), coalesce(known_time_zone(c.time_zone), 'UTC')) BETWEEN o.valid_from AND o.valid_to
)

SELECT
    d.customer_id,
    d.rule,
    d.discount_kind,
    d.discount,
    d.currency,
    d.offer_code,
    d.valid_from,
    d.valid_to,
    d.is_held_out,
    d.expected_cost,
    d.expected_return,
    d.reason
FROM discounts_due AS d
LEFT JOIN offers AS o ON d.offer_code = o.offer_code
LEFT ANTI JOIN greeted AS g ON d.customer_id = g.customer_id
WHERE d.is_held_out OR o.offer_code IS NOT NULL
