"""Where the bytes of a load come from: a path, a file object or a response of `urlopen()`, unpacked on the way.

What is packed is known by its first bytes, not by its name: gzip, zstandard (in Python 3.14, the extra `zst` before). A name
only helps to tell CSV from JSON lines. Text files are taken as UTF-8.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import IO, Any, Literal, Self

from dal._extras import require
from dal.errors import FileError, UsageError

__all__ = ["BLOCK", "FORMATS", "Format", "Readable", "Source", "checked_format", "format_of", "zstd"]

Readable = str | os.PathLike[str] | IO[bytes] | IO[str]
"""A path, or anything with `read(size)`."""

Format = Literal["csv", "jsonl", "parquet", "arrow"]

BLOCK = 256 * 1024
"""Bytes that are read at once."""

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
"""The format that a file's name speaks of, beneath `.gz` or `.zst`."""

_HASHED = 4096
_PACKED = {".gz", ".zst"}
_GZIP, _ZSTD, _PARQUET, _ARROW = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"ARROW1"


def format_of(name: str) -> Format | None:
    """Return the format that a file's name speaks of.

    Args:
        name: The name or address.

    Example:
        >>> format_of("flights.csv.gz")
        'csv'
    """
    suffixes = [suffix.lower() for suffix in PurePath(name.split("?")[0]).suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def checked_format(given: Any) -> None:
    """Check `format=`.

    Raises:
        UsageError: It is no format.
    """
    if given is not None and given not in FORMATS.values():
        known = ", ".join(sorted(set(FORMATS.values())))
        raise UsageError(f"format={given!r} is not known", hint=f"one of {known}")


def zstd() -> Any:
    """Import what reads and writes zstandard.

    Raises:
        MissingExtra: This Python has none, and the extra is not installed.
    """
    if sys.version_info >= (3, 14):
        return require("compression.zstd", extra="zst", purpose="a .zst file")
    return require("backports.zstd", extra="zst", purpose="a .zst file")


@dataclass
class _Counted(io.RawIOBase):
    """A file whose bytes are counted, with a beginning that was read already."""

    file: Any
    begun: bytes = b""
    count: int = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        data = self.begun
        if len(data) < wanted:
            read = self.file.read(wanted - len(data))
            data += read.encode() if isinstance(read, str) else read
        data, self.begun = data[:wanted], data[wanted:]
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class Source(AbstractContextManager["Source"]):
    """An opened source of bytes.

    Args:
        given: A path, or something with `read(size)`; what was given open is not closed.

    Raises:
        UsageError: It is neither, or there is no such file.

    Attributes:
        name: What to call it.
        size: Bytes as they are stored, if that is known.
        file: The unpacked bytes, buffered.
    """

    def __init__(self, given: Readable) -> None:
        self._own = isinstance(given, (str, os.PathLike))
        stored: Any = _opened(given) if isinstance(given, (str, os.PathLike)) else given
        if not hasattr(stored, "read"):
            raise UsageError(f"{given!r} is neither a path nor a file", hint="write a path, or open the file in binary mode")
        self._stored = stored
        self.name = _name(given)
        self.size = _size(stored)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._own:
            self._stored.close()

    def _begin(self) -> None:
        first = self._stored.read(len(_ARROW))
        begun = first.encode() if isinstance(first, str) else first
        self._counted = _Counted(self._stored, begun)
        self.packed = begun.startswith((_GZIP, _ZSTD))
        self.file: Any = _unpacked(io.BufferedReader(self._counted, BLOCK), begun)

    @property
    def done(self) -> int:
        """Bytes of the stored file read so far."""
        return self._counted.count

    @property
    def path(self) -> Path | None:
        """The file itself, where it can be opened once more."""
        return Path(self.name) if self._own else None

    def format(self) -> Format:
        """Tell the format by the first bytes, else by the name."""
        start = self.peek(BLOCK)
        if start.startswith(_PARQUET):
            return "parquet"
        if start.startswith(_ARROW):
            return "arrow"
        return format_of(self.name) or ("jsonl" if start.lstrip()[:1] == b"{" else "csv")

    def peek(self, size: int) -> bytes:
        """Return the next bytes, up to `size`, without reading on."""
        return self._unpacked(lambda: self.file.peek(size))

    def read(self, size: int) -> bytes:
        """Return the next bytes, up to `size`; none at the end."""
        return self._unpacked(lambda: self.file.read(size))

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Yield the rest of the bytes.

        Args:
            size: Bytes at a time.
        """
        while block := self.read(size):
            yield block

    def rewind(self) -> None:
        """Go back to the start, where something was read and the file is a path."""
        if self._own and self.done:
            self._stored.seek(0)
            self._begin()

    def fingerprint(self) -> str:
        """Tell this file from another, or from itself once it has changed: by its size and a hash of its start."""
        start = hashlib.sha256(self.peek(BLOCK)[:_HASHED]).hexdigest()
        return f"{'?' if self.size is None else self.size}:{start}"

    def _unpacked(self, read: Any) -> bytes:
        try:
            found: bytes = read()
        except (EOFError, zlib.error, OSError) as error:
            if not self.packed:
                raise
            raise FileError(f"{self.name} is damaged: {error}", hint="fetch the file once more") from error
        except Exception as error:
            if not self.packed or type(error).__name__ != "ZstdError":
                raise
            raise FileError(f"{self.name} is damaged: {error}", hint="fetch the file once more") from error
        return found


def _opened(path: str | os.PathLike[str]) -> IO[bytes]:
    if str(path).split(":")[0].lower() in {"http", "https", "ftp"}:
        raise UsageError(f"{path!r} is an address, not a path", hint=f"urllib.request.urlopen({str(path)!r}) opens it")
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="check the path, and who may read it") from error


def _name(given: Any) -> str:
    if isinstance(given, (str, os.PathLike)):
        return os.fspath(given)
    for known in (getattr(given, "url", None), getattr(given, "name", None)):
        if isinstance(known, str):
            return known
    return type(given).__name__


def _size(stored: Any) -> int | None:
    length = getattr(stored, "length", None)
    if isinstance(length, int):
        return length
    try:
        return os.fstat(stored.fileno()).st_size
    except (AttributeError, OSError, io.UnsupportedOperation):
        return None


def _unpacked(raw: Any, begun: bytes) -> Any:
    if begun.startswith(_GZIP):
        import gzip

        # gzip reads in small pieces; a buffer of a block keeps the calls few.
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), BLOCK)
    if begun.startswith(_ZSTD):
        return io.BufferedReader(zstd().ZstdFile(raw), BLOCK)
    return raw
