SELECT
    d.customer_id,
    d.birthday_on,
    d.age_turned,
    d.offer_code,
    d.valid_from,
    d.valid_to,
    d.favourite_store_id,
    d.favourite_category
FROM birthdays_due AS d
JOIN offers AS o ON d.offer_code = o.offer_code
