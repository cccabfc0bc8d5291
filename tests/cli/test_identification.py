"""Searching a gallery as a person types it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from arcwise.cli.run import run
from arcwise.recognizer import Recognizer
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_photo
from tests.cli.album import Call, draw_album, fake_call, save_album

N_PEOPLE = 8


@pytest.fixture(scope="session")
def drawn() -> dict[str, DrawnPhoto]:
    """Three photos of each of eight drawn people, called PERSON/FILE."""
    return draw_album(N_PEOPLE, 3)


@pytest.fixture(scope="session")
def album(drawn: dict[str, DrawnPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_album(drawn, tmp_path_factory.mktemp("album") / "people")


@pytest.fixture
def people(album: Path, tmp_path: Path) -> Path:
    """The same photos, to change."""
    return Path(shutil.copytree(album, tmp_path / "people"))


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: dict[str, DrawnPhoto],
) -> Call:
    return fake_call(
        capsys, monkeypatch, drawn, modules=("identification",), words=("evaluate", "gallery")
    )


def results_of(call: Call, *arguments: object) -> dict[str, Any]:
    code, out, err = call("--on-leak", "ignore", *arguments, "--json")
    assert code == 0, err
    results: dict[str, Any] = json.loads(out)["results"]
    return results


def test_one_photo_of_each_is_the_gallery_and_the_others_are_searched_for(
    call: Call, album: Path
) -> None:
    results = results_of(call, album)
    assert results["gallery"] == {f"p{i}/0.png": f"p{i}" for i in range(N_PEOPLE)}
    assert len(results["probes"]) == 2 * N_PEOPLE
    (row,) = results["rows"]
    assert row["ranks"][0]["found"]["n"] == 16
    assert (row["n_mated"], row["n_non_mated"]) == (16, 0)
    assert row["name"] == FakeEmbedder().name


def test_more_photos_of_each_drawn_with_a_seed(call: Call, album: Path) -> None:
    first, again, other = (
        results_of(call, album, "--per-person", 2, "--seed", seed) for seed in (1, 1, 2)
    )
    assert first["gallery"] == again["gallery"] != other["gallery"]
    assert first["rows"] == again["rows"]
    assert len(first["gallery"]) == 2 * N_PEOPLE


def test_people_left_out_are_strangers(call: Call, album: Path) -> None:
    results = results_of(call, album, "--non-mated", 0.25, "--sizes", "3")
    assert len(results["left_out"]) == 2
    (row,) = results["rows"]
    assert (row["n_people"], row["n_mated"], row["n_non_mated"]) == (6, 12, 6)
    assert row["dirs"]
    assert row["det_fpir"][-1] == 1
    assert [size["n_people"] for size in row["sizes"]["sizes"]] == [3, 6]


def test_probes_from_another_folder_are_searched_in_all_of_the_first(
    call: Call, people: Path, tmp_path: Path
) -> None:
    apart = tmp_path / "apart"
    for person in (1, 2):
        (apart / f"p{person}").mkdir(parents=True)
        (people / f"p{person}" / "2.png").rename(apart / f"p{person}" / "0.png")
    shutil.move(people / "p7", apart / "p7")
    results = results_of(call, people, "--probes", apart)
    (row,) = results["rows"]
    assert (row["n_templates"], row["n_mated"], row["n_non_mated"]) == (19, 2, 3)


def test_a_copy_of_a_gallery_photo_is_told(call: Call, people: Path) -> None:
    shutil.copy(people / "p1/0.png", people / "p3/9.png")
    code, out, err = call(people)
    assert code == 0, err
    assert "p3/9.png is p1/0.png" in err
    line = next(line for line in out.splitlines() if line.startswith("probes in the gallery"))
    assert int(line.split()[4]) >= 1
    assert "all pixels" in out


def test_copies_can_be_dropped_or_refused(call: Call, people: Path) -> None:
    shutil.copy(people / "p1/0.png", people / "p3/9.png")
    code, out, _ = call(people, "--on-leak", "drop", "--json")
    assert code == 0
    results = json.loads(out)["results"]
    assert "p3/9.png" not in results["probes"]
    assert any(leak["is_exact"] for leak in results["leaks"])
    code, _, err = call(people, "--on-leak", "error")
    assert code == 6
    assert "of the gallery" in err
    assert "--on-leak drop" in err


def test_photos_under_two_people_are_told_whatever_becomes_of_leaks(
    call: Call, people: Path
) -> None:
    """p1/9 and p3/9 are probes, p0/0 and p5/0 of the gallery."""
    shutil.copy(people / "p2/1.png", people / "p1/9.png")
    shutil.copy(people / "p2/1.png", people / "p3/9.png")
    shutil.copy(people / "p0/0.png", people / "p5/0.png")
    code, out, err = call(people)
    assert code == 0, err
    assert "p5/0.png is p0/0.png, and they are said to show two people" in err
    assert "p3/9.png is p1/9.png, and they are said to show two people" in err
    assert "Photos under two people" in out
    doubles = json.loads(call(people, "--json")[1])["results"]["doubles"]
    exact = {
        side: [double["photo"] for double in found if double["is_exact"]]
        for side, found in doubles.items()
    }
    assert exact == {"gallery": ["p5/0.png"], "probes": ["p2/1.png", "p3/9.png"]}
    row = next(line for line in out.splitlines() if line.startswith("photos under two people"))
    assert str(sum(map(len, doubles.values()))) in row.split()


def test_ten_photos_under_two_people_are_named(call: Call, people: Path) -> None:
    for number in range(12):
        shutil.copytree(people / "p0", people / f"q{number:02}")
    code, _, err = call(people)
    assert code == 0, err
    assert err.count("said to show two people") == 10
    assert "more photos under two people" in err


def test_what_is_not_looked_for_is_not_said_to_be_none(call: Call, album: Path) -> None:
    code, out, _ = call(album, "--on-leak", "ignore")
    assert code == 0
    for row in ("probes in the gallery", "photos under two people"):
        line = next(line for line in out.splitlines() if line.startswith(row))
        assert "n/a: not looked for" in line
    results = results_of(call, album)
    assert results["leaks"] is results["doubles"] is None


def test_failed_reads_are_counted_in_the_total(call: Call, people: Path) -> None:
    (people / "p2/1.png").write_bytes(b"no photo")
    (people / "p3/0.png").write_bytes(b"no photo")
    (row,) = results_of(call, people)["rows"]
    assert row["ranks"][0]["found"]["n"] == 16
    assert row["n_failed_mated"] == 3
    assert row["not_enrolled"] == ["p3"]
    assert row["failed_probes"][0]["name"] == "p2/1.png"
    (row,) = results_of(call, people, "--failed", "leave_out")["rows"]
    assert row["ranks"][0]["found"]["n"] == 13


def test_several_models_stand_side_by_side(call: Call, album: Path) -> None:
    code, out, err = call(album, "--model", "a", "--model", "b", "--on-leak", "ignore")
    assert code == 0, err
    name = FakeEmbedder().name
    assert f"{name} (2)" in out


def test_the_baseline_is_a_row_of_its_own(call: Call, album: Path) -> None:
    pytest.importorskip("sklearn")
    results = results_of(call, album, "--baseline", "--per-person", 2)
    assert [row["name"] for row in results["rows"]] == [FakeEmbedder().name, "PCA + SVM"]
    assert results["rows"][1]["ranks"][0]["found"]["n"] == 8


def test_ranks_and_a_threshold_are_chosen(call: Call, album: Path) -> None:
    (row,) = results_of(call, album, "--topk", "2, 7", "--threshold", "0.5")["rows"]
    assert [rate["rank"] for rate in row["ranks"]] == [2, 7]
    assert row["open_rates"][-1]["why"] == "given"


def test_saved_embeddings_give_the_same_numbers(call: Call, album: Path, tmp_path: Path) -> None:
    from arcwise.cli.vectors import embed_names
    from arcwise.evaluate.vectors.embedded import save_embeddings
    from arcwise.photos import open_photos

    detector = FakeDetector.knowing(
        draw_photo([person], size_wh_px=(128, 128), widths_px=[72], variation=variation)
        for person in range(N_PEOPLE)
        for variation in range(3)
    )
    recognizer = Recognizer(model=FakeEmbedder(), detector=detector)
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    place = save_embeddings(embedded, tmp_path / "e.npz")
    saved = results_of(call, "--embeddings", place)["rows"]
    assert saved == results_of(call, album)["rows"]


def test_a_page_shows_curves_and_the_worst_mistakes(
    call: Call, people: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    page = tmp_path / "r.html"
    code, _, err = call(people, "--non-mated", 3, "--out", page)
    assert code == 0, err
    text = page.read_text()
    assert text.count("<svg") >= 2
    assert "data:image/jpeg" in text


def test_numbers_are_held_against_expected_ones(call: Call, album: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert call(album, "--out", report)[0] == 0
    assert call(album, "--expected", report)[0] == 0
    wrong = tmp_path / "w.json"
    wrong.write_text('{"results.rows.0.ranks.0.found.share": -1.0}')
    code, _, err = call(album, "--expected", wrong)
    assert code == 1
    assert "deviates" in err


def test_photos_in_no_folder_are_left_out(call: Call, people: Path) -> None:
    shutil.copy(people / "p0/0.png", people / "stray.png")
    code, _, err = call(people, "--on-leak", "ignore")
    assert code == 0
    assert "1 photo lies in no person's folder" in err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "no photos were given"),
        (("{album}", "--embeddings", "x.npz"), 2, "both photos and --embeddings"),
        (("--embeddings", "x.npz", "--baseline"), 2, "vectors of one model"),
        (("{album}", "--threshold", "2"), 2, "--threshold is 2"),
        (("{album}", "--topk", "0"), 2, "--topk is '0'"),
        (("{album}", "--sizes", "x"), 2, "--sizes is 'x'"),
        (("{album}", "--non-mated", "8"), 3, "cannot leave 8 of 8 people out"),
        (("{album}", "--non-mated", "nan"), 3, "cannot leave nan"),
        (("{album}", "--per-person", "3"), 3, "no probe is left"),
        (("{album}", "--per-person", "0"), 2, "per-person"),
        (("{album}", "--seed", "-1"), 2, "--seed"),
        (("{album}", "--seed", "4294967296"), 2, "--seed"),
        (("nowhere",), 3, "nowhere"),
    ],
)
def test_what_cannot_be_searched_is_said(
    call: Call, album: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    found, _, err = call(*(option.format(album=album) for option in options))
    assert (found, words in err) == (code, True), err


@pytest.mark.real
def test_the_shipped_model_finds_people_of_lfw(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(real_data / "lfw/lfw-deepfunneled.zip") as archive:
        for person in ("Colin_Powell", "Gerhard_Schroeder", "Hugo_Chavez", "Tony_Blair"):
            for number in (1, 2):
                name = f"{person}/{person}_{number:04}.jpg"
                entry = next(n for n in archive.namelist() if n.endswith(f"/{name}"))
                place = tmp_path / "lfw" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(entry))
    code = run(["evaluate", "gallery", str(tmp_path / "lfw"), "--on-leak", "error", "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    (row,) = json.loads(out)["results"]["rows"]
    assert (row["ranks"][0]["found"]["n_hits"], row["n_failed_mated"]) == (4, 0)
