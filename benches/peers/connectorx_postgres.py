"""connectorx with pyarrow: `payments.transactions` in two partitions, then zstd Parquet. It knows neither enums nor jsonb, so these are sent as text.

pip install connectorx pyarrow; then
python connectorx_postgres.py   with PLATFORM_POSTGRES_URL set
"""
import os

import connectorx
import pyarrow.parquet

COLUMNS = (
    "id, order_id, customer_id::text, kind::text, status::text, method::text, provider, amount, fee, currency::text,"
    " provider_payload::text, created_at, updated_at"
)
statement = f"SELECT {COLUMNS} FROM payments.transactions"
table = connectorx.read_sql(os.environ["PLATFORM_POSTGRES_URL"], statement, partition_on="id", partition_num=2, return_type="arrow")
pyarrow.parquet.write_table(table, "connectorx.parquet", compression="zstd")
