#!/bin/bash
# Run once by the image when the primary's data folder is new: a role that may replicate, a slot that keeps what the
# replica has not read yet, and the line in pg_hba.conf that lets it in (from the server's own networks only).
set -euo pipefail

psql --no-psqlrc --set=ON_ERROR_STOP=1 --set=password="$REPLICATION_PASSWORD" \
  --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE replicator WITH REPLICATION LOGIN PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica');
SQL

echo "host replication replicator samenet scram-sha-256" >>"$PGDATA/pg_hba.conf"
