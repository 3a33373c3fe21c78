from __future__ import annotations

import os
from pathlib import Path

import pytest

from dal.embedded.template import copy_template

unprivileged = pytest.mark.skipif(os.geteuid() == 0, reason="the cache of root has a fixed place")


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").write_bytes(os.urandom(333))
    return tmp_path / "bin"


@unprivileged
def test_made_once_and_copied(binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[Path] = []

    def make(target: Path) -> None:
        made.append(target)
        target.mkdir(mode=0o700)
        (target / "PG_VERSION").write_text("18")

    for name in ("one", "two"):
        copy_template(tmp_path / name, binaries=binaries, make=make)
        assert (tmp_path / name / "PG_VERSION").read_text() == "18"
    assert len(made) == 1
    (binaries / "postgres").write_bytes(b"other programs")
    copy_template(tmp_path / "three", binaries=binaries, make=make)
    assert len(made) == 2


@unprivileged
@pytest.mark.parametrize("spoil", ["writable by others", "a file"])
def test_cache_that_cannot_be_trusted_is_not_used(
    binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    cache = tmp_path / "cache" / "dal" / "clusters"
    if spoil == "a file":
        cache.parent.mkdir(parents=True)
        cache.touch()
    else:
        cache.mkdir(parents=True)
        cache.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy_template(tmp_path / "made", binaries=binaries, make=Path.mkdir)
    assert (tmp_path / "made").is_dir()
    assert not cache.is_dir() or not any(cache.iterdir())
