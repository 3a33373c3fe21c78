"""Where in the application a statement came from: the chain of its own frames, from the statement outwards.

Two statements have the same call site when every application frame on the way stands at the same instruction, so two calls
on one line are two places and a loop is one. Frames of libraries are skipped; greenlets of SQLAlchemy's asyncio bridge are
crossed; recursion is folded. Only codes and offsets are kept, never a frame, so nothing of the application is kept alive
(except the outermost frame of the last few requests, which tells one request from the next).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

__all__ = ["CallSite", "Walk", "number_of", "sites_of", "walk"]

_LIBRARY, _APPLICATION, _TEMPLATE, _SESSION, _STOP, _WORKER, _REQUEST, _REPOSITORY, _WEB = range(9)
_MOST_FRAMES = 300
_MOST_PLACES = 24

_SPECIAL = {
    os.path.join("sqlalchemy", "orm", "session.py"): _SESSION,
    os.path.join("asyncio", "events.py"): _STOP,
    os.path.join("asyncio", "base_events.py"): _STOP,
    os.path.join("pluggy", "_callers.py"): _STOP,
    "threading.py": _STOP,
    os.path.join("concurrent", "futures", "thread.py"): _STOP,
    os.path.join("anyio", "_backends", "_asyncio.py"): _WORKER,
    os.path.join("anyio", "_backends", "_trio.py"): _WORKER,
    os.path.join("starlette", "applications.py"): _REQUEST,
    os.path.join("flask", "app.py"): _REQUEST,
    os.path.join("django", "core", "handlers", "base.py"): _REQUEST,
    os.path.join("litestar", "app.py"): _REQUEST,
    os.path.join("celery", "app", "trace.py"): _REQUEST,
}
_WEB_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("starlette", "fastapi", "litestar"))
_REQUEST_FUNCTIONS = frozenset({"__call__", "wsgi_app", "get_response", "get_response_async", "trace_task"})
_HERE = os.path.dirname(os.path.abspath(__file__))
_DAL = os.path.dirname(_HERE)


def _library_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {os.path.abspath(paths[key]) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib") if key in paths}
    return (*sorted(found), _DAL + os.sep)


_ROOTS = _library_roots()
_EXAMPLES = (os.path.join(_DAL, "demo") + os.sep, os.path.join(_DAL, "cli") + os.sep)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_kinds: dict[str, int] = {}
_templates: dict[int, tuple[CodeType, Any]] = {}


def _kind_of(frame: FrameType) -> int:
    """Say what kind of file a frame belongs to, and remember it."""
    filename = frame.f_code.co_filename
    template = frame.f_globals.get("__jinja_template__")
    if template is not None:
        kind = _TEMPLATE
    elif filename.startswith("<") and not filename.startswith("<stdin"):
        kind = _LIBRARY
    else:
        kind = _kind_of_path(os.path.abspath(filename))
    if len(_kinds) > 10_000:
        _kinds.clear()
    if kind != _TEMPLATE:
        _kinds[filename] = kind
    return kind


def _kind_of_path(path: str) -> int:
    if path.startswith((os.path.join(_DAL, "repository") + os.sep, os.path.join(_DAL, "asyncio", "repository"))):
        return _REPOSITORY
    if path.startswith(_EXAMPLES):
        return _APPLICATION
    if not path.startswith(_ROOTS) and not any(part in path for part in _PACKAGES):
        return _APPLICATION
    for ending, special in _SPECIAL.items():
        if path.endswith(os.sep + ending):
            return special
    return _WEB if any(part in path for part in _WEB_PACKAGES) else _LIBRARY


@dataclass(frozen=True, slots=True)
class CallSite:
    """One line of the application.

    Args:
        file: The path as the interpreter knows it, relative to the working directory where it lies below it.
        line: Line number, from 1.
        function: Name of the function.

    Example:
        >>> str(CallSite("app/views.py", 28, "page"))
        'app/views.py:28 in page'
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Walk:
    """What one walk up the stack found.

    Attributes:
        key: One number for each application frame, innermost first: equal keys are equal call sites.
        places: Code and instruction offset behind each number.
        flushing: The statement was sent by a flush.
        repository: A repository of dal was on the way.
        request: The outermost frame of a web framework on the way.
        worker: The stack ended in a thread or task that a web framework started for a request.
    """

    key: tuple[int, ...] = ()
    flushing = False
    repository = False
    request: FrameType | None = None
    web = False
    worker = False

    def __init__(self) -> None:
        self.places: list[tuple[CodeType, int]] = []


def walk(frame: FrameType | None, end: int = 0) -> Walk:  # noqa: C901  one loop without calls: it runs for every statement
    """Walk from a frame outwards and collect the application's own frames.

    Args:
        frame: Where to start, usually the listener's own caller.
        end: The id of the application's frame to end with, 0 for none.

    Returns:
        The chain. Never raises for odd frames.

    Example:
        >>> import sys
        >>> walk(sys._getframe()).flushing
        False
    """
    found = Walk()
    numbers: list[int] = []
    places = found.places
    kind_of = _kinds.get
    greenlet: Any = None
    for _ in range(_MOST_FRAMES):
        if frame is None:
            # SQLAlchemy's asyncio bridge: the coroutine that awaits stands in the greenlet outside.
            greenlet, frame = _outer(greenlet)
            if frame is None:
                break
        code = frame.f_code
        kind = kind_of(code.co_filename)
        if kind is None:
            kind = _kind_of(frame)
        # Most frames are a library's: they cost one look-up.
        if kind:
            if kind == _APPLICATION:
                offset = frame.f_lasti
                number = (id(code) << 16) ^ offset
                if number not in numbers:
                    numbers.append(number)
                    places.append((code, offset))
                    if len(numbers) == _MOST_PLACES:
                        break
                if id(frame) == end:
                    break
            elif kind == _SESSION:
                if code.co_name == "_flush":
                    found.flushing = True
            elif kind == _TEMPLATE:
                _remember_template(code, frame)
                numbers.append((id(code) << 16) ^ frame.f_lasti)
                places.append((code, frame.f_lasti))
            elif _special(found, kind, frame, code):
                break
        frame = frame.f_back
    found.key = tuple(numbers)
    return found


def number_of(code: CodeType, offset: int) -> int:
    """Return the number by which `walk` knows an instruction."""
    return (id(code) << 16) ^ offset


def _special(found: Walk, kind: int, frame: FrameType, code: CodeType) -> bool:
    """Note a frame of special meaning; say whether the walk ends with it."""
    if kind == _REQUEST:
        if code.co_name in _REQUEST_FUNCTIONS:
            found.request = frame
    elif kind == _REPOSITORY:
        found.repository = True
    elif kind == _WEB:
        found.web = True
    elif kind == _WORKER:
        found.worker = code.co_name == "run"
        return found.worker
    else:
        found.worker = found.web and found.request is None
        return True
    return False


def _outer(greenlet: Any) -> tuple[Any, FrameType | None]:
    """Return the greenlet that runs this one, and where it stands."""
    if greenlet is None:
        module = sys.modules.get("greenlet")
        if module is None:
            return None, None
        greenlet = module.getcurrent()
    parent = greenlet.parent
    return parent, parent.gr_frame if parent is not None else None


def _remember_template(code: CodeType, frame: FrameType) -> None:
    if id(code) not in _templates:
        if len(_templates) > 1_000:
            _templates.clear()
        _templates[id(code)] = (code, frame.f_globals.get("__jinja_template__"))


def _line_of(code: CodeType, offset: int) -> int:
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= offset < end and number is not None:
            line = number
    return line


def _shown(path: str) -> str:
    if path.startswith("<"):
        return path
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return path
    return path if relative.startswith("..") else relative.replace(os.sep, "/")


def sites_of(places: list[tuple[CodeType, int]]) -> tuple[CallSite, ...]:
    """Turn places into lines, innermost first; a template's lines are those of its source.

    Args:
        places: Code and offset, as `walk` gives them.

    Returns:
        One call site for each.
    """
    found: list[CallSite] = []
    for code, offset in places:
        line, file, function = _line_of(code, offset), code.co_filename, _name_of(code)
        kept = _templates.get(id(code))
        if kept is not None and kept[0] is code:
            template = kept[1]
            line = template.get_corresponding_lineno(line)
            function = "template" if code.co_name == "root" else f"template {code.co_name}"
            if file.startswith("<"):
                file = template.name or file
        site = CallSite(_shown(file), line, function)
        if not found or found[-1] != site:
            found.append(site)
    return tuple(found)


def _name_of(code: CodeType) -> str:
    """Return the function as its reader calls it: a comprehension or lambda goes by the function it stands in."""
    named = [part for part in code.co_qualname.split(".") if not part.startswith("<")]
    return named[-1] if named else code.co_name
