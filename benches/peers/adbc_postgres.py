"""ADBC's PostgreSQL driver with pyarrow: one table to zstd Parquet, batch by batch.

pip install adbc-driver-postgresql adbc-driver-manager pyarrow; then
python adbc_postgres.py payments.transactions   with PLATFORM_POSTGRES_URL set
"""
import os
import sys

import adbc_driver_postgresql.dbapi
import pyarrow.parquet

with adbc_driver_postgresql.dbapi.connect(os.environ["PLATFORM_POSTGRES_URL"]) as connection, connection.cursor() as cursor:
    cursor.execute(f"SELECT * FROM {sys.argv[1]}")
    batches = cursor.fetch_record_batch()
    with pyarrow.parquet.ParquetWriter("adbc.parquet", batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
