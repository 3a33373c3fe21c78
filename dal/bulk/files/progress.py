"""Progress of a load or a dump: told to a function, or drawn by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dal._extras import require

__all__ = ["FileProgress", "Tell", "telling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileProgress:
    """How far a load or dump is.

    Args:
        done: Bytes of the file, as it is stored, that were read or written.
        total: Bytes of all of it, where that is known.
        rows: Rows handled, the rejected ones included, as far as they are counted.
        rejected: Rows rejected.
    """

    done: int
    total: int | None
    rows: int
    rejected: int = 0


Tell = Callable[[FileProgress], object]


@contextmanager
def telling(progress: bool | Tell | None, name: str) -> Iterator[Tell | None]:
    """Give what is to be called with the progress.

    Args:
        progress: True for a bar on the terminal, or a function.
        name: What the bar is called.

    Yields:
        A function, or None.

    Raises:
        MissingExtra: A bar is wanted and rich is not installed.
    """
    if not progress:
        yield None
    elif progress is not True:
        yield progress
    else:
        with _bar(name) as tell:
            yield tell


@contextmanager
def _bar(name: str) -> Iterator[Tell]:
    rich: Any = require("rich.progress", extra="cli", purpose="a progress bar")
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=32),
        rich.DownloadColumn(),
        rich.TextColumn("{task.fields[rows]:,} rows{task.fields[told]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns) as bar:
        task = bar.add_task(name, total=None, rows=0, told="")

        def tell(now: FileProgress) -> None:
            told = f", {now.rejected:,} rejected" if now.rejected else ""
            bar.update(task, completed=now.done, total=now.total, rows=now.rows, told=told)

        yield tell
