"""Reports as files; the HTML page is opened in a real browser where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal.detection import detect
from dal.detection.baseline import Baseline
from dal.detection.reports import ScopeRecord, record, write_report
from dal.detection.reports.github import as_github
from dal.errors import ConfigError, UsageError
from tests.detection.scenarios.models import Base, User, seed


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


@pytest.fixture
def scopes(engine: Engine) -> list[ScopeRecord]:
    with Session(engine) as session, detect(timeline=50) as bad:
        for user in session.scalars(select(User)):
            len(user.posts)
    with Session(engine) as session, detect(timeline=50) as good:
        session.scalars(select(User)).all()
    return [record(good, "test_good"), record(bad, "test_bad <script>")]


def test_record(scopes: list[ScopeRecord]) -> None:
    good, bad = scopes
    assert (good["statements"], good["findings"]) == (1, [])
    (finding,) = bad["findings"]
    assert (finding["function"], finding["queries"]) == ("scopes", 6)
    assert [number for *_, number in bad["timeline"]] == [-1, 0, 0, 0, 0, 0, 0]
    assert json.loads(json.dumps(scopes))[0]["name"] == "test_good"


def test_github_escapes(scopes: list[ScopeRecord]) -> None:
    (line,) = as_github(scopes, level="error")
    assert line.startswith("::error file=tests/detection/test_reports.py,line=")
    assert "\n" not in line
    assert "%0Awrite: .options(selectinload(User.posts))" in line


def test_same_place_is_one_result(scopes: list[ScopeRecord], tmp_path: Path) -> None:
    write_report(tmp_path / "out.sarif", [*scopes, *scopes])
    results = json.loads((tmp_path / "out.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert len(results) == 1
    assert len(results[0]["partialFingerprints"]["dal/v1"]) == 32


def test_no_such_format(scopes: list[ScopeRecord], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no report has this ending"):
        write_report(tmp_path / "out.xml", scopes)


def test_baseline(scopes: list[ScopeRecord], tmp_path: Path) -> None:
    made = Baseline.of(scopes)
    made.write(tmp_path / "known.json")
    read = Baseline.read(tmp_path / "known.json")
    assert len(read) == 1
    assert read.knows(scopes[1]["findings"][0])
    assert len(read.shrunk([scopes[0]])) == 1, "its test did not run"
    cured: ScopeRecord = {**scopes[1], "findings": []}
    assert len(read.shrunk([cured])) == 0
    (tmp_path / "known.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a baseline"):
        Baseline.read(tmp_path / "known.json")


def test_page_in_a_browser(scopes: list[ScopeRecord], tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed")
    page = tmp_path / "out.html"
    write_report(page, scopes)
    command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")
    done = subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    shown = done.stdout.decode()
    assert '<span id="seen">2</span>' in shown, "its script ran"
    assert shown.count("<rect") == 8
    assert "<h2>test_bad &lt;script&gt;</h2>" in shown
    assert "len(user.posts)" in shown.partition("<mark>")[2].partition("</mark>")[0]
    assert shown.index("test_bad") < shown.index("test_good"), "what was found comes first"
    assert "http" not in page.read_text(encoding="utf-8").replace('<meta http-equiv="', ""), "it loads nothing"
