"""Policy: what a query loads at once, and what happens at the first touch of everything else.

A policy is paths plus an `otherwise`, and an ORM option of SQLAlchemy: `select(User).options(eager(User.orders))` works
in any session, also in code that has never heard of a repository. Its paths become loader options when the statement
is compiled, and are cached with it; the rest travels on the loaded objects.

Do not make one yourself: `lazy()`, `batched()`, `eager()`, `hybrid()` and `strict()` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import QueryableAttribute

from dal.errors import UsageError
from dal.loading import _internals
from dal.loading.expand import expand
from dal.loading.modes import Lazy, LazyRelationships, Mode
from dal.loading.paths import Named, Path, Step
from dal.loading.touch import Batch

__all__ = ["Policy", "merge", "policies_of", "together"]


class Policy(_internals.CompileStateOption):
    """Paths loaded with the query, and the mode for everything else.

    Args:
        paths: What to load at once.
        mode: What a touch of anything else does; None inherits it from the next policy outwards.
        batch: The result the objects that carry this policy came in; None on a policy that was not executed yet.
        sealed: Whether this is the outcome of all layers, after which no other policy is asked.
    """

    __slots__ = ("batch", "mode", "paths", "sealed")

    propagate_to_loaders = True
    inherit_cache = None
    is_policy = True

    def __init__(
        self, paths: tuple[Path, ...] = (), mode: Mode | None = None, batch: Batch | None = None, *, sealed: bool = False
    ) -> None:
        self.paths = paths
        self.mode = mode
        self.batch = batch
        self.sealed = sealed

    def __repr__(self) -> str:
        eager = ", ".join(f"({path})" if len(path.steps) > 1 else str(path) for path in self.paths)
        if self.mode is None:
            return f"eager({eager})"
        return f"hybrid(eager=[{eager}], otherwise={self.mode.name}())" if eager else f"{self.mode.name}()"

    def __reduce__(self) -> tuple[Any, ...]:
        return _thaw, (tuple(_frozen(path) for path in self.paths), self.mode, self.batch, self.sealed)

    def optional(self) -> Policy:
        """Return the same policy, silent about paths that a statement does not reach."""
        return Policy(tuple(path.optional() for path in self.paths), self.mode, self.batch, sealed=self.sealed)

    def _gen_cache_key(self, am: Any, bindparams: list[Any]) -> tuple[Any, ...]:
        if not self.paths:
            return (Policy, self.mode is None, self.sealed)
        paths = tuple(
            (path.depth, path.using, path.required, *(_step_key(step, am, bindparams) for step in path.steps))
            for path in self.paths
        )
        return (Policy, self.mode is None, self.sealed, paths)

    def _adapt_cached_option_to_uncached_option(self, context: Any, uncached_opt: Any) -> Any:
        current: Policy = uncached_opt or self
        if not current.paths and (current.mode is None or type(current.mode) is Lazy):
            # Nobody will ask which objects came together.
            return current
        # Once for every query, and most of what a policy costs one: hence no call of __init__.
        executed = Policy.__new__(Policy)
        executed.paths = self.paths if self.paths and any(_aliased(path) for path in self.paths) else current.paths
        executed.mode = LazyRelationships(current.mode) if current.mode and _internals.all_lazy(context) else current.mode
        executed.batch = current.batch or _internals.shared_of_execution(context, Batch)
        executed.sealed = current.sealed
        return executed

    def process_compile_state(self, compile_state: Any) -> None:
        """Turn the paths into loader options of a statement; called by SQLAlchemy when it compiles one."""
        policies = policies_of(_internals.options_of(_internals.statement_of(compile_state)))
        if policies[-1] is self:
            merged = together(policies)
            expand(merged.paths, compile_state, None, on_touch=merged.mode is not None)

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Sequence[Any]) -> None:
        """Do the same for entities that `with_only_columns()` replaced; called by SQLAlchemy."""
        expand(self.paths, compile_state, mapper_entities, on_touch=self.mode is not None)


def policies_of(options: Iterable[Any]) -> list[Policy]:
    """Return the policies among the options of a statement, the nearest last."""
    return [option for option in options if isinstance(option, Policy)]


def merge(policies: Iterable[Policy]) -> Policy:
    """Combine policies, attribute by attribute.

    Args:
        policies: The nearest first. One with a mode speaks for every attribute, so nothing behind it is asked.

    Returns:
        One policy; where two name the same path, the nearer one's strategy comes first.
    """
    paths: list[Path] = []
    mode: Mode | None = None
    for policy in policies:
        paths += policy.paths
        mode = policy.mode
        if mode is not None or policy.sealed:
            break
    return Policy(tuple(paths), mode)


def together(policies: Sequence[Policy]) -> Policy:
    """Combine the policies among the options of one statement: their paths add up, whatever the order.

    Args:
        policies: The nearest last, at least one.

    Returns:
        One policy, with the mode of the nearest that has one.
    """
    paths: list[Path] = []
    mode: Mode | None = None
    sealed = False
    for policy in reversed(policies):
        paths += policy.paths
        mode = mode or policy.mode
        sealed = policy.sealed
        if sealed:
            break
    return Policy(tuple(paths), mode, sealed=sealed)


def _aliased(path: Path) -> bool:
    return any(isinstance(step, QueryableAttribute) and inspect(step.parent).is_aliased_class for step in path.steps)


def _step_key(step: Step, anon_map: Any, bindparams: list[Any]) -> tuple[Any, ...]:
    if isinstance(step, Named):
        return (step.entity, step.attribute)
    of_type = getattr(step, "_of_type", None)
    return (
        step.parent._gen_cache_key(anon_map, bindparams),
        step.key,
        None if of_type is None else of_type._gen_cache_key(anon_map, bindparams),
        *(criterion._gen_cache_key(anon_map, bindparams) for criterion in step._extra_criteria),
    )


def _frozen(path: Path) -> tuple[Any, ...] | None:
    """Return what of a path survives pickling: attributes of plain classes, without criteria of their own."""
    steps: list[tuple[Any, str]] = []
    for step in path.steps:
        if isinstance(step, Named):
            steps.append((None, str(step)))
        elif _aliased(path) or getattr(step, "_of_type", None) is not None or step._extra_criteria:
            return None
        else:
            steps.append((step.class_, step.key))
    return (tuple(steps), path.depth, path.using, path.required)


def _thaw(paths: Iterable[tuple[Any, ...] | None], mode: Mode | None, batch: Batch | None, sealed: bool) -> Policy:
    thawed = []
    for path in paths:
        if path is not None:
            steps, depth, using, required = path
            found = tuple(Named(*key.split(".")) if owner is None else getattr(owner, key) for owner, key in steps)
            thawed.append(Path(found, depth, using, required))
    return Policy(tuple(thawed), mode, batch, sealed=sealed)


def refuse_unless_policy(given: object, where: str) -> Policy:
    """Return a policy as it is, or say what was given instead.

    Raises:
        UsageError: It is no policy.
    """
    if isinstance(given, Policy):
        return given
    hint = f"write {given.__name__}()" if callable(given) and hasattr(given, "__name__") else "write eager(User.orders)"
    raise UsageError(f"{where}: {given!r} is not a loading policy", hint=hint)
