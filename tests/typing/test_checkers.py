"""The typed calls, checked: the checkers have to accept every line, and to need every `type: ignore`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.mark.parametrize(
    "checker",
    [("mypy", "--explicit-package-bases", "--no-error-summary"), ("pyright", "--pythonpath", sys.executable)],
    ids=lambda checker: checker[0],
)
def test_typed_calls(checker: tuple[str, ...]) -> None:
    pytest.importorskip(checker[0])
    calls = [str(path) for path in sorted(HERE.glob("*_calls.py"))]
    run = subprocess.run([sys.executable, "-m", *checker, *calls], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
