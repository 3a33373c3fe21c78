"""Which policy answers: the nearest one, attribute by attribute.

From near to far: the statement's own options, the query's `policy=`, the repository's, `using_policy`, the database's,
and last the mapping's own `lazy=`. A policy with an `otherwise` speaks for every attribute, so what lies behind it is
not asked; one without (`eager(...)`) leaves the rest to the next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql.base import Executable

from dal.errors import UsageError
from dal.loading import _internals
from dal.loading.policy import Policy, merge, policies_of, refuse_unless_policy, together

__all__ = ["Policies", "apply_policy", "using_policy"]

INFO_KEY = "dal.policies"

_S = TypeVar("_S", bound=Executable)
_block: ContextVar[tuple[Policy | str, ...]] = ContextVar("dal_policies", default=())
_UNAWARE = Policy(sealed=True)


@dataclass(frozen=True)
class Policies:
    """What a session knows of policies.

    Args:
        default: The policy where nothing nearer is said.
        named: Policies by name.
    """

    default: Policy | None = None
    named: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def sealed(self) -> Policy | None:
        """The default as statements get it that nothing nearer speaks of."""
        return None if self.default is None else _seal(self.default)

    @classmethod
    def of(cls, default: Policy | None, named: Mapping[str, Policy]) -> Policies:
        """Make them of a default, which is silent about paths that a statement does not reach."""
        checked = {name: refuse_unless_policy(policy, f"policies[{name!r}]") for name, policy in named.items()}
        if default is None:
            return cls(None, MappingProxyType(checked))
        return cls(refuse_unless_policy(default, "policy").optional(), MappingProxyType(checked))

    def info(self) -> dict[str, Policies]:
        """Return what goes into the `info` of a sessionmaker or session, and listen if there is a default."""
        if self.default is not None:
            _listen()
        return {INFO_KEY: self}

    def find(self, name: str) -> Policy:
        """Return a policy by name.

        Raises:
            UsageError: There is none of that name.
        """
        try:
            return self.named[name]
        except KeyError:
            pass
        if not self.named:
            raise UsageError(
                f"policy={name!r}: this session knows no policies by name",
                hint="name them under 'policies:' in the configuration file, or call db.bind(session)",
            )
        near = difflib.get_close_matches(name, self.named, n=1)
        known = ", ".join(sorted(self.named))
        raise UsageError(
            f"policy={name!r} is not known", hint=(f"did you mean {near[0]!r}? " if near else "") + f"known policies: {known}"
        )


_NOTHING = Policies()


@contextmanager
def using_policy(policy: Policy | str) -> Iterator[None]:
    """Load by a policy inside a block, in every session, where nothing nearer is said.

    Args:
        policy: The policy, or its name in the configuration of the session that is used.

    Raises:
        UsageError: It is no policy.

    Example:
        >>> from dal import strict, using_policy
        >>> with using_policy(strict()):
        ...     pass  # serve a request, run a test
    """
    checked = policy if isinstance(policy, str) else refuse_unless_policy(policy, "using_policy").optional()
    _listen()
    token = _block.set((checked, *_block.get()))
    try:
        yield
    finally:
        _block.reset(token)


def apply_policy(
    statement: _S, session: Session, query: Policy | str | None = None, repository: Policy | str | None = None
) -> _S:
    """Give a statement the policy that all layers together ask for.

    Args:
        statement: The statement; its own options and policies are the nearest layer.
        session: The session it will run in.
        query: The policy of this call.
        repository: The policy of the repository.

    Returns:
        The statement, with one more option where some layer has something to say.

    Raises:
        UsageError: A name is unknown, or something is no policy.
    """
    known: Policies = session.info.get(INFO_KEY, _NOTHING)
    block = _block.get()
    own = policies_of(_internals.options_of(statement))
    if own and own[-1].sealed:
        return statement
    if not own and query is None and repository is None and not block:
        if known.sealed is not None:
            return statement.options(known.sealed)
        return statement.options(_UNAWARE) if _internals.waits(session) else statement
    layers = [together(own)] if own else []
    layers += [_policy(given, known, "policy") for given in (query, repository) if given is not None]
    layers += [_policy(given, known, "using_policy", optional=True) for given in block]
    if known.default is not None:
        layers.append(known.default)
    return statement.options(_seal(merge(layers)))


def _seal(policy: Policy) -> Policy:
    return Policy(policy.paths, policy.mode, sealed=True)


def _policy(given: Policy | str, known: Policies, where: str, *, optional: bool = False) -> Policy:
    if isinstance(given, str):
        found = known.find(given)
        return found.optional() if optional else found
    return refuse_unless_policy(given, where)


@cache
def _listen() -> None:
    event.listen(Session, "do_orm_execute", _stamp)


def _stamp(execution: ORMExecuteState) -> None:
    if (
        (execution.is_select or execution.is_from_statement)
        and execution.is_orm_statement
        and not execution.is_column_load
        and not execution.is_relationship_load
    ):
        stamped: Any = apply_policy(execution.statement, execution.session)
        execution.statement = stamped
