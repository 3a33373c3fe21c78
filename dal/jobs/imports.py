"""The import: a job that loads a file, part by part, and can be killed between any two instructions.

The part, the checkpoint, the refused rows and the counts are one transaction. The checkpoint also keeps out a worker that was
taken for dead and is not: whoever finds that it has moved stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect

from dal.bulk import BulkResult, BulkWriter
from dal.bulk.files import Columns, CsvDialect, FileProgress, Format, Validate
from dal.bulk.target import Target, target_of
from dal.errors import FileError, UsageError
from dal.jobs import rejects, store
from dal.jobs.calls import find, reference
from dal.jobs.current import RunningJob
from dal.jobs.results import COUNTS, result_of

__all__ = ["import_call", "run_import"]


def import_call(
    path: str | Path,
    *,
    into: type[Any],
    key: Sequence[Any] | None,
    format: Format | None,  # noqa: A002
    columns: Columns | None,
    header: bool | None,
    dialect: CsvDialect | None,
    validate: Validate | None,
    rejecting: bool,
    max_rejected: int | None,
) -> dict[str, Any]:
    """Write an import down as a job; see `Jobs.import_file`."""
    if not isinstance(path, (str, Path)):
        raise UsageError(f"a {type(path).__name__} is no path", hint='write import_file("flights.csv.gz", into=Flight)')
    file = Path(path).absolute()
    if not file.is_file():
        raise FileError(f"there is no file {file}", hint="give a path that every worker sees")
    if inspect(into, raiseerr=False) is None:
        raise UsageError(f"into= is {into!r}, which is not a mapped class", hint="write into=Flight")
    target = target_of(into)
    return {
        "kind": "import",
        "path": str(file),
        "into": reference(into, "into="),
        "key": None if key is None else list(target.listed(key, "key")),
        "format": format,
        "columns": _names(columns, target),
        "header": header,
        "dialect": None if dialect is None else asdict(dialect),
        "validate": None if validate is None else reference(validate, "validate="),
        "rejecting": rejecting,
        "max_rejected": max_rejected,
    }


def run_import(job: RunningJob, call: Mapping[str, Any]) -> BulkResult:
    """Load what is left of the file of an import.

    Args:
        job: The running job.
        call: What `import_call` wrote down.

    Returns:
        What all runs of the job together have done; the refused rows are in their table.
    """
    entity = find(call["into"])
    counts = _Counts(job)
    BulkWriter(job.db, entity).load(
        call["path"],
        key=call["key"],
        format=call["format"],
        columns=call["columns"],
        header=call["header"],
        dialect=None if call["dialect"] is None else CsvDialect(**call["dialect"]),
        validate=None if call["validate"] is None else find(call["validate"]),
        on_error="reject" if call["rejecting"] else "raise",
        max_rejected=call["max_rejected"],
        resume=f"job {job.id}",
        on_part=counts.part,
        progress=counts.progress,
    )
    return counts.result()


class _Counts:
    """What an import has done over all its runs, written in the transaction of each part."""

    def __init__(self, job: RunningJob) -> None:
        self._job = job
        with job.engine.connect() as connection:
            found = store.look(connection, job.id)
        self._counts: dict[str, float] = dict(found.result or {}) if found else {}
        self._after = (job.done, job.rejected, self._counts)

    def part(self, connection: Connection, result: BulkResult) -> None:
        """Write what there is after a part, in its transaction, which may be run again."""
        job, counts = self._job, dict(self._counts)
        for name in COUNTS:
            counts[name] = counts.get(name, 0) + getattr(result, name)
        done, rejected = job.done + result.written + len(result.rejected), job.rejected + len(result.rejected)
        rejects.keep(connection, job.id, result.rejected)
        store.note(connection, job.id, done=done, total=job.total, rejected=rejected)
        store.keep_result(connection, job.id, counts)
        self._after = (done, rejected, counts)

    def progress(self, progress: FileProgress) -> None:
        """Take over what is committed, and end here if the job shall end: nothing is half done."""
        job = self._job
        job.done, job.rejected, self._counts = self._after
        if progress.total and progress.done:
            job.total = max(job.done, round(job.done * progress.total / progress.done))
        job.check()

    def result(self) -> BulkResult:
        """Return it."""
        job = self._job
        job.done, job.rejected, self._counts = self._after
        job.total = job.done
        return result_of(self._counts)


def _names(columns: Columns | None, target: Target) -> Any:
    if columns is None:
        return None
    if isinstance(columns, Mapping):
        return {name: None if attribute is None else target.named(attribute, "columns") for name, attribute in columns.items()}
    return [None if attribute is None else target.named(attribute, "columns") for attribute in columns]
