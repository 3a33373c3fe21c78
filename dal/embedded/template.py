"""A cluster fresh from initdb, kept to be copied: a temporary server starts in half the time.

Copies have the same system identifier, so only temporary clusters are made this way. The template lies in the
caller's cache folder, which nobody else can write or read.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["copy_template"]


def copy_template(target: Path, *, binaries: Path, make: Callable[[Path], None]) -> None:
    """Copy the template of these programs, or make the cluster anew where none can be kept.

    Args:
        target: The folder to make.
        binaries: The folder of the programs.
        make: Makes a cluster in a folder that does not exist.
    """
    template = _place(binaries)
    if template is None:
        make(target)
        return
    if not template.exists():
        _keep(template, make)
    shutil.copytree(template, target, symlinks=True)


def _place(binaries: Path) -> Path | None:
    caller = os.geteuid()
    try:
        root = Path("/var/cache") if caller == 0 else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "dal" / "clusters"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        programs = (binaries / "postgres").stat()
    except (OSError, RuntimeError):
        # No home, or one that cannot be written.
        return None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != caller or status.st_mode & 0o077:
        return None
    return folder / f"{programs.st_size:x}-{programs.st_mtime_ns:x}"


def _keep(template: Path, make: Callable[[Path], None]) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=template.parent))
    try:
        make(staging / "cluster")
        try:
            (staging / "cluster").rename(template)
        except OSError:
            # Another process kept one meanwhile.
            if not template.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
