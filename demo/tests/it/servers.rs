//! Real servers: PostgreSQL 15 takes the dump and the live rows; a server of MongoDB's protocol takes the orders.
