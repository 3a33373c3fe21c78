"""What a strict policy still lets pass in code that is not there yet: a list that only gets shorter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from dal.errors import ConfigError, UsageError
from dal.loading.touch import Touch

__all__ = ["AllowList"]

_NAME = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


class AllowList:
    """Names of attributes, `User.orders`, that may be loaded on the way for now.

    Args:
        names: The attributes.

    Raises:
        UsageError: A name is not of the form `User.orders`.

    Example:
        >>> legacy = AllowList(["User.orders"])
        >>> sorted(legacy.unused())
        ['User.orders']
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._used: set[str] = set()
        for name in self._names:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UsageError(
                    f"{name!r} is not the name of an attribute", hint="write the class and the attribute: User.orders"
                )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> AllowList:
        """Read one name a line; lines that start with # are notes.

        Args:
            path: The file.

        Returns:
            The list.

        Raises:
            ConfigError: The file cannot be read.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})", hint="create it, it may be empty") from error
        return cls(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"AllowList({sorted(self._names)})"

    def lets(self, touch: Touch) -> bool:
        """Tell whether a touch is allowed, and remember that it was needed."""
        for owner in touch.state.class_.__mro__ if self._names else ():
            name = f"{owner.__name__}.{touch.key}"
            if name in self._names:
                self._used.add(name)
                return True
        return False

    def unused(self) -> frozenset[str]:
        """Return the names that nothing has needed since the list was made: they can go."""
        return self._names - self._used

    def shrink(self, path: str | os.PathLike[str]) -> int:
        """Drop the names that nothing needed from a file; nothing is ever added.

        Args:
            path: The file the list was read from.

        Returns:
            How many lines were dropped.
        """
        file = Path(path)
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.strip() not in self.unused()]
        file.write_text("".join(kept), encoding="utf-8")
        return len(lines) - len(kept)
