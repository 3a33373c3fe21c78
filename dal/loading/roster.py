"""The roster of a session: which of its objects came in which result, by which path.

It is brought up to date when something is touched, by what the session has gained since. Without it every touch would
look at every object of the session, and a loop that loads objects one by one would take the square of their number.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.orm import InstanceState, Session

from dal.loading.touch import Batch
from dal.loading.watch import policy_of

__all__ = ["Roster", "roster_of"]

State = InstanceState[Any]
_Place = tuple[Batch | None, Any]

_FEW = 100


class Roster:
    """The states of a session by the result they came in and their path in it, in the order they came."""

    __slots__ = ("_members", "_seen")

    def __init__(self) -> None:
        self._seen: list[State] = []
        self._members: dict[_Place, list[State]] = {}

    def members(self, session: Session, state: State) -> list[State]:
        """Return the states that came in the result of one of them by the same path.

        Args:
            session: The session of the roster.
            state: The state, of this session and under a policy.

        Returns:
            The states, or all of a small session. One that came again in another way since may be among them.
        """
        states = session.identity_map.all_states()
        if len(states) <= _FEW:
            return states
        if states[: len(self._seen)] != self._seen:
            self._forget()
        self._add(states)
        place = _place(state)
        if state not in self._members.get(place, ()):
            self._forget()
            self._add(states)
        return self._members.get(place, [state])

    def _forget(self) -> None:
        self._seen, self._members = [], {}

    def _add(self, states: list[State]) -> None:
        options: Any = None
        path: Any = None
        members: list[State] = []
        for state in states[len(self._seen) :]:
            if state.load_options is not options or state.load_path is not path:
                options, path = state.load_options, state.load_path
                members = self._members.setdefault(_place(state), [])
            members.append(state)
        self._seen = states


def roster_of(session: Session) -> Roster:
    """Return the roster of a session, which lives as long as the session."""
    roster = _rosters.get(session)
    if roster is None:
        roster = _rosters[session] = Roster()
    return roster


def _place(state: State) -> _Place:
    policy = policy_of(state) if state.load_options else None
    return (policy.batch if policy is not None else None), state.load_path.path


_rosters: WeakKeyDictionary[Session, Roster] = WeakKeyDictionary()
