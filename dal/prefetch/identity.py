"""What a pager pages, as a short text: the same for the same statement, order and loading.

Pages are kept under it, so two pagers may share it only if their pages are the same. The fingerprint of a cursor covers
the statement and the values in it; what is loaded along is told by the policies. It is then the same in every process. Other
options of the statement may do anything: with them it holds within the process only.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Hashable
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from dal.loading import Policy
from dal.paging import PagePlan
from dal.prefetch import _internals
from dal.prefetch.bounded import Bounded

__all__ = ["template_of"]

KNOWN = 1024

_lock = threading.Lock()
_of_this_process: Bounded[Hashable, str] = Bounded(KNOWN)


def template_of(planned: PagePlan[Any], *more: object) -> str:
    """Return the template of a pager.

    Args:
        planned: The plan of its statement, with its policy among the options.
        more: What else tells its pages apart, such as their size.

    Returns:
        A text of 32 characters.
    """
    options = _internals.options_of(planned.select)
    told = [_told(option) for option in options]
    loading = repr(told) if None not in told else _in_this_process(planned)
    return hashlib.sha256(repr((planned.fingerprint, loading, more)).encode()).hexdigest()[:32]


def _told(option: object) -> str | None:
    """Tell what an option does, or None where that cannot be said of it in a text."""
    if not isinstance(option, Policy):
        return None
    paths = []
    for path in option.paths:
        steps = [_step(step) for step in path.steps]
        if None in steps:
            return None
        paths.append((steps, path.depth, path.using))
    # A mode speaks for every attribute, the mapping's own eager loaders among them.
    return repr((paths, None if option.mode is None else option.mode.name))


def _step(step: Any) -> str | None:
    plain = isinstance(step, InstrumentedAttribute) and getattr(step, "_of_type", None) is None and not step._extra_criteria
    return f"{step.class_.__module__}.{step.class_.__qualname__}.{step.key}" if plain else None


def _in_this_process(planned: PagePlan[Any]) -> str:
    key = _internals.cache_key(planned.select)
    fresh = uuid.uuid4().hex
    if key is None:
        return fresh
    with _lock:
        return _of_this_process.get_or_make(key, lambda: fresh)
