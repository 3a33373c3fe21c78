"""A file with one line of JSON an item."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dal.errors import UsageError
from dal.streams.sinks.base import Setting
from dal.streams.sinks.jsoned import json_text

__all__ = ["JsonLines"]


class JsonLines:
    """Appends items to a file, each as one line of JSON; what is acknowledged to the server is on disk.

    After a crash the last items may come twice: a change carries its `position` to know it by. Half a line is cut off.

    Args:
        path: The file; it is made where missing.

    Raises:
        UsageError: The folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise UsageError(f"{path!r} is no path", hint='JsonLines("orders.jsonl")')
        self._path = Path(path)
        self._file: IO[bytes] | None = None
        if not self._path.parent.is_dir():
            raise UsageError(f"there is no folder {self._path.parent}", hint="make it first")

    def open(self, setting: Setting) -> None:
        """Open the file, and cut off half a line that a crash may have left."""
        self.close()
        file = self._path.open("a+b")
        end = file.seek(0, os.SEEK_END)
        while end:
            file.seek(max(0, end - 65536))
            block = file.read(end - file.tell())
            newline = block.rfind(b"\n")
            if newline >= 0:
                end = end - len(block) + newline + 1
                break
            end -= len(block)
        file.truncate(end)
        self._file = file

    def write(self, items: Sequence[Any]) -> None:
        """Append the items."""
        assert self._file is not None
        self._file.write("".join(f"{json_text(item)}\n" for item in items).encode())

    def commit(self) -> None:
        """Wait until it is on disk."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
