"""The gate passes the numbers it should and names every one it should not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arcwise.errors import InputError
from arcwise.evaluate.report.gate import Verdict, hold_against, read_expected

FOUND: dict[str, Any] = {
    "version": 1,
    "date": "today",
    "results": [
        {
            "protocol": "exact",
            "accuracy": {"mean": 0.9477, "folds": [0.9, 1.0]},
            "n": 6000,
            "tar": None,
            "is_ok": True,
            "at 0.5": {"x.y": 1.0},
        }
    ],
    "sections": [{"rows": [{"value": 3}]}],
}


def hold(expected: Any, tmp_path: Path, tolerance: float = 0.002) -> Verdict:
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(expected))
    return hold_against(FOUND, read_expected(path), tolerance=tolerance)


def test_dotted_and_nested_names_mean_the_same(tmp_path: Path) -> None:
    dotted = hold({"results.0.accuracy.mean": 0.947}, tmp_path)
    nested = hold({"results": [{"accuracy": {"mean": 0.947}}]}, tmp_path)
    assert dotted == nested == Verdict(1, ())


def test_a_number_beyond_the_tolerance_is_named(tmp_path: Path) -> None:
    verdict = hold({"results.0.accuracy.mean": 0.95, "results.0.n": 6000}, tmp_path)
    assert verdict.n_held == 2
    (deviation,) = verdict.deviations
    assert str(deviation) == "results.0.accuracy.mean is 0.9477, expected 0.95 (-0.0023)"


@pytest.mark.parametrize(("expected", "passes"), [(0.9457, True), (0.9497, True), (0.9498, False)])
def test_the_tolerance_itself_passes(expected: float, passes: bool, tmp_path: Path) -> None:
    verdict = hold({"results.0.accuracy.mean": expected}, tmp_path)
    assert (verdict.deviations == ()) is passes


def test_an_earlier_report_expects_the_numbers_of_its_results_only(tmp_path: Path) -> None:
    earlier = json.loads(json.dumps(FOUND))
    earlier["date"] = "yesterday"
    earlier["sections"] = []
    earlier["results"][0]["protocol"] = "other"
    assert hold(earlier, tmp_path) == Verdict(5, ())
    earlier["results"][0]["accuracy"]["folds"].append(0.8)
    (deviation,) = hold(earlier, tmp_path).deviations
    assert str(deviation) == "results.0.accuracy.folds.2 is missing, expected 0.8"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("results.1.n", 1),
        ("results.0.m", 1),
        ("results.0.tar", 0.5),
        ("results.0.n", None),
        ("results.0.protocol", "insightface"),
        ("results.0.is_ok", 1),
        ("results.0.n", "6000"),
        ("results.-1.n", 6000),
        ("results.0.n.0", 6000),
    ],
)
def test_what_is_missing_or_of_another_kind_deviates(name: str, value: Any, tmp_path: Path) -> None:
    assert len(hold({name: value}, tmp_path, tolerance=10_000).deviations) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("results.0.tar", None),
        ("results.0.is_ok", True),
        ("results.0.protocol", "exact"),
        ("results.0.at 0.5.x.y", 1),
    ],
)
def test_equal_values_of_any_kind_pass(name: str, value: Any, tmp_path: Path) -> None:
    assert hold({name: value}, tmp_path, tolerance=0) == Verdict(1, ())


@pytest.mark.parametrize("text", ["", "[1]", "1", "{}", '{"a": {}}', '{"a": NaN}', "{" * 9999])
def test_a_file_without_numbers_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read_expected(path)


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf")])
def test_a_number_that_no_float_can_hold_is_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results\.0\.n in .* is"):
        hold({"results.0.n": value}, tmp_path)


def test_a_place_beyond_any_list_is_missing(tmp_path: Path) -> None:
    (deviation,) = hold({f"results.{'9' * 5000}.n": 1}, tmp_path).deviations
    assert deviation.found == "missing"


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (deviation,) = hold({"a\x1b[2J": 1}, tmp_path).deviations
    assert str(deviation).startswith("a\\x1b[2J is missing")


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance"):
        hold_against(FOUND, {"results.0.n": 6000}, tolerance=tolerance)
