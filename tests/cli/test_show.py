"""What tables print: names are text, never markup."""

from __future__ import annotations

import pytest

from arcwise.cli.show import print_table


def test_titles_columns_and_cells_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["[/t]", "b"], [["[red]x", "\x1b[31m"]], title="[/title]")
    out = capsys.readouterr().out
    assert [word for word in ("[/title]", "[/t]", "[red]x", "\\x1b[31m") if word not in out] == []
