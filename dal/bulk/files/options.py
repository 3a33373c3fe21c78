"""LoadOptions: what a caller says of a load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from dal.bulk.files.dialect import CsvDialect
from dal.bulk.files.header import Columns
from dal.bulk.files.progress import Tell
from dal.bulk.files.source import FORMATS, Format
from dal.bulk.files.validation import Validate
from dal.bulk.result import BulkResult
from dal.bulk.sinks import Sink
from dal.bulk.target import Attribute
from dal.errors import UsageError

__all__ = ["LoadOptions", "OnPart"]

_NOWHERE = Sink(None)

OnPart = Callable[[Connection, BulkResult], object]
"""Called in the transaction of each part with what the part has done."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a caller says of a load; see `BulkWriter.load`."""

    format: Format | None = None
    columns: Columns | None = None
    header: bool | None = None
    dialect: CsvDialect | None = None
    key: tuple[Attribute, ...] | None = None
    validate: Validate | None = None
    rejecting: bool = False
    rejects: Sink = _NOWHERE
    max_rejected: int | None = None
    progress: bool | Tell | None = None
    resume: str | None = None
    on_part: OnPart | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS.values():
            known = ", ".join(sorted(set(FORMATS.values())))
            raise UsageError(f"format={self.format!r} is not known", hint=f"one of {known}")
        if self.on_part is not None and self.resume is None:
            raise UsageError("on_part= is told of parts, and without resume= there is one for all", hint="add resume='a name'")
