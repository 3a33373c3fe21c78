"""Run the tests of loading, of the repository and of flushes on several versions of Python and SQLAlchemy.

    python -m tests.sqlalchemy_suite.matrix [--sqlalchemy 2.1.0 newest] [--python 3.11 3.12 3.13]

Each Python that is found gets an environment of its own beside the project's. One that is not there is named and left
out; a test that fails fails the command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.sqlalchemy_suite.interpreters import find

_ROOT = Path(__file__).parents[2]
_TESTS = ("tests/loading", "tests/repository", "tests/bulk/flush")
_CHECKERS = ("import-linter", "mypy", "pyright", "ruff", "testcontainers", "types-")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sqlalchemy_suite.matrix")
    parser.add_argument("--sqlalchemy", nargs="+", default=["2.1.0", "newest"], help="versions (default: %(default)s)")
    parser.add_argument("--python", nargs="+", default=["3.11", "3.12", "3.13"], help="versions (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args()
    failed = ran = 0
    for version in arguments.python:
        interpreter = find(version)
        if interpreter is None:
            print(f"Python {version}: not found here")
            continue
        python = _environment(version, interpreter)
        for wanted in arguments.sqlalchemy:
            there = _install(python, wanted)
            done = subprocess.run(
                [python, "-m", "pytest", "-q", "-n", str(arguments.jobs), "-p", "no:cacheprovider", *_TESTS],
                cwd=_ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            lines = done.stdout.splitlines() or done.stderr.splitlines()
            print(f"Python {version}, SQLAlchemy {there}: {lines[-1]}", flush=True)
            ran += 1
            if done.returncode:
                failed += 1
                print(done.stdout, done.stderr, sep="\n")
    return 1 if failed or not ran else 0


def _environment(version: str, interpreter: str) -> str:
    home = _ROOT / f".venv-matrix-{version}"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", home], check=True)
    return str(python)


def _install(python: str, version: str) -> str:
    wanted = "sqlalchemy>=2.1,<2.2" if version == "newest" else f"sqlalchemy=={version}"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*pip, wanted, *_requirements()], cwd=_ROOT, check=True)
    asked = [python, "-c", "import sqlalchemy; print(sqlalchemy.__version__)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _requirements() -> Iterator[str]:
    """Yield what the tests need, without the checkers that only the project's own environment runs."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["optional-dependencies"]["test"]:
        if requirement.startswith("dal["):
            yield from ("-e", requirement.replace("dal[", ".["))
        elif not requirement.startswith(_CHECKERS):
            yield requirement


if __name__ == "__main__":
    sys.exit(main())
