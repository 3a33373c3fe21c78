"""Copy a running server's cluster into one that follows it, by pg_basebackup."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dal.embedded.cluster import adopt_cluster, server_environment
from dal.embedded.owner import Owner
from dal.errors import ServerError

__all__ = ["copy_cluster"]


def copy_cluster(cluster: Path, *, binaries: Path, owner: Owner, source: Mapping[str, str], sync: bool) -> None:
    """Make a cluster that streams from a running server.

    Args:
        cluster: The folder to make.
        binaries: The folder of the programs.
        owner: The user the new server will run under.
        source: Socket folder (`host`), `port` and `password` of the running server.
        sync: Wait until all of it is on disk.

    Raises:
        ServerError: pg_basebackup failed, or there is a cluster already.
    """
    if cluster.exists():
        raise ServerError(f"{cluster.parent} already holds the data of a server", hint="name an empty folder, or none")
    made = cluster.with_name("cluster.new")
    shutil.rmtree(made, ignore_errors=True)
    options = ["--write-recovery-conf", "--checkpoint=fast", "--username=postgres", "--no-password"]
    where = [f"--pgdata={made}", f"--host={source['host']}", f"--port={source['port']}"]
    done = subprocess.run(
        [binaries / "pg_basebackup", *where, *options, *([] if sync else ["--no-sync"])],
        env={**server_environment(), "PGPASSWORD": source["password"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    if done.returncode != 0:
        raise ServerError(
            f"pg_basebackup failed: {done.stderr.strip()}", hint="the primary has to run with wal_level replica or logical"
        )
    adopt_cluster(made, owner=owner)
    made.rename(cluster)
