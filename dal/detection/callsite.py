"""Where in the application a statement came from, as lines to read: the file, the line and the function.

A template's line is that of its source; a comprehension goes by the function it stands in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

__all__ = ["CallSite", "number_of", "remember_template", "sites_of"]

_templates: dict[int, tuple[CodeType, Any]] = {}


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


def number_of(code: CodeType, offset: int) -> int:
    """Return the number by which an instruction is known."""
    return (id(code) << 16) ^ offset


def remember_template(code: CodeType, frame: FrameType) -> None:
    """Keep what is needed to tell the source line of a template's frame."""
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


def sites_of(places: Sequence[tuple[CodeType, int]]) -> tuple[CallSite, ...]:
    """Turn places into lines, innermost first; a template's lines are those of its source.

    Args:
        places: Code and offset, as a trail has them.

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
