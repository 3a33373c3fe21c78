"""Copy a running server's cluster into one that follows it, by pg_basebackup."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dal.embedded.cluster import adopt_cluster, server_environment
from dal.embedded.owner import Owner
from dal.errors import ServerError

__all__ = ["copy_cluster"]


def copy_cluster(cluster: Path, *, binaries: Path, owner: Owner, password: str, host: Path, port: int) -> None:
    """Make a cluster that streams from a running server.

    Args:
        cluster: The folder to make.
        binaries: The folder of the programs.
        owner: The user the new server will run under.
        password: The password of the role postgres.
        host: The socket folder of the running server.
        port: The number in the name of its socket.

    Raises:
        ServerError: pg_basebackup failed.
    """
    made = cluster.with_name("cluster.new")
    shutil.rmtree(made, ignore_errors=True)
    done = subprocess.run(
        [
            binaries / "pg_basebackup", f"--pgdata={made}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
            f"--host={host}", f"--port={port}", "--username=postgres", "--no-password",
        ],
        env={**server_environment(), "PGPASSWORD": password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(
            f"pg_basebackup failed: {done.stderr.strip()}", hint="the primary has to run, with wal_level replica or logical"
        )
    adopt_cluster(made, owner=owner)
    made.rename(cluster)
