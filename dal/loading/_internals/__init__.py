"""The private names of SQLAlchemy 2.1 this room stands on, and the check that they are there.

Every other file of the room uses public names only. `missing()` says which hooks this SQLAlchemy lacks; where one is
missing, `fallback.py` takes over with public API and one statement more a batch.
"""

from dal.loading._internals.hooks import (
    by_primary_key,
    deferred_group,
    select_touch,
    swap_deferred,
    swap_expired,
    swap_touch,
    without_sql,
)
from dal.loading._internals.names import CompileStateOption, PassiveFlag, Touched, missing
from dal.loading._internals.on_touch import default_strategy
from dal.loading._internals.select_in import has_pending, selectin_load, selectin_of, set_loaded, shorten_paths
from dal.loading._internals.sessions import current_task, flushing, in_greenlet, is_async, waits
from dal.loading._internals.statements import (
    all_lazy,
    apply_load,
    current_root,
    is_eager,
    loaded_columns,
    named_lazy,
    needs_separate_statements,
    options_of,
    own_loads,
    own_subclasses,
    own_wildcard,
    raises_on_unknown,
    roots_of,
    shared_of_execution,
    statement_of,
)

__all__ = [
    "CompileStateOption",
    "PassiveFlag",
    "Touched",
    "all_lazy",
    "apply_load",
    "by_primary_key",
    "current_root",
    "current_task",
    "default_strategy",
    "deferred_group",
    "flushing",
    "has_pending",
    "in_greenlet",
    "is_async",
    "is_eager",
    "loaded_columns",
    "missing",
    "named_lazy",
    "needs_separate_statements",
    "options_of",
    "own_loads",
    "own_subclasses",
    "own_wildcard",
    "raises_on_unknown",
    "roots_of",
    "select_touch",
    "selectin_load",
    "selectin_of",
    "set_loaded",
    "shared_of_execution",
    "shorten_paths",
    "statement_of",
    "swap_deferred",
    "swap_expired",
    "swap_touch",
    "waits",
    "without_sql",
]
