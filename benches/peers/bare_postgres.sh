#!/usr/bin/env bash
# No program at all: two streams of COPY in PostgreSQL's binary format, each half of the table's pages, thrown away. What the server gives at most.
#
# bare_postgres.sh payments.transactions   with PLATFORM_POSTGRES_URL set
set -euo pipefail
table="$1"
pages="$(psql "$PLATFORM_POSTGRES_URL" -Atc "SELECT pg_relation_size('$table') / current_setting('block_size')::int")"
half="$((pages / 2))"
stream() {
    psql "$PLATFORM_POSTGRES_URL" -qc "COPY (SELECT * FROM $table WHERE ctid >= '($1,0)'::tid AND ctid < '($2,0)'::tid) TO STDOUT (FORMAT binary)" >/dev/null &
}
stream 0 "$half"
stream "$half" "$pages"
wait
