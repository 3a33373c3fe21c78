"""The panel that a middleware adds to HTML pages in development."""

from __future__ import annotations

from html import escape

from dal.detection.report import Report

__all__ = ["with_panel"]

_STYLE = (
    "position:fixed;right:12px;bottom:12px;z-index:2147483647;max-width:min(44rem,90vw);max-height:70vh;overflow:auto;"
    "font:13px/1.45 system-ui,sans-serif;background:#1f2430;color:#eee;border-radius:8px;padding:8px 12px;text-align:left"
)


def with_panel(page: bytes, report: Report, *, encoding: str = "utf-8") -> bytes:
    """Put the panel before the end of a page.

    Args:
        page: The whole page.
        report: What was found while it was made.
        encoding: How the page is encoded.

    Returns:
        The page with the panel; a page without `</body>` gets it at its end.
    """
    panel = _panel(report).encode(encoding, "xmlcharrefreplace")
    at = page.lower().rfind(b"</body>")
    return page[:at] + panel + page[at:] if at >= 0 else page + panel


def _panel(report: Report) -> str:
    findings = report.findings
    head = f"{report.count} statements, {report.seconds * 1000:.1f} ms"
    head += f", {len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else ""
    items = "".join(
        f"<li style='margin:6px 0'><b>{escape(found.message)}</b><br>{escape(found.call_site)}<br>"
        f"<code style='color:#ffd580'>{escape(found.fix)}</code></li>"
        for found in findings
    )
    rows = "".join(f"<li>{seen.count} &times; {escape(seen.sql[:200])}</li>" for seen in report.statements[:30])
    top = f"<summary style='cursor:pointer'>{head}</summary><ol style='padding-left:1.2em'>{items}</ol>"
    sent = f"<details><summary>statements</summary><ol>{rows}</ol></details>"
    return f"<div id='dal-panel' style='{_STYLE}'><details{' open' if findings else ''}>{top}{sent}</details></div>"
