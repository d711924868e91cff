"""DuckDB's PostgreSQL scanner: one table to zstd Parquet.

pip install duckdb duckdb-ext-postgres; then
python duckdb_postgres.py payments.transactions   with PLATFORM_POSTGRES_URL set
"""
import glob
import os
import sys

import duckdb
import duckdb_ext

connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
folder = list(duckdb_ext.__path__)[0]
extension = glob.glob(f"{folder}/extensions/v{duckdb.__version__}/*/postgres_scanner.duckdb_extension")[0]
connection.execute(f"LOAD '{extension}'")
connection.execute(f"ATTACH '{os.environ['PLATFORM_POSTGRES_URL']}' AS source (TYPE postgres, READ_ONLY)")
connection.execute(f"COPY (SELECT * FROM source.{sys.argv[1]}) TO 'duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)")
