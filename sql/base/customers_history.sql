-- Each state of a customer that a run saw. A change counts from when the source's record changed, where that can be, else from the run that saw it.
WITH former AS (
    SELECT * FROM previous.customers_history
),

known AS (
    SELECT * FROM former WHERE valid_to IS NULL
),

ended AS (
    SELECT customer_id, max(valid_to) AS ended_at FROM former WHERE valid_to IS NOT NULL GROUP BY customer_id
),

compared AS (
    SELECT
        c.*,
        k.valid_from AS known_from,
        e.ended_at,
        (k.email IS DISTINCT FROM c.email)
        OR (k.phone IS DISTINCT FROM c.phone)
        OR (k.first_name IS DISTINCT FROM c.first_name)
        OR (k.last_name IS DISTINCT FROM c.last_name)
        OR (k.birth_date IS DISTINCT FROM c.birth_date)
        OR (k.locale IS DISTINCT FROM c.locale)
        OR (k.time_zone IS DISTINCT FROM c.time_zone)
        OR (k.marketing_opt_in IS DISTINCT FROM c.marketing_opt_in)
        OR (k.tags IS DISTINCT FROM c.tags)
        OR (k.deleted_at IS DISTINCT FROM c.deleted_at) AS has_changed,
        (k.tier IS DISTINCT FROM c.tier) AS has_other_tier,
        a.updated_at AS account_updated_at
    FROM customers AS c
    LEFT JOIN known AS k ON c.customer_id = k.customer_id
    LEFT JOIN ended AS e ON c.customer_id = e.customer_id
    LEFT JOIN platform.loyalty_accounts AS a ON c.customer_id = a.customer_id
),

-- When the record changed that the change is in.
dated AS (
    SELECT *, CASE WHEN has_changed THEN updated_at ELSE account_updated_at END AS changed_at
    FROM compared
),

present AS (
    SELECT
        *,
        CASE
            -- Who was away and came back; who is new, which says nothing of what was before the first run.
            WHEN known_from IS NULL AND ended_at IS NOT NULL THEN greatest(as_of(), ended_at)
            WHEN known_from IS NULL AND created_at <= as_of() THEN created_at
            WHEN known_from IS NULL THEN as_of()
            WHEN NOT has_changed AND NOT has_other_tier THEN known_from
            WHEN changed_at > known_from AND changed_at <= as_of() THEN changed_at
            ELSE greatest(as_of(), known_from)
        END AS valid_from
    FROM dated
),

-- A state that would have held for no time is none.
past AS (
    SELECT
        k.*,
        coalesce(p.valid_from, as_of()) AS until
    FROM known AS k
    LEFT JOIN present AS p ON k.customer_id = p.customer_id
)

SELECT
    customer_id, valid_from, valid_to, email, phone, first_name, last_name, birth_date, locale, time_zone, marketing_opt_in, tags, deleted_at, tier
FROM former
WHERE valid_to IS NOT NULL

UNION ALL
SELECT
    customer_id, valid_from, until AS valid_to, email, phone, first_name, last_name, birth_date, locale, time_zone, marketing_opt_in, tags, deleted_at,
    tier
FROM past
WHERE until > valid_from

UNION ALL
SELECT
    customer_id, valid_from, NULL AS valid_to, email, phone, first_name, last_name, birth_date, locale, time_zone, marketing_opt_in, tags, deleted_at, tier
FROM present
