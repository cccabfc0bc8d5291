"""`arcwise backbones` lists the networks, what each costs and what it takes."""

from __future__ import annotations

import json

import pytest

from arcwise.cli.run import run
from arcwise.nn import BACKBONES


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run(["backbones", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_named_network_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "mbf")
    head, row = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["network", "weights", "multiply-adds", "dimension", "input", "about"]
    words = row.split()
    assert words[:5] == ["mobilefacenet", "2.06", "M", "0.44", "G"]
    assert words[5:9] == ["any", "112", "px", "rgb"]
    assert row.endswith(BACKBONES["mobilefacenet"].about)


def test_json_has_whole_numbers_and_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "resnet_face18", "mbf", "mobilefacenet", "--json")
    first, second = json.loads(out)
    assert code == 0
    assert first == {
        "name": "resnet_face18",
        "weights": 25_627_081,
        "multiply_adds": 2_240_806_912,
        "milliseconds": None,
        "dimension": None,
        "size_px": 128,
        "least_px": None,
        "color": "gray",
        "options": {"se": False},
        "about": BACKBONES["resnet_face18"].about,
    }
    assert second["options"] == {"scale": 2, "blocks": [1, 4, 6, 2]}


def test_a_size_counts_where_a_network_has_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "--size", 64)
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names == ["resnet50", "resnet50_gap"]
    assert out.count("64 px rgb") == 2
    others = len(BACKBONES) - 2
    assert err == f"{others} networks left out that do not take crops of 64 px\n"


def test_the_time_is_measured_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "compact", "--time")
    head, row = out.splitlines()
    assert code == 0
    assert head.split()[3] == "ms"
    assert float(row.split()[5]) > 0
    assert "time of one crop alone" in err


@pytest.mark.parametrize(
    ("words", "code", "complaint", "hint"),
    [
        (["r51"], 6, "no backbone is called 'r51'", "did you mean iresnet50?"),
        (["compact", "--size", "96"], 6, "takes crops of 112 px, not of 96", "made for 112 px"),
        (["--size", "20"], 2, "no network takes crops of 20 px", "--size is 32 or more"),
    ],
)
def test_what_is_not_there_is_one_complaint(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, complaint: str, hint: str
) -> None:
    found, out, err = call(capsys, *words)
    assert (found, out) == (code, "")
    assert complaint in err
    assert hint in err


@pytest.mark.slow
def test_all_networks_are_listed_in_the_order_of_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = call(capsys)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(BACKBONES)
