SELECT
    id AS store_id,
    name,
    brand,
    city,
    country,
    time_zone,
    lat AS latitude,
    lng AS longitude,
    delivery_radius_m,
    opened_on,
    closed_on,
    opening_hours,
    h3_cell(lat, lng, 8) AS cell,
    updated_at
FROM platform.stores
