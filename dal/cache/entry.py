"""Entry: one value of a cache, with what spoils it and how long it lasts."""

from __future__ import annotations

from typing import Any

from dal.cache.frozen import FORMS, Frozen
from dal.cache.snapshot import Snapshot

__all__ = ["Entry"]


class Entry:
    """A value.

    Attributes:
        frozen: The value.
        tables: What it was read from.
        since: The guard's clock when its reading began.
        snapshot: What it was read in, on PostgreSQL.
        size: What it takes in memory, in bytes.
        fresh_until: Until when it is served, on `time.monotonic()`.
        usable_until: Until when it is still served while a fresh one is fetched.
        plain: Whether it is one and the same in every form, and may be shared as it is.
        root: The form around its objects; of a plain value, itself.
        shapes: Its immutable shapes, made when first asked for.
        patterns: A dict for each of its objects, copied for each caller; made when first asked for.
        clean: Whether it is known what it was read from, and that it was committed.
        kept: Whether it was kept, or may be by others.
    """

    __slots__ = (
        "clean",
        "fresh_until",
        "frozen",
        "kept",
        "patterns",
        "plain",
        "root",
        "shapes",
        "since",
        "size",
        "snapshot",
        "tables",
        "usable_until",
    )

    def __init__(self, frozen: Frozen, tables: frozenset[str], snapshot: Snapshot | None, size: int) -> None:
        self.frozen = frozen
        self.root = frozen.root
        self.plain = not frozen.nodes and type(frozen.root) not in FORMS
        self.tables = tables
        self.snapshot = snapshot
        self.size = size
        self.since = 0
        self.fresh_until = self.usable_until = 0.0
        self.shapes: Any = None
        self.patterns: list[dict[str, Any]] | None = None
        self.clean = True
        self.kept = False
