"""CsvDialect: how a CSV file is written, and how that is found out.

The delimiter is the one that cuts the first line into names the mapping knows; where there are no names, the one that cuts
every line alike. The marker of NULL is the one text in columns of numbers and times that is neither.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from dal.bulk.files.records import Fields, fields_of
from dal.errors import ConfigError, FileError

__all__ = ["CsvDialect", "detected", "encoding_of", "null_marker"]

_DELIMITERS = (",", ";", "\t", "|", ":")
_QUOTES = ('"', "'")
_NULLS = {"NA", "NULL", "null", "\\N", "N/A", "n/a", "None", "nan", "NaN", "-", "?"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 200


@dataclass(frozen=True, kw_only=True)
class CsvDialect:
    """How a CSV file is written; what is None is found out.

    Args:
        delimiter: One character between fields.
        quote: The character around fields that hold a delimiter; doubled, it stands for itself.
        escape: The character before a quote that stands for itself, where quotes are not doubled.
        null: What an unquoted field that is NULL holds.
        encoding: Python's name of the encoding.

    Raises:
        ConfigError: One of them is no single ASCII character, two are the same, or the encoding is unknown.

    Example:
        >>> CsvDialect(delimiter=";", encoding="cp1252").delimiter
        ';'
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    null: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("delimiter", "quote", "escape")}
        for name, value in given.items():
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n"):
                raise ConfigError(f"{name}: {value!r} is not accepted", hint=f"write one ASCII character, such as {name}=';'")
        if self.delimiter is not None and self.delimiter in (self.quote, self.escape):
            raise ConfigError(f"delimiter: {self.delimiter!r} is the quote or escape too", hint="write different characters")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ConfigError(
                    f"encoding: {self.encoding!r} is unknown", hint="such as 'utf-8', 'cp1252', 'latin-1'"
                ) from None

    @property
    def fields(self) -> Fields:
        """What cuts a line of this dialect into fields."""
        return fields_of(self.delimiter or ",", self.quote or '"', self.escape, self.null or "")


def encoding_of(start: bytes, given: str | None) -> str:
    """Tell the encoding of a file by its first bytes: a byte order mark, else UTF-8.

    Args:
        start: The first bytes, cut anywhere.
        given: What the caller said.

    Raises:
        FileError: It is not UTF-8.
    """
    marked = next((name for mark, name in _BOMS if start.startswith(mark)), None)
    if given is not None:
        return marked if marked is not None and codecs.lookup(given).name in {"utf-8", "utf-16", "utf-32"} else given
    if marked is not None:
        return marked
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError as error:
        line = start[: error.start].count(b"\n") + 1
        raise FileError(
            f"line {line} is not UTF-8: {start[error.start]:#04x} stands there",
            hint="name the encoding: dialect=CsvDialect(encoding='cp1252')",
        ) from None
    return "utf-8"


def detected(sample: str, given: CsvDialect, known: Callable[[str], bool]) -> CsvDialect:
    """Find out what the caller did not say of delimiter, quote and escape.

    Args:
        sample: Whole lines from the start of the file.
        given: What the caller said.
        known: Tells whether a field of the first line names something of the mapping.
    """
    lines = sample.splitlines()[:_SAMPLE]
    # Of what scores alike the first counts: a quote that is seen before one that is only usual.
    quotes = [given.quote] if given.quote else [*(quote for quote in _QUOTES if _wraps(quote, lines)), '"']
    choices = [
        replace(given, delimiter=delimiter, quote=quote, escape=given.escape or _escape(quote, sample))
        for delimiter in ([given.delimiter] if given.delimiter else _DELIMITERS)
        for quote in quotes
    ]
    return max(choices, key=lambda choice: _score(choice, lines, known))


def _wraps(quote: str, lines: Sequence[str]) -> bool:
    return sum(line.startswith(quote) or line.endswith(quote) for line in lines) > len(lines) // 2


def _escape(quote: str, sample: str) -> str | None:
    # One character is looked for many times faster than two.
    return "\\" if "\\" in sample and f"\\{quote}" in sample and quote * 2 not in sample.replace(quote * 2 + ",", "") else None


def _score(choice: CsvDialect, lines: Sequence[str], known: Callable[[str], bool]) -> tuple[int, float, int]:
    if not lines:
        return 0, 0.0, 0
    cut = choice.fields
    first = cut(lines[0])
    counts = Counter(len(cut(line)) for line in lines)
    width, alike = counts.most_common(1)[0]
    named = sum(field is not None and known(field) for field in first)
    return named, alike / len(lines) if width > 1 else 0.0, width


def null_marker(columns: Iterable[tuple[Callable[[str], object], Sequence[str | None]]]) -> str:
    """Find what stands for NULL, by columns that are not text.

    Args:
        columns: For each, what reads a value of it, and some of its unquoted fields.

    Returns:
        The marker; an empty field where none was found.
    """
    found: Counter[str] = Counter()
    for read, values in columns:
        for value in values:
            if value in _NULLS and not _reads(read, value):
                found[value] += 1
    return found.most_common(1)[0][0] if found else ""


def _reads(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except (ValueError, TypeError, ArithmeticError, LookupError):
        return False
    return True
