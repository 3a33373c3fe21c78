"""Where the bytes of a dump go: a path, written whole or not at all, or a file object; packed on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dal.bulk.files.source import Format, checked_format, format_of, zstd
from dal.errors import UsageError

__all__ = ["Sink", "Writable", "opened", "wanted_format"]

Writable = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file."""


class Sink:
    """A file that is written, and how many bytes it has so far.

    Args:
        stored: The file as it is stored.
        packed: What packs the bytes for it, or the file itself.
    """

    def __init__(self, stored: Any, packed: Any) -> None:
        self._stored, self.file = stored, packed

    def write(self, block: bytes) -> None:
        """Write bytes."""
        self.file.write(block)

    @property
    def done(self) -> int:
        """Bytes in the stored file."""
        try:
            return int(self._stored.tell())
        except OSError:
            return 0


def wanted_format(given: Writable, said: Format | None) -> Format:
    """Tell the format of a file that is to be written.

    Raises:
        UsageError: Neither the caller nor the name says it.
    """
    checked_format(said)
    found = said or format_of(_name(given))
    if found is None:
        raise UsageError(f"{_name(given)} tells no format", hint="write format='csv', 'jsonl', 'parquet' or 'arrow'")
    return found


@contextmanager
def opened(given: Writable) -> Iterator[Sink]:
    """Open a file for writing; a path is replaced only when all of it is written.

    Args:
        given: A path, or a binary file, which stays open.

    Yields:
        The file.

    Raises:
        UsageError: It cannot be written.
    """
    name = _name(given)
    if not isinstance(given, (str, os.PathLike)):
        with _packed(given, name) as packed:
            yield Sink(given, packed)
        return
    path = Path(given)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        stored = beside.open("wb")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="check the folder, and who may write it"
        ) from error
    try:
        with stored, _packed(stored, name) as packed:
            yield Sink(stored, packed)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _packed(stored: Any, name: str) -> Iterator[Any]:
    if name.endswith(".gz"):
        import gzip

        with gzip.GzipFile(filename="", fileobj=stored, mode="wb", compresslevel=6, mtime=0) as packed:
            yield packed
    elif name.endswith(".zst"):
        with zstd().ZstdFile(stored, "w") as packed:
            yield packed
    else:
        yield stored


def _name(given: Writable) -> str:
    found = os.fspath(given) if isinstance(given, (str, os.PathLike)) else getattr(given, "name", "")
    return found if isinstance(found, str) else type(given).__name__
