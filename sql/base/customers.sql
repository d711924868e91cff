SELECT
    c.id AS customer_id,
    c.email,
    c.phone,
    c.first_name,
    c.last_name,
    c.birth_date,
    c.locale,
    c.time_zone,
    c.marketing_opt_in,
    list_to_json(c.tags) AS tags,
    c.created_at,
    c.updated_at,
    c.deleted_at,
    a.tier,
    a.points_balance,
    a.joined_on
FROM platform.customers AS c
LEFT JOIN platform.loyalty_accounts AS a ON c.id = a.customer_id
