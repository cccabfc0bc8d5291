"""Reports side by side: a column each, differences, curves in one figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arcwise.errors import InputError
from arcwise.evaluate.report import Document, Figure, Lines, Section, Table
from arcwise.evaluate.report.beside import find_numbers, place_beside
from arcwise.evaluate.row import Row

pytestmark = pytest.mark.slow

POINTS = ([1e-3, 1e-2, 1.0], [0.5, 0.9, 1.0])


def make(model: str, accuracy: float, *, data: str = "d" * 64, n_curves: int = 1) -> Document:
    curves = {f"curve{k}": POINTS for k in range(n_curves)}
    section = Section(
        "Protocol exact",
        rows=(Row("accuracy", f"{accuracy:.2%}", "mean over folds"), Row(model, "1", "own row")),
        tables=(Table("Worst people", ("person",), (("Ann",),)),),
        figures=(
            Figure("ROC", "", "caption", Lines("roc", curves)),
            Figure("Histogram", "<svg></svg>", "caption"),
        ),
        text="Ten folds.",
    )
    values = [{"accuracy": {"mean": accuracy, "folds": [0.1, 0.2]}, "n": 6000, "tar": None}]
    head = dict.fromkeys(["title", "data", "command", "date"], "same")
    return Document(
        model=model, model_digest="a", data_digest=data, sections=(section,), values=values, **head
    )


def place(*documents: Document) -> Document:
    return place_beside({d.model: d for d in documents}, command="arcwise", date="today")


def find(document: Document, title: str) -> Section:
    return next(section for section in document.sections if section.title == title)


def test_rows_of_one_name_stand_in_one_line() -> None:
    section = find(place(make("A", 0.9), make("B", 0.95)), "Protocol exact")
    table = section.tables[0]
    assert table.columns == ("what", "A", "B", "definition")
    assert table.cells == (
        ("accuracy", "90.00%", "95.00%", "mean over folds"),
        ("A", "1", "n/a", "own row"),
        ("B", "n/a", "1", "own row"),
    )
    assert section.text == "Ten folds."


def test_tables_follow_each_other_with_the_name_of_their_column() -> None:
    section = find(place(make("A", 0.9), make("B", 0.95)), "Protocol exact")
    assert [t.title for t in section.tables[1:]] == ["Worst people: A", "Worst people: B"]


def test_numbers_stand_beside_their_difference_from_the_first() -> None:
    (table,) = find(place(make("A", 0.9), make("B", 0.95)), "All numbers").tables
    assert table.columns == ("number", "A", "B", "B − A")
    assert table.cells == (
        ("0.accuracy.mean", "0.9", "0.95", "+0.05"),
        ("0.n", "6000", "6000", "+0"),
    )


def test_a_number_that_one_report_lacks_has_no_difference() -> None:
    other = replace(make("B", 0.95), values={"auc": 0.5})
    (table,) = find(place(make("A", 0.9), other), "All numbers").tables
    assert table.cells[-1] == ("auc", "n/a", "0.5", "n/a")


def test_curves_come_into_one_figure() -> None:
    joined = place(make("A", 0.9), make("B", 0.95, n_curves=2))
    (figure,) = find(joined, "Protocol exact").figures
    assert figure.lines is not None
    assert list(figure.lines.curves) == ["A", "B: curve0", "B: curve1"]
    assert figure.svg == ""


@pytest.mark.parametrize(("data", "says"), [("d" * 64, "the same data."), ("e", "not measure")])
def test_it_says_whether_the_data_are_the_same(data: str, says: str) -> None:
    joined = place(make("A", 0.9), make("B", 0.95, data=data))
    assert says in find(joined, "Reports").text
    assert joined.data_digest == (data if data == "d" * 64 else "")


def test_sections_that_one_report_lacks_are_kept() -> None:
    bare = replace(make("A", 0.9), sections=())
    joined = place(bare, make("B", 0.95))
    assert find(joined, "Protocol exact").tables[0].cells[0][1:3] == ("n/a", "95.00%")


def test_results_of_all_are_kept_for_machines() -> None:
    joined = place(make("A", 0.9), make("B", 0.95))
    assert joined.values["B"][0]["accuracy"]["mean"] == 0.95


def test_one_report_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to stand beside"):
        place(make("A", 0.9))


def test_lists_of_numbers_truth_and_nulls_are_no_numbers() -> None:
    values = {"a": 1, "b": [1, 2], "c": [{"d": 0.5}, [{"e": 2}]], "f": True, "g": None, "h": "3"}
    assert list(find_numbers(values)) == [("a", 1), ("c.0.d", 0.5), ("c.1.0.e", 2)]


def test_items_of_a_list_are_called_by_their_own_text_or_their_place() -> None:
    values = [
        {"protocol": "exact", "n": 1},
        {"set": "lfw", "n": 2},
        {"name": "A", "n": 3},
        [{"n": 4}],
    ]
    assert dict(find_numbers(values)) == {"exact.n": 1, "lfw.n": 2, "A.n": 3, "3.0.n": 4}
    same = {"at": [{"model": "m", "n": 1}, {"model": "m", "n": 2}, {"name": "0", "n": 3}]}
    assert dict(find_numbers(same)) == {"at.0.n": 1, "at.1.n": 2, "at.2.n": 3}


def test_other_protocols_are_not_held_against_each_other() -> None:
    exact, other = (
        replace(make(name, 0.9), values=[{"protocol": name, "eer": eer}])
        for name, eer in (("exact", 0.1), ("insightface", 0.3))
    )
    (table,) = find(place(exact, other), "All numbers").tables
    assert table.cells == (
        ("exact.eer", "0.1", "n/a", "n/a"),
        ("insightface.eer", "n/a", "0.3", "n/a"),
    )
