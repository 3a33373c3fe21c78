"""Policies by name: what a configuration file says, and the words it may use for `otherwise`."""

from __future__ import annotations

from collections.abc import Mapping

from dal.config import PolicyConfig
from dal.errors import ConfigError
from dal.loading.batched import Batched
from dal.loading.modes import Lazy, Mode
from dal.loading.paths import Named, make_paths
from dal.loading.policy import Policy, merge
from dal.loading.strict import Strict

__all__ = ["MODES", "named_policies"]

MODES: Mapping[str, Mode] = {"lazy": Lazy(), "batched": Batched(), "strict": Strict()}


def named_policies(configured: Mapping[str, PolicyConfig]) -> dict[str, Policy]:
    """Make policies of what a configuration names.

    Args:
        configured: The settings by name. Attributes stay names until a statement shows their classes.

    Returns:
        The policies by name.

    Raises:
        ConfigError: `otherwise` names no policy, or a circle of them.
    """
    return {name: _policy(name, configured, ()) for name in configured}


def _policy(name: str, configured: Mapping[str, PolicyConfig], above: tuple[str, ...]) -> Policy:
    if name in above:
        raise ConfigError(f"policies.{above[0]}.otherwise: {' -> '.join((*above, name))} is a circle", hint="end it with lazy")
    settings = configured[name]
    own = Policy(make_paths(_names(path) for path in settings.eager))
    if settings.otherwise is None:
        return own
    if settings.otherwise in configured:
        return merge([own, _policy(settings.otherwise, configured, (*above, name))])
    mode = MODES.get(settings.otherwise)
    if mode is None:
        known = ", ".join(sorted({*MODES, *configured} - {name}))
        raise ConfigError(f"policies.{name}.otherwise: {settings.otherwise!r} is not a policy", hint=f"known: {known}")
    return Policy(own.paths, mode)


def _names(path: str | tuple[str, ...]) -> Named | tuple[Named, ...]:
    if isinstance(path, str):
        return Named(*path.split("."))
    return tuple(Named(*name.split(".")) for name in path)
