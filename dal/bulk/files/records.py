"""Records of text files: where they end, and how a line of CSV is cut into fields, as COPY would.

A quote anywhere in a field begins a part in which delimiters and line ends are text. Python's `csv` module cannot tell an empty
field, which is NULL, from a quoted one, which is not; COPY does, and so does this.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from dal.errors import FileError

__all__ = ["Fields", "Spans", "copy_ends", "fields_of", "line_starts", "lines_of", "record_at", "transcoded", "without"]

Fields = Callable[[str], list[str | None]]
"""Cuts a record into its fields. One that holds the marker of NULL, and is not quoted, is None."""

_LONGEST = 64 * 1024 * 1024


@lru_cache(maxsize=64)
def fields_of(delimiter: str, quote: str, escape: str | None, null: str = "") -> Fields:
    """Return what cuts a record into fields.

    Args:
        delimiter: Between fields.
        quote: Around fields.
        escape: Before a quote that stands for itself, where quotes are not doubled.
        null: The marker of NULL.

    Example:
        >>> fields_of(",", '"', None)('1,"a,b",,""')
        ['1', 'a,b', None, '']
    """
    q, d, e = re.escape(quote), re.escape(delimiter), re.escape(escape or quote)
    inner = rf"(?:[^{q}{e}]|{e}{q}|{e}{e})*+" if escape else rf"(?:[^{q}]|{q}{q})*+"
    field = re.compile(rf"((?:[^{q}{d}]|{q}{inner}{q}?)*+)(?:{d}|$)", re.DOTALL)
    part = re.compile(rf"{q}({inner}){q}?", re.DOTALL)
    escaped = re.compile(rf"{e}([{q}{e}])")

    def bare(text: str) -> str:
        return part.sub(lambda found: escaped.sub(r"\1", found[1]), text)

    def cut(record: str) -> list[str | None]:
        if quote not in record:
            return [None if text == null else text for text in record.split(delimiter)]
        # The pattern matches once more, and nothing, at the end of the record: that is no field.
        found = field.findall(record + delimiter)[:-1]
        return [bare(text) if quote in text else (None if text == null else text) for text in found]

    return cut


def transcoded(blocks: Iterable[bytes], encoding: str, name: str, *, whole: bool = True) -> Iterator[bytes]:
    """Yield blocks as UTF-8.

    Args:
        blocks: The file's.
        encoding: What they are in.
        name: The file's name, for errors.
        whole: Whether they are all there are; otherwise a character may be cut in two at their end.

    Raises:
        FileError: They are not in that encoding.
    """
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}:
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    for block in _and_end(blocks) if whole else blocks:
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise FileError(
                f"{name}, after line {lines}, is not {encoding}: {error.reason}", hint="name the encoding the file is in"
            ) from None
        lines += text.count("\n")
        if text:
            yield text.encode()


def without(blocks: Iterator[bytes], size: int, name: str) -> Iterator[bytes]:
    """Yield what comes after the first bytes, and no byte order mark.

    Args:
        blocks: UTF-8.
        size: How many bytes are left out, the mark not counted.
        name: The file's name, for errors.

    Raises:
        FileError: There are fewer.
    """
    first = True
    for block in blocks:
        data = block.removeprefix(b"\xef\xbb\xbf") if first else block
        first = False
        if size >= len(data):
            size -= len(data)
        elif size:
            yield data[size:]
            size = 0
        else:
            yield data
    if size:
        raise FileError(f"{name} is shorter than it was", hint="load the file that the checkpoint was made for")


def _and_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b""


class Spans:
    """Cuts blocks into spans of whole records.

    Args:
        quote: The character within which a line end is text; None where there is none.
        escape: The character before a quote that stands for itself.

    Example:
        >>> spans = Spans(quote='"')
        >>> [len(span) for span in spans.cut([b'1,"a', b'b"', bytes([10]), b'2'])]
        [7, 1]
    """

    def __init__(self, *, quote: str | None, escape: str | None = None) -> None:
        self._quote = quote.encode() if quote else None
        self._escaped = re.compile(re.escape(escape).encode() + rb"[\s\S]") if escape else None

    def cut(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield spans that end where a record does.

        Raises:
            FileError: A record does not end.
        """
        carried = b""
        for block in blocks:
            held = carried + block if carried else block
            end = self._end(held)
            if end:
                yield held[:end]
            carried = held[end:]
            if len(carried) > _LONGEST:
                raise FileError(
                    f"a record is longer than {_LONGEST // 1024**2} MiB: a quote that is never closed?",
                    hint="check the quote: dialect=CsvDialect(quote=...)",
                )
        if carried:
            yield carried

    def _end(self, held: bytes) -> int:
        """Return where the last record ends, 0 where none does."""
        end = held.rfind(b"\n") + 1
        if self._quote is None or self._quote not in held:
            return end
        odd = self._quotes(held[:end]) % 2
        while end and odd:
            before = held.rfind(b"\n", 0, end - 1) + 1
            odd = (odd + self._quotes(held[before:end])) % 2
            end = before
        return end

    def _quotes(self, text: bytes) -> int:
        assert self._quote is not None
        if self._escaped is not None:
            text = self._escaped.sub(b"", text)
        return text.count(self._quote)

    def records(self, span: bytes) -> list[bytes]:
        """Return the records of a span, each with its line end."""
        lines = span.splitlines(keepends=True) if b"\r" not in span else re.findall(rb"[^\n]*\n|[^\n]+", span)
        if self._quote is None or self._quote not in span:
            return lines
        found: list[bytes] = []
        begun = b""
        for line in lines:
            begun += line
            if self._quotes(begun) % 2 == 0:
                found.append(begun)
                begun = b""
        if begun:
            found.append(begun)
        return found


def lines_of(record: bytes) -> int:
    """Return how many lines of the file a record takes."""
    return max(1, record.count(b"\n"))


def line_starts(records: Sequence[bytes], data: bytes, line: int = 0) -> Sequence[int]:
    """Return the line that each record begins in, and the one after the last.

    Args:
        records: The records.
        data: The same in one.
        line: The line of the first.
    """
    if data.count(b"\n") + (not data.endswith(b"\n")) == len(records):
        # Each has its own line: the usual thing, and nothing to be counted.
        return range(line, line + len(records) + 1)
    return list(accumulate(map(lines_of, records), initial=line))


def copy_ends(records: Sequence[bytes], *, begins: bool = True) -> Sequence[int]:
    """Return for each record the line after it, as the errors of COPY count lines, from 0.

    Within quotes COPY counts only one character as the end of a line: LF in a file of LF, CR in one of CR LF; and CR too in its
    first record, where it does not know yet which it is.

    Args:
        records: The records.
        begins: Whether the first of them is the first of its COPY.
    """
    windows = records[0].endswith(b"\r\n")
    lines = [max(1, record.count(b"\r" if windows else b"\n")) for record in records]
    if begins and not windows:
        lines[0] = 1 + records[0].count(b"\r")
    return list(accumulate(lines))


def record_at(ends: Sequence[int], index: int) -> int:
    """Return the place of the record that ends in a line that COPY names.

    Args:
        ends: What `copy_ends` returned.
        index: The line, from 0.
    """
    return min(bisect_right(ends, index), len(ends) - 1)
