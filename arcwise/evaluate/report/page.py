"""The HTML page of a report, filled into page.html.j2.

It does not know what is measured. The page is one file: styles and drawings inside it, photos as
data: addresses, nothing loaded from anywhere. The one owner of jinja2.
"""

from __future__ import annotations

from pathlib import Path

from arcwise.errors import InputError

try:
    import jinja2
except ModuleNotFoundError as exc:  # reports in JSON and Markdown go without
    if (exc.name or "").split(".")[0] != "jinja2":
        raise
    jinja2 = None  # type: ignore[assignment]

_TEMPLATE = Path(__file__).with_name("page.html.j2")


def check_page() -> None:
    """Make sure that a page can be written.

    Raises:
        InputError: jinja2 is not installed.
    """
    if jinja2 is None:
        raise InputError("jinja2 is not installed", hint="pip install 'arcwise[report]'")


def render_page(**parts: object) -> str:
    """Fill the page.

    Args:
        parts: `document`, a report.Document, and `head`, its facts as (label, text); every text
            of them is escaped, only the SVG of figures goes in as it is.

    Returns:
        The HTML, whole.

    Raises:
        InputError: jinja2 is not installed.
    """
    check_page()
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(**parts)
