"""One self-contained page: every test with a time line of its statements, its findings, and the code around each line.

It loads nothing from anywhere, so it can be attached to a build and opened years later.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from html import escape

from dal.detection.reports.record import FindingRecord, ScopeRecord

__all__ = ["as_html"]

_MOST_SCOPES = 500
_COLORS = ("#c0392b", "#8e44ad", "#d35400", "#2471a3", "#117a65", "#7d6608")

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1.5rem}
h1{font-size:1.4rem}h2{font-size:1rem;margin:0;display:inline}
header p{margin:.2rem 0}
details{border:1px solid var(--line);border-radius:6px;margin:.6rem 0;padding:.5rem .8rem}
summary{cursor:pointer}
.count{float:right;opacity:.75}
svg{display:block;width:100%;height:34px;background:var(--soft);border-radius:4px;margin:.5rem 0}
rect{fill:#8899aa}rect:hover{opacity:.6}
article{border-left:4px solid;padding:.2rem .8rem;margin:.8rem 0}
pre{overflow-x:auto;background:var(--soft);padding:.5rem;border-radius:4px;margin:.4rem 0;font-size:13px}
pre mark{display:inline-block;min-width:100%}
code.fix{font-weight:600}
.stack{opacity:.75;font-size:.85rem}
input{font:inherit;padding:.3rem .5rem;width:100%;box-sizing:border-box;margin:.6rem 0}
[hidden]{display:none}
"""
_SCRIPT = """
const box=document.getElementById('filter'),only=document.getElementById('only');
function show(){let seen=0;const word=box.value.toLowerCase();
for(const d of document.querySelectorAll('details.scope')){
const hit=d.textContent.toLowerCase().includes(word)&&(!only.checked||d.dataset.findings!=='0');
d.hidden=!hit;if(hit)seen++;}
document.getElementById('seen').textContent=seen;}
box.addEventListener('input',show);only.addEventListener('change',show);show();
"""


def as_html(scopes: Sequence[ScopeRecord]) -> str:
    """Write the page.

    Args:
        scopes: What was observed; those with findings come first.
    """
    ordered = sorted(scopes, key=lambda scope: (-len(scope["findings"]), -scope["statements"]))
    shown = ordered[:_MOST_SCOPES]
    statements = sum(scope["statements"] for scope in scopes)
    findings = sum(len(scope["findings"]) for scope in scopes)
    saves = sum(finding["saves"] for scope in scopes for finding in scope["findings"])
    left = f"<p>{len(ordered) - len(shown)} more without findings are not shown.</p>" if len(ordered) > len(shown) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>N+1: {findings} findings</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{findings} finding{'' if findings == 1 else 's'} in {statements} statements</h1>"
        f"<p>{saves} statements could be saved. Observed: {len(scopes)}.</p></header>"
        '<input id="filter" placeholder="filter by test, file, relationship, SQL">'
        '<label><input type="checkbox" id="only" style="width:auto"> only with findings</label> '
        '(<span id="seen"></span> shown)'
        f"<main>{''.join(_scope(scope) for scope in shown)}</main>{left}<script>{_SCRIPT}</script></body></html>"
    )


def _scope(scope: ScopeRecord) -> str:
    found = scope["findings"]
    what = f"{len(found)} finding{'' if len(found) == 1 else 's'}, " if found else ""
    return (
        f'<details class="scope" data-findings="{len(found)}"{" open" if found else ""}>'
        f'<summary><h2>{escape(scope["name"])}</h2><span class="count">{what}{scope["statements"]} statements, '
        f"{scope['seconds'] * 1000:.1f} ms</span></summary>{_timeline(scope)}"
        f"{''.join(_finding(finding, number) for number, finding in enumerate(found))}</details>"
    )


def _timeline(scope: ScopeRecord) -> str:
    ticks = scope["timeline"]
    if not ticks:
        return ""
    end = max(start + seconds for start, seconds, _, _ in ticks) or 1e-9
    bars = []
    for start, seconds, shape, number in ticks:
        color = f' style="fill:{_COLORS[number % len(_COLORS)]}"' if number >= 0 else ""
        title = escape(f"{start * 1000:.2f} ms, took {seconds * 1000:.2f} ms\n{shape}")
        bars.append(
            f'<rect x="{start / end * 1000:.2f}" y="4" width="{max(seconds / end * 1000, 1.5):.2f}" height="26"{color}>'
            f"<title>{title}</title></rect>"
        )
    return f'<svg viewBox="0 0 1000 34" preserveAspectRatio="none" role="img">{"".join(bars)}</svg>'


def _finding(finding: FindingRecord, number: int) -> str:
    site = f"{finding['file']}:{finding['line']} in {finding['function']}"
    parents = f"<p>parents loaded at {escape(finding['loaded_at'])}</p>" if finding["loaded_at"] else ""
    others = "".join(f"<br>or <code>{escape(line)}</code>" for line in finding["alternatives"])
    stack = "<br>".join(escape(line) for line in finding["stack"][1:])
    return (
        f'<article style="border-color:{_COLORS[number % len(_COLORS)]}"><p><strong>{escape(finding["message"])}</strong> '
        f"({finding['seconds'] * 1000:.1f} ms)<br>{escape(site)}</p>{_code(finding)}{parents}"
        f'<p>write <code class="fix">{escape(finding["fix"])}</code>{others}</p>'
        f'<p class="stack">{stack}</p><details><summary>SQL</summary><pre>{escape(finding["sql"])}</pre></details></article>'
    )


def _code(finding: FindingRecord, around: int = 3) -> str:
    lines = []
    for number in range(max(finding["line"] - around, 1), finding["line"] + around + 1):
        text = linecache.getline(finding["file"], number)
        if text:
            line = f"{number:5d}  {escape(text.rstrip())}"
            lines.append(f"<mark>{line}</mark>" if number == finding["line"] else line)
    return f"<pre>{chr(10).join(lines)}</pre>" if lines else ""
