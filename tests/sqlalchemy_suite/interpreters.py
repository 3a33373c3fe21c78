"""The interpreters of Python on this machine: on the path, or where pyenv and uv keep theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find"]


def find(version: str) -> str | None:
    """Find an interpreter.

    Args:
        version: Such as `3.12`.

    Returns:
        Its path, or None where there is none that runs.
    """
    return next((path for path in _candidates(version) if _runs(path, version)), None)


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    named = shutil.which(f"python{version}")
    if named is not None:
        yield named
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    uv = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "uv" / "python"
    for kept in (*pyenv.glob(f"versions/{version}.*"), *uv.glob(f"cpython-{version}.*")):
        yield str(kept / "bin" / "python3")


def _runs(path: str, version: str) -> bool:
    asked = [path, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return False
    return answer.stdout.strip() == version
