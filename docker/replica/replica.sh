#!/bin/bash
# Start a streaming replica: copy the primary when the data folder is new, then run the server.
# Needs PGDATA, PRIMARY_HOST, PRIMARY_PORT and REPLICATION_PASSWORD; arguments go to postgres.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A copy that was interrupted leaves files but no standby.signal; it is started afresh beside and moved in whole.
  copy="$PGDATA.copy"
  rm -rf "$copy"
  mkdir -p "$(dirname "$PGDATA")"
  PGPASSWORD="$REPLICATION_PASSWORD" pg_basebackup --pgdata="$copy" --write-recovery-conf --wal-method=stream \
    --slot=replica --checkpoint=fast --host="$PRIMARY_HOST" --port="$PRIMARY_PORT" --username=replicator
  rm -rf "$PGDATA"
  mv "$copy" "$PGDATA"
  chmod 700 "$PGDATA"
fi

exec postgres -D "$PGDATA" "$@"
