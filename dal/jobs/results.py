"""What a job came to, as JSON in its row and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dal.bulk import BulkResult, Rejected
from dal.errors import UsageError

__all__ = ["COUNTS", "kept", "result_of"]

COUNTS = ("inserted", "updated", "unchanged", "seconds")
"""What is kept of the result of an import; the refused rows are in their table."""


def kept(value: Any) -> Any:
    """Return what is kept of a returned value.

    Raises:
        UsageError: JSON does not carry it.
    """
    if isinstance(value, BulkResult):
        return {name: getattr(value, name) for name in COUNTS}
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the job returned a {type(value).__name__}, and its result is kept as JSON: {error}",
            hint="return a number, a text, a list or a dict of them, or nothing",
        ) from error


def result_of(counts: Mapping[str, float], rejected: Sequence[Rejected] = ()) -> BulkResult:
    """Return the result of an import from what was kept of it."""
    inserted, updated, unchanged = (int(counts.get(name, 0)) for name in COUNTS[:3])
    return BulkResult(
        inserted=inserted, updated=updated, unchanged=unchanged, rejected=rejected, seconds=counts.get("seconds", 0.0)
    )
