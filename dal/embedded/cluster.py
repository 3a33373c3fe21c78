"""A cluster: the data one server works on, made by initdb, and who may log in to it.

Only the OS user who made it gets in over the socket, as any role, without a password. Everything else (TCP,
replication) needs the password that lies beside the data, readable by that OS user alone. Nobody is trusted for
reaching a port.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dal.embedded.owner import Owner, account_for_initdb
from dal.embedded.template import copy_template
from dal.errors import ServerError

__all__ = ["adopt_cluster", "create_cluster", "server_environment"]

_INITDB = (
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth=reject",
    "--no-sync",
    "--no-instructions",
)

_HBA = """\
local replication all              scram-sha-256
local all         all              peer map=dal
host  all         all 127.0.0.1/32 scram-sha-256
host  replication all 127.0.0.1/32 scram-sha-256
"""


def server_environment() -> Mapping[str, str]:
    """Choose the environment of PostgreSQL's programs: nothing of the caller's, where secrets may be."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def create_cluster(cluster: Path, *, binaries: Path, owner: Owner, temporary: bool) -> None:
    """Make a new cluster with the role postgres, UTF-8, the builtin C.UTF-8 locale and checksums.

    Args:
        cluster: The folder to make; its parent exists.
        binaries: The folder of the programs.
        owner: The user the server will run under.
        temporary: Copy it from a template and leave it to the system when it reaches the disk.

    Raises:
        ServerError: initdb failed.
    """

    def initialize(target: Path) -> None:
        _initialize(target, binaries=binaries, owner=owner)

    made = cluster.with_name("cluster.new")
    shutil.rmtree(made, ignore_errors=True)
    if temporary:
        copy_template(made, binaries=binaries, make=initialize)
    else:
        initialize(made)
    adopt_cluster(made, owner=owner)
    if not temporary:
        # At once for its thousand files; file by file it takes seconds.
        os.sync()
    made.rename(cluster)


def adopt_cluster(cluster: Path, *, owner: Owner) -> None:
    """Let the caller, and nobody else, log in to a cluster that was just made, and give it to the server's user.

    Args:
        cluster: The folder.
        owner: The user the server will run under.
    """
    (cluster / "pg_hba.conf").write_text(_HBA)
    (cluster / "pg_ident.conf").write_text(f'dal "{_account_name()}" all\n')
    cluster.chmod(0o700)
    owner.own(cluster)


def _initialize(target: Path, *, binaries: Path, owner: Owner) -> None:
    staging = Path(tempfile.mkdtemp(prefix="dal-initdb-", dir="/tmp" if owner.foreign else target.parent))
    try:
        account = account_for_initdb() if owner.foreign else None
        if account is not None:
            os.chown(staging, account, account)
        _initdb(staging / "cluster", binaries=binaries, account=account)
        if owner.foreign:
            # A copy, because a file that another process of that account has linked here must not change its owner.
            shutil.copytree(staging / "cluster", target, symlinks=True)
        else:
            (staging / "cluster").rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _account_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise ServerError(
            f"PostgreSQL needs an account for the user it runs under, and user id {os.geteuid()} has none",
            hint="run as a user that /etc/passwd knows (in a container: add one, or run as root)",
        ) from error


def _initdb(cluster: Path, *, binaries: Path, account: int | None) -> None:
    _account_name()
    done = subprocess.run(
        [binaries / "initdb", f"--pgdata={cluster}", *_INITDB],
        cwd=cluster.parent,
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account,
        group=account,
        extra_groups=None if account is None else [],
        umask=0o077,
    )
    if done.returncode != 0:
        raise ServerError(f"initdb failed: {done.stderr.strip()}", hint="see the message; often the disk is full or read-only")
