"""predictive(): what usually follows, across all pagers of a database that name it.

Two tables learn from each client's requests, one after another. The first knows single requests: after page A of this list
comes object B. The second knows templates: after the list of a shop's orders comes the customer with the id that stands in
its first row; there a parameter is only filled in from where it has come from three times in a row (`binding`). Both are
bounded (`transitions`). Requests without a client are not chained: who is to say that they belong together?
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from dal.prefetch.binding import Binding, values_of
from dal.prefetch.bounded import Bounded
from dal.prefetch.requests import Model, Request, Seen, Thought
from dal.prefetch.settings import whole
from dal.prefetch.transitions import CONTEXTS, Transitions

__all__ = ["Predictive", "predictive"]

_CLIENTS, _SESSION = 1024, 1800.0

Bindings = dict[str, Binding]


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """The strategy as it is written down; made by `predictive()`."""

    ahead: int
    name: str = "predictive"

    def begin(self) -> Model:
        """Make a model that has learned nothing yet."""
        return _Habits(self.ahead)


def predictive(*, ahead: int = 1) -> Predictive:
    """Load what usually follows.

    Args:
        ahead: How many of the likeliest requests are considered after each, 1 to 8.

    Returns:
        The strategy, for `db.pager(prefetch=...)`; pagers of one database that name it learn together.

    Raises:
        UsageError: The number is out of range.

    Example:
        >>> predictive().name
        'predictive'
    """
    return Predictive(ahead=whole(ahead, "ahead", least=1, most=8))


class _Habits:
    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._last: Bounded[Hashable, Seen] = Bounded(_CLIENTS)
        self._requests: Transitions[Request, Request] = Transitions()
        self._templates: Transitions[str, str] = Transitions()
        self._bindings: Bounded[tuple[str, str], Bindings] = Bounded(CONTEXTS)

    def observe(self, seen: Seen) -> list[Thought]:
        if seen.client is None:
            return [Thought("nobody said whose request this is: write client=... or using_client(...)")]
        before = self._last.get(seen.client)
        if before is not None and before.request == seen.request:
            return [Thought("the same request again")]
        if before is not None and seen.at - before.at <= _SESSION:
            self._learn(before, seen)
        self._last.put(seen.client, seen)
        return self._likely(seen) or [Thought("nothing has followed this yet")]

    def _learn(self, before: Seen, seen: Seen) -> None:
        self._requests.follow(before.request, seen.request)
        target = seen.request
        if target.position is not None:
            return
        pair = (before.request.template, target.template)
        bindings = self._bindings.get_or_make(pair, _no_bindings)
        guess = _bound(bindings, target.template, before)
        if guess is None or guess == target:
            # While its parameters are still being learned a template counts as right; a wrong guess does not.
            self._templates.follow(*pair)
        for name, value in target.arguments:
            bindings.setdefault(name, Binding()).learn(value, before)

    def _likely(self, seen: Seen) -> list[Thought]:
        found: dict[Request, Thought] = {}
        requests = self._requests.visit(seen.request)
        for edge in requests.likeliest()[: self._ahead]:
            why = f"followed {edge.count - edge.error} of {requests.times} times"
            found[edge.successor] = Thought(why, (edge.successor,), requests.probability(edge))
        templates = self._templates.visit(seen.request.template)
        for known in templates.likeliest()[: self._ahead]:
            bindings = self._bindings.get((seen.request.template, known.successor)) or {}
            target = _bound(bindings, known.successor, seen)
            if target is None or target == seen.request:
                continue
            thought = Thought(
                f"{_told(bindings)}, right {known.count - known.error} of {templates.times} times",
                (target,),
                templates.probability(known),
            )
            if target not in found or found[target].probability < thought.probability:
                found[target] = thought
        return sorted(found.values(), key=lambda each: -each.probability)[: self._ahead]


def _no_bindings() -> Bindings:
    return {}


def _bound(bindings: Bindings, template: str, before: Seen) -> Request | None:
    """Fill in the parameters of a template from a demand, or None where one has no proven source."""
    values = values_of(before)
    arguments: list[tuple[str, Hashable]] = []
    for name, binding in bindings.items():
        source = binding.source()
        if source is None or (source[0] != "constant" and source not in values):
            return None
        arguments.append((name, source[2] if source[0] == "constant" else values[source]))
    return Request(template, tuple(sorted(arguments, key=lambda each: each[0])))


def _told(bindings: Bindings) -> str:
    parts = []
    for name, binding in bindings.items():
        source = binding.source()
        if source is not None:
            kind, of, value = source
            parts.append(f"{name} is always {value!r}" if kind == "constant" else f"{name} from the {kind} {of!r}")
    return ", ".join(parts) or "no parameters"
