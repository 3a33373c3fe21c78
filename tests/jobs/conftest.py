"""A database with a queue, and workers inside the test's process or of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy.engine import URL

from dal import Database, PoolConfig

pytest.importorskip("procrastinate", reason="procrastinate is not installed")


@pytest.fixture
def db(dal_database: URL) -> Iterator[Database]:
    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=6)) as db:
        yield db


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def dal_worker(dal_database: URL) -> Iterator[Start]:
    """Start `dal worker` as a process; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start(*options: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "dal.cli", "worker", "--grace", "5s", *options],
                env={**os.environ, "DAL_URL": dal_database.render_as_string(hide_password=False)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    if process.stdout is not None and not process.stdout.closed:
        process.communicate()
