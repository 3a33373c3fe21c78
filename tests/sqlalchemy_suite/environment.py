"""The environment SQLAlchemy's tests run in: its source distribution, pytest below 9, and this project."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from tests.sqlalchemy_suite.differences import Stamp

__all__ = ["Environment"]

_ROOT = Path(__file__).parents[2]
_TESTS = (
    "test_lazy_relations.py",
    "test_eager_relations.py",
    "test_selectin_relations.py",
    "test_subquery_relations.py",
    "test_expire.py",
    "test_deferred.py",
    "test_relationships.py",
    "test_manytomany.py",
    "test_onetoone.py",
    "test_unitofwork.py",
    "test_unitofworkv2.py",
    "test_cascade.py",
    "test_merge.py",
    "test_pickled.py",
    "test_session.py",
    "test_load_on_fks.py",
    "test_composites.py",
    "test_relationship_criteria.py",
    "inheritance",
)


class Environment:
    """A virtual environment beside the project's, with one version of SQLAlchemy and the source of its tests.

    Args:
        version: The version of SQLAlchemy.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._home = _ROOT / f".venv-sqlalchemy-{version}"
        self._python = self._home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        self._source = self._home / "source" / f"sqlalchemy-{version}"

    def prepare(self) -> None:
        """Make the environment and download the source, unless they are there."""
        if not self._python.exists():
            venv.create(self._home, with_pip=True)
        wanted = [f"sqlalchemy[asyncio]=={self._version}", "pytest<9", "pytest-xdist>=3.8", "-e", f"{_ROOT}[binary]"]
        self._pip("install", *wanted)
        if not self._source.is_dir():
            sources = self._source.parent
            self._pip("download", "--no-deps", "--no-binary", "sqlalchemy", "-d", str(sources), f"sqlalchemy=={self._version}")
            with tarfile.open(next(sources.glob("*.tar.gz"))) as archive:
                archive.extractall(sources, filter="data")

    def run(self, stamp: Stamp | None, jobs: int) -> Path:
        """Run the tests.

        Args:
            stamp: What is stamped on every ORM select, or None.
            jobs: How many processes.

        Returns:
            The JUnit report.
        """
        report = self._home / f"{stamp or 'plain'}.xml"
        report.unlink(missing_ok=True)
        options = ["-q", "-n", str(jobs), "--tb=native", "-p", "no:cacheprovider", "-p", "tests.sqlalchemy_suite.stamp"]
        subprocess.run(
            [str(self._python), "-m", "pytest", *options, "-o", "addopts=--strict-markers", f"--junitxml={report}"]
            + [f"test/orm/{name}" for name in _TESTS],
            cwd=self._source,
            env=os.environ | {"DAL_STAMP": stamp or "", "PYTHONPATH": str(_ROOT), "PYTHONNOUSERSITE": "1"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return report

    def _pip(self, *arguments: str) -> None:
        subprocess.run([str(self._python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)
