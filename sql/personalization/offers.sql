-- What was granted stays, whatever becomes of its customer; what is granted now comes to it.
WITH granted AS (
    SELECT * FROM previous.offers
),

-- A corrected birth date does not bring a second offer within a year. One that has not begun yet has greeted nobody.
greeted_lately AS (
    SELECT DISTINCT d.offer_code
    FROM birthdays_due AS d
    JOIN granted AS g ON d.customer_id = g.customer_id
    WHERE g.kind = 'birthday'
        AND g.valid_from <> d.valid_from
        AND g.valid_from <= d.today
        AND g.valid_from >= plus_days(d.today, -330)
)

SELECT offer_code, kind, customer_id, granted_at, valid_from, valid_to, rule, discount_kind, discount, currency
FROM granted

UNION ALL
SELECT
    d.offer_code,
    'birthday' AS kind,
    d.customer_id,
    as_of() AS granted_at,
    d.valid_from,
    d.valid_to,
    NULL AS rule,
    NULL AS discount_kind,
    NULL AS discount,
    NULL AS currency
FROM birthdays_due AS d
LEFT ANTI JOIN granted AS g ON d.offer_code = g.offer_code
LEFT ANTI JOIN greeted_lately AS l ON d.offer_code = l.offer_code

UNION ALL
SELECT
    d.offer_code,
    'discount' AS kind,
    d.customer_id,
    as_of() AS granted_at,
    d.valid_from,
    d.valid_to,
    d.rule,
    d.discount_kind,
    d.discount,
    d.currency
FROM discounts_due AS d
LEFT ANTI JOIN granted AS g ON d.offer_code = g.offer_code
WHERE NOT d.is_held_out
