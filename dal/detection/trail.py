"""The way from a statement out to the application: how it is walked, and how it is known again without walking.

Two statements have the same call site when every application frame on the way stands at the same instruction, so two calls
on one line are two places and a loop is one. Frames of libraries are skipped; greenlets of SQLAlchemy's asyncio bridge are
crossed; recursion is folded. Only codes and offsets are kept, never a frame, so nothing of the application is kept alive.

To walk costs more than all the rest, so a way is taken once and then recognised: the application's frames stand as deep in
the stack as the last time, at the same instructions, and where the walk ended then, it would end now. `sys._getframe` reaches
them without a look at the library's frames between.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Any

from dal.detection import frames
from dal.detection.callsite import number_of, remember_template

__all__ = ["Trail", "recognise", "walk"]

_MOST_FRAMES = 300
_MOST_PLACES = 24
_ANY = -1

_getframe = sys._getframe
Step = tuple[int, CodeType, int]


class Trail:
    """One way from a statement out to the application.

    Attributes:
        key: One number for each application frame, innermost first: equal keys are equal call sites.
        places: Code and instruction offset behind each number.
        flushing: The statement was sent by a flush.
        repository: A repository of dal was on the way.
        worker: The stack ended in a thread or task that a web framework started for a request.
        in_request: It leads to a request, in a worker or below the outermost frame of a web framework.
    """

    __slots__ = (
        "end", "ended", "flushing", "greenlets", "in_request", "key", "places", "repository", "request_at", "steps", "worker",
    )  # fmt: skip

    def __init__(self, end: int) -> None:
        self.key: tuple[int, ...] = ()
        self.places: list[tuple[CodeType, int]] = []
        self.flushing = self.repository = self.worker = self.in_request = False
        # How to know it again. Steps are (how deep, code, offset); 0 is the frame right above the step before.
        self.end = end
        self.ended = False
        self.steps: Sequence[Step] = ()
        # The stacks of the greenlets outside: (frames further out, code, offset), each from its innermost frame.
        self.greenlets: Sequence[Sequence[Step]] = ()
        self.request_at: tuple[int, int] | None = None

    def request(self) -> FrameType | None:
        """Return the outermost frame of a web framework on the way; to be asked where `recognise` was called."""
        if self.request_at is None:
            return None
        stack, depth = self.request_at
        if not stack:
            return _getframe(depth)
        frame: FrameType | None = None
        greenlet: Any = None
        for _ in range(stack):
            greenlet, frame = _outside(greenlet)
        for _ in range(depth):
            frame = frame.f_back if frame is not None else None
        return frame


def recognise(trails: Sequence[Trail], end: int) -> Trail | None:
    """Return the one of some trails on which the caller stands, or None.

    Args:
        trails: Trails that were walked from the same function.
        end: The id of the application's frame to end with, 0 for none.
    """
    frame: Any = None
    for trail in trails:
        try:
            for depth, code, offset in trail.steps:
                frame = _getframe(depth) if depth else frame.f_back  # pyright: ignore[reportOptionalMemberAccess]  the first has one
                if frame.f_code is not code or (frame.f_lasti != offset and offset >= 0):
                    break
            else:
                if trail.greenlets:
                    frame = _recognise_outside(trail.greenlets)
                    if frame is None:
                        continue
                if (id(frame) == end) if trail.ended else trail.end == end:
                    return trail
        except (ValueError, AttributeError):
            # The stack is not that deep.
            continue
    return None


def _recognise_outside(stacks: Sequence[Sequence[Step]]) -> FrameType | None:
    greenlet: Any = None
    frame: Any = None
    for steps in stacks:
        greenlet, frame = _outside(greenlet)
        for hops, code, offset in steps:
            for _ in range(hops):
                frame = frame.f_back
            if frame.f_code is not code or (frame.f_lasti != offset and offset >= 0):
                return None
    return frame  # type: ignore[no-any-return]


class _Walker:
    """A walk under way: the stacks of greenlets one after the other, the steps in each."""

    def __init__(self) -> None:
        self.stacks: list[list[Step]] = [[]]
        self.last = -1

    def step(self, depth: int, code: CodeType, offset: int) -> None:
        """Note a frame to know the trail by."""
        if len(self.stacks) == 1:
            self.stacks[0].append((0 if self.last >= 0 and depth == self.last + 1 else depth, code, offset))
        else:
            self.stacks[-1].append((depth - max(self.last, 0), code, offset))
        self.last = depth

    def close(self, depth: int, frame: FrameType) -> None:
        """Note the last frame of a stack."""
        if depth != self.last:
            self.step(depth, frame.f_code, _ANY)

    def cross(self) -> None:
        """Go on in the stack of the greenlet outside."""
        self.stacks.append([])
        self.last = -1


def walk(frame: FrameType | None, end: int = 0, depth: int = 0) -> Trail:  # noqa: C901  one loop: it may run for every statement
    """Walk from a frame outwards and collect the application's own frames.

    Args:
        frame: Where to start.
        end: The id of the application's frame to end with, 0 for none.
        depth: How far out the frame stands from the function that will call `recognise`.

    Returns:
        The trail. Never raises for odd frames.

    Example:
        >>> import sys
        >>> walk(sys._getframe()).flushing
        False
    """
    found = Trail(end)
    walker = _Walker()
    numbers: list[int] = []
    places = found.places
    known = frames.known.get
    greenlet: Any = None
    last = frame
    web = False
    for _ in range(_MOST_FRAMES):
        if frame is None:
            # SQLAlchemy's asyncio bridge: the coroutine that awaits stands in the greenlet outside.
            if last is not None:
                walker.close(depth - 1, last)
            greenlet, frame = _outside(greenlet)
            if frame is None:
                break
            walker.cross()
            depth = 0
        code = frame.f_code
        kind = known(code.co_filename)
        if kind is None:
            kind = frames.kind_of(frame)
        # Most frames are a library's: they cost one look-up.
        if kind:
            if kind == frames.APPLICATION or kind == frames.TEMPLATE:
                offset = frame.f_lasti
                number = number_of(code, offset)
                walker.step(depth, code, offset)
                if kind == frames.TEMPLATE:
                    remember_template(code, frame)
                if number not in numbers:
                    numbers.append(number)
                    places.append((code, offset))
                    if len(numbers) == _MOST_PLACES:
                        break
                if id(frame) == end:
                    found.ended = True
                    break
            elif kind == frames.SESSION:
                found.flushing = found.flushing or code.co_name == "_flush"
            elif kind == frames.REPOSITORY:
                found.repository = True
            elif kind == frames.WEB:
                web = True
            elif kind == frames.REQUEST:
                if code.co_name in frames.REQUEST_FUNCTIONS:
                    found.request_at = (len(walker.stacks) - 1, depth)
                    walker.step(depth, code, _ANY)
            elif kind == frames.STOP or code.co_name == "run":
                found.worker = kind == frames.WORKER or (web and found.request_at is None)
                walker.close(depth, frame)
                break
        last, frame = frame, frame.f_back
        depth += 1
    found.key = tuple(numbers)
    found.in_request = found.worker or found.request_at is not None
    found.steps, *found.greenlets = (tuple(steps) for steps in walker.stacks)
    return found


def _outside(greenlet: Any) -> tuple[Any, FrameType | None]:
    """Return the greenlet that runs this one, and where it stands."""
    if greenlet is None:
        module = sys.modules.get("greenlet")
        if module is None:
            return None, None
        greenlet = module.getcurrent()
    parent = greenlet.parent
    return parent, parent.gr_frame if parent is not None else None
