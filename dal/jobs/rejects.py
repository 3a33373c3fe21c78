"""The rows that imports refused, kept in the transaction of their part: table `dal_job_rejects`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from dal.bulk import Rejected

__all__ = ["keep", "rejects_of"]

_KEEP = text("""
    INSERT INTO dal_job_rejects (job, line, position, reason, "column", value, sqlstate, "constraint")
    VALUES (:job, :line, :position, :reason, :column, :value, :sqlstate, :constraint)
""")
_READ = text("SELECT * FROM dal_job_rejects WHERE job = :job ORDER BY line, position")


def keep(connection: Connection, job: int, rejected: Sequence[Rejected]) -> None:
    """Write the refused rows of a part."""
    if rejected:
        connection.execute(_KEEP, [_row(job, each) for each in rejected])


def rejects_of(connection: Connection, job: int) -> list[Rejected]:
    """Read the refused rows of a job, in the order of the file; values are texts."""
    return [
        Rejected(
            row.position,
            row.reason,
            column=row.column,
            value=row.value,
            sqlstate=row.sqlstate,
            constraint=row.constraint,
            line=row.line,
        )
        for row in connection.execute(_READ, {"job": job})
    ]


def _row(job: int, rejected: Rejected) -> dict[str, object]:
    return {
        "job": job,
        "line": rejected.line,
        "position": rejected.position,
        "reason": _storable(rejected.reason),
        "column": rejected.column,
        "value": None if rejected.value is None else _storable(str(rejected.value)),
        "sqlstate": rejected.sqlstate,
        "constraint": rejected.constraint,
    }


def _storable(value: str) -> str:
    """Write out what PostgreSQL has no place for: a value may have been refused for it."""
    return value.replace("\0", "\\0").encode(errors="backslashreplace").decode()
