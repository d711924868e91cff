WITH reachable_customers AS (
    SELECT customer_id, local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')) AS today
    FROM customers
    WHERE marketing_opt_in AND deleted_at IS NULL
),

-- What was decided stays until it ends: the same discount on the same days, and the same customers held out.
standing AS (
    SELECT p.*
    FROM previous.discounts_due AS p
    JOIN reachable_customers AS c ON p.customer_id = c.customer_id
    WHERE p.valid_to >= c.today
),

-- Discounts that run take places of their rule's caps.
places_taken AS (
    SELECT rule, count(*) AS customers FROM standing WHERE NOT is_held_out GROUP BY rule
),

costs_taken AS (
    SELECT rule, currency, sum(expected_cost) AS cost FROM standing GROUP BY rule, currency
),

discounts_running AS (
    SELECT customer_id, max(valid_to) AS valid_to
    FROM previous.offers
    WHERE kind = 'discount'
    GROUP BY customer_id
),

last_discounts AS (
    SELECT customer_id, rule, max(valid_from) AS valid_from
    FROM previous.offers
    WHERE kind = 'discount'
    GROUP BY customer_id, rule
),

birthday_offers AS (
    SELECT customer_id, valid_from, valid_to FROM previous.offers WHERE kind = 'birthday'
    UNION ALL
    SELECT customer_id, valid_from, valid_to FROM birthdays_due
),

birthdays_ahead AS (
    SELECT b.customer_id, min(b.valid_from) AS valid_from
    FROM birthday_offers AS b
    JOIN reachable_customers AS c ON b.customer_id = c.customer_id
    WHERE b.valid_to >= c.today
    GROUP BY b.customer_id
),

-- Everybody whom a rule is for, and what keeps the rule from giving them anything.
matching AS (
    SELECT
        m.customer_id,
        m.rule,
        m.reason,
        r.priority,
        r.discount_kind,
        r.discount,
        r.max_customers - coalesce(p.customers, 0) AS customers_left,
        CAST(r.max_expected_cost - coalesce(k.cost, 0.00) AS DECIMAL(18, 2)) AS cost_left,
        r.hold_out_below,
        r.valid_days,
        f.currency,
        f.average_basket,
        f.orders_365_days,
        -- A customer's frequency is that of a year, or of the time since the first order, but not of less than 30 days.
        greatest(30, least(365, CAST(minutes_between(f.first_placed_at, as_of()) / CAST(1440 AS DOUBLE) AS BIGINT))) AS known_days,
        c.today AS valid_from,
        plus_days(c.today, r.valid_days) AS valid_to,
        CASE
            WHEN c.customer_id IS NULL THEN 'not_reachable'
            WHEN f.average_basket IS NULL OR f.average_basket <= 0.00 OR f.currency = 'XXX' THEN 'no_basket'
            WHEN r.rule IS NULL THEN 'other_currency'
            WHEN s.customer_id IS NOT NULL OR g.valid_to >= c.today THEN 'has_discount'
            WHEN b.valid_from <= plus_days(c.today, r.valid_days) THEN 'has_birthday'
            WHEN l.valid_from >= plus_days(c.today, -r.again_after_days) THEN 'had_lately'
        END AS left_out
    FROM segments.matches AS m
    JOIN customer_features AS f ON m.customer_id = f.customer_id
    LEFT JOIN segments.rules AS r ON m.rule = r.rule AND (r.currency IS NULL OR r.currency = f.currency)
    LEFT JOIN reachable_customers AS c ON m.customer_id = c.customer_id
    LEFT JOIN places_taken AS p ON m.rule = p.rule
    LEFT JOIN costs_taken AS k ON m.rule = k.rule AND f.currency = k.currency
    LEFT JOIN standing AS s ON m.customer_id = s.customer_id
    LEFT JOIN discounts_running AS g ON m.customer_id = g.customer_id
    LEFT JOIN birthdays_ahead AS b ON m.customer_id = b.customer_id
    LEFT JOIN last_discounts AS l ON m.customer_id = l.customer_id AND m.rule = l.rule
),

priced AS (
    SELECT
        *,
        CASE discount_kind
            WHEN 'percent' THEN CAST(average_basket * discount / 100 AS DECIMAL(18, 4))
            ELSE CAST(least(discount, average_basket) AS DECIMAL(18, 4))
        END AS discount_by_order,
        orders_365_days * valid_days AS order_days,
        substr(keyed_hash('hold-out ' || rule || ' ' || customer_id), 1, 8) < hold_out_below AS is_held_out
    FROM matching
    WHERE left_out IS NULL
),

expected AS (
    SELECT
        *,
        CAST(discount_by_order * order_days / known_days AS DECIMAL(18, 2)) AS expected_cost,
        CAST((average_basket - discount_by_order) * order_days / known_days AS DECIMAL(18, 2)) AS expected_return
    FROM priced
),

-- Amounts of different currencies are not compared: each currency's best come first, in proportion to how many it has.
placed AS (
    SELECT
        *,
        CAST(row_number() OVER (PARTITION BY rule, currency ORDER BY expected_return DESC, customer_id) AS DOUBLE)
            / CAST(count(*) OVER (PARTITION BY rule, currency) AS DOUBLE) AS place
    FROM expected
),

decided AS (
    SELECT
        *,
        allotment(customer_id, rule, currency, expected_cost, is_held_out, customers_left, cost_left)
            OVER (ORDER BY priority DESC, rule, place, currency, customer_id) AS outcome
    FROM placed
)

SELECT
    customer_id,
    rule,
    discount_kind,
    discount,
    currency,
    offer_code,
    valid_from,
    valid_to,
    is_held_out,
    expected_cost,
    expected_return,
    reason
FROM standing

UNION ALL
SELECT
    customer_id,
    rule,
    discount_kind,
    discount,
    currency,
    CASE
        WHEN NOT is_held_out
            THEN 'D' || upper(substr(keyed_hash('discount ' || rule || ' ' || customer_id || ' ' || CAST(valid_from AS VARCHAR)), 1, 15))
    END AS offer_code,
    valid_from,
    valid_to,
    is_held_out,
    CASE WHEN is_held_out THEN 0.00 ELSE expected_cost END AS expected_cost,
    CASE WHEN is_held_out THEN 0.00 ELSE expected_return END AS expected_return,
    reason
FROM decided
WHERE outcome IN ('granted', 'held_out')
