WITH events AS (
    SELECT
        order_id,
        store_id,
        unnest(range(1, CAST(cardinality(status_history) AS BIGINT) + 1)) AS event_number,
        unnest(status_history) AS event
    FROM shop.orders
)

SELECT
    e.order_id,
    CAST(e.event_number AS INT) AS event_number,
    e.store_id,
    e.event['status'] AS status,
    e.event['at'] AS occurred_at,
    e.event['by'] AS actor,
    minutes_between(
        lag(e.event['at']) OVER (PARTITION BY e.order_id ORDER BY e.event_number), e.event['at']
    ) AS minutes_since_previous
FROM events AS e
