"""Retrieval and clusters as a person types them: folders, lists, saved vectors, reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.compare import Calibration, CalibrationPoint
from arcwise.encode import write_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import FakeEmbedder, draw_person

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command with an embedder that tells drawn people apart."""

    def open_fake(settings: Settings, *, model: str | None = None, **_: object) -> Recognizer:
        return Recognizer(model=FakeEmbedder(), settings=settings)

    for command in ("retrieval", "clusters"):
        monkeypatch.setattr(f"arcwise.cli.{command}.open_recognizer", open_fake)

    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it


@pytest.fixture
def crops(drawn_crops: Path, tmp_path: Path) -> Path:
    """Eight people, six crops of each, to change."""
    return Path(shutil.copytree(drawn_crops, tmp_path / "crops"))


def read_results(path: Path) -> Any:
    return json.loads(path.read_text())["results"]


def test_crops_of_one_person_find_each_other(call: Call, crops: Path, tmp_path: Path):
    out = tmp_path / "report.json"
    code, text, _ = call("retrieval", "--photos", crops, "--aligned", "--out", out)
    assert code == 0
    results = read_results(out)
    assert (results["n_queries"], results["n_classes"], results["n_lone"]) == (48, 8, 0)
    assert results["measures"]["recall_at_1"]["value"] == 1
    assert "Recall@1" in text
    assert "hit rate" in text


def test_the_baseline_of_pixels_is_a_second_part(call: Call, crops: Path, tmp_path: Path):
    out = tmp_path / "report.json"
    code, text, _ = call(
        "retrieval", "--photos", crops, "--aligned", "--baseline", "-k", 3, "--out", out
    )
    assert code == 0
    assert "pixels" in text
    measures = read_results(out)["baseline"]["measures"]
    assert 0 < measures["recall_at_3"]["value"] <= 1
    assert "recall_at_10" not in measures


def test_references_are_searched_instead_of_the_other_queries(
    call: Call, crops: Path, tmp_path: Path
):
    references = tmp_path / "references"
    for person in crops.iterdir():
        (references / person.name).mkdir(parents=True)
        shutil.move(person / "0.png", references / person.name / "0.png")
    shutil.rmtree(references / "person7")
    code, text, _ = call(
        *("retrieval", "--photos", crops, "--references", references, "--aligned", "--json")
    )
    assert code == 0
    results = json.loads(text)["results"]
    assert (results["n_references"], results["n_queries"], results["n_lone"]) == (7, 35, 5)
    assert results["measures"]["recall_at_10"]["value"] is None


def test_a_copy_among_the_references_is_told(call: Call, crops: Path):
    shutil.copy(crops / "person0" / "0.png", crops / "person0" / "again.png")
    code, text, _ = call("retrieval", "--photos", crops, "--aligned", "--json")
    assert code == 0
    assert json.loads(text)["results"]["n_copies"] == 2


def test_only_some_folders(call: Call, crops: Path):
    some = ("--only", "person1", "--only", "person2")
    code, text, _ = call("retrieval", "--photos", crops, "--aligned", *some, "--json")
    assert (code, json.loads(text)["results"]["n_classes"]) == (0, 2)
    code, _, error = call("retrieval", "--photos", crops, "--aligned", "--only", "persn1")
    assert code == 3
    assert "did you mean person1?" in error


def test_a_few_classes_are_not_called_the_worst_ten(call: Call, crops: Path):
    code, text, _ = call("retrieval", "--photos", crops, "--aligned", "--only", "person1")
    assert code == 0
    assert "Classes, worst first" in text
    assert "Worst 10" not in text


def test_a_photo_that_cannot_be_read_counts_unless_it_is_left_out(call: Call, crops: Path):
    (crops / "person0" / "broken.png").write_bytes(b"no picture")
    code, text, _ = call("retrieval", "--photos", crops, "--aligned", "--json")
    results = json.loads(text)["results"]
    assert (code, results["n_missing_queries"], results["n_queries"]) == (0, 1, 49)
    assert results["measures"]["recall_at_1"]["value"] == pytest.approx(48 / 49)
    assert [one["name"] for one in results["failed_photos"]] == ["person0/broken.png"]
    leave = ("--failed", "leave_out", "--json")
    _, text, _ = call("retrieval", "--photos", crops, "--aligned", *leave)
    assert json.loads(text)["results"]["measures"]["recall_at_1"]["value"] == 1


def write_inshop(crops: Path, root: Path) -> Path:
    """The layout of DeepFashion In-Shop: one person to learn, the others asked for and searched."""
    lines = []
    for person in sorted(crops.iterdir()):
        for photo in sorted(person.iterdir()):
            name = f"img/{person.name}/{photo.name}"
            part = "query" if photo.stem in "01" else "gallery"
            part = "train" if person.name == "person7" else part
            lines.append(f"{name}  {person.name}  {part}")
            (root / "Img" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, root / "Img" / name)
    path = root / "Eval" / "list_eval_partition.txt"
    path.parent.mkdir()
    path.write_text(f"{len(lines)}\nimage_name item_id evaluation_status\n" + "\n".join(lines))
    return path


@pytest.mark.parametrize("photos", ["", "Img"])
def test_an_in_shop_list_says_what_is_searched_among_what(
    call: Call, crops: Path, tmp_path: Path, photos: str
):
    root = tmp_path / "shop"
    listed = write_inshop(crops, root)
    (root / "Img" / "img" / "person0" / "3.png").unlink()
    code, text, error = call(
        *("retrieval", "--photos", root / photos, "--inshop", listed, "--aligned", "--json")
    )
    assert code == 0
    results = json.loads(text)["results"]
    assert (results["n_queries"], results["n_references"], results["n_classes"]) == (14, 27, 7)
    assert results["n_missing_references"] == 1
    assert results["measures"]["recall_at_1"]["value"] == 1
    assert results["measures"]["map"]["value"] < 1  # person0 finds three of four
    assert "not among the photos" in results["failed_photos"][0]["reason"]
    assert "the published list has" in error


def save_vectors(path: Path) -> Path:
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.normal(size=(12, 16)), 3, axis=0)
    names = [f"p{i // 3}/{i % 3}.jpg" for i in range(36)]
    vectors = (centers + 0.1 * rng.normal(size=centers.shape)).astype(np.float32)
    np.savez(path, names=names, vectors=vectors)
    return path


def test_saved_vectors_need_no_photos_and_no_model(call: Call, tmp_path: Path):
    saved = save_vectors(tmp_path / "saved.npz")
    code, text, _ = call("retrieval", "--embeddings", saved)
    assert code == 0
    assert f"Retrieval: an unknown model on {saved}" in text
    assert "n/a: not all pixels are known" in text
    code, text, _ = call("clusters", "--embeddings", saved, "--json")
    assert code == 0
    best = json.loads(text)["results"]["best"]["scores"]
    assert (best["n_clusters"], best["n_whole_classes"], best["ari"]) == (12, 12, 1)


def test_a_report_is_held_against_an_earlier_one(call: Call, tmp_path: Path):
    saved, out = save_vectors(tmp_path / "saved.npz"), tmp_path / "first.json"
    assert call("retrieval", "--embeddings", saved, "--out", out)[0] == 0
    assert call("retrieval", "--embeddings", saved, "--expected", out)[0] == 0
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"results.measures.recall_at_1.value": 0.5}')
    code, _, error = call("retrieval", "--embeddings", saved, "--expected", wrong)
    assert code == 1
    assert "recall_at_1" in error


@pytest.mark.parametrize("linkage", ["average", "components"])
def test_clusters_are_people_at_the_best_threshold(call: Call, crops: Path, linkage: str):
    code, text, _ = call(
        *("clusters", "--photos", crops, "--aligned", "--linkage", linkage),
        *("--threshold", "0.999", "--json"),
    )
    assert code == 0
    results = json.loads(text)["results"]
    assert results["best"]["scores"]["n_whole_classes"] >= 7
    strict = results["at"][0]
    assert (strict["why"], strict["similarity"]) == ("given", 0.999)
    assert strict["scores"]["n_split_classes"] > 0
    assert len(results["table"]) > 10


def test_the_calibrated_threshold_is_scored_too(call: Call, crops: Path, own_home: Path):
    digest = FakeEmbedder().digest
    points = (CalibrationPoint(1e-2, 0.4, 0.3, 0.5), CalibrationPoint(1e-3, 0.5, 0.4, 0.6))
    calibration = Calibration(digest, points, 10_000, 50, "d" * 64, "2026-01-01T00:00:00+00:00")
    calibration.save(own_home / "calibrations" / f"{digest}.json")
    code, text, _ = call("clusters", "--photos", crops, "--aligned")
    assert code == 0
    assert "At the threshold of compare" in text
    (said,) = (line for line in text.splitlines() if "calibrated for FMR 1.0e-03" in line)
    assert said.split()[:2] == ["threshold", "0.5000"]
    assert "on 50 people, 2026-01-01" in said
    assert "chosen elsewhere" in text


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("retrieval", ["Searches"]),
        ("clusters", ["Clusters", "At the given threshold", "At the best BCubed F"]),
    ],
)
def test_reports_of_two_models_stand_side_by_side(
    call: Call, tmp_path: Path, command: str, titles: list[str]
):
    rng = np.random.default_rng(0)
    names, digests = [f"p{i // 3}/{i % 3}.jpg" for i in range(24)], [f"{i:064x}" for i in range(24)]
    for model in "ab":
        raw = np.repeat(rng.normal(size=(8, 16)), 3, axis=0) + 0.3 * rng.normal(size=(24, 16))
        np.savez(tmp_path / f"{model}.npz", names=names, raw=raw, digests=digests, model=model)
        words = [command, "--embeddings", tmp_path / f"{model}.npz"]
        words += ["--threshold", "0.5"] if command == "clusters" else []
        assert call(*words, "--out", tmp_path / f"{model}.json")[0] == 0
    code, text, _ = call("report", tmp_path / "a.json", tmp_path / "b.json", "--json")
    assert code == 0
    document = json.loads(text)
    assert [part["title"] for part in document["sections"]] == ["Reports", *titles, "All numbers"]
    assert document["sections"][0]["text"] == "All of them measured the same data."
    for part in document["sections"][1:-1]:
        assert all("n/a" not in line[1:3] for line in part["tables"][0]["cells"][:3])


@pytest.mark.parametrize("command", ["retrieval", "clusters"])
def test_a_page_holds_everything_itself(call: Call, tmp_path: Path, command: str):
    crops = tmp_path / "alike"
    for person in range(6):  # drawn so alike that some are mistaken
        for variation in range(3):
            image, _ = draw_person(person % 3, variation=variation + 3 * (person // 3))
            write_image(crops / f"p{person}" / f"{variation}.png", image)
    page = tmp_path / "report.html"
    assert call(command, "--photos", crops, "--aligned", "--out", page)[0] == 0
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert ("data:image/jpeg" if command == "retrieval" else "<svg") in text


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ((), "neither of --photos"),
        (("--embeddings", "x.npz", "--baseline"), "--baseline needs photos"),
        (("--embeddings", "x.npz", "--references", "y"), "--references needs photos"),
        (("--photos", "x", "--inshop", "y", "--only", "z"), "--inshop and --only"),
        (("--photos", "x", "--inshop", "y", "--references", "z"), "--inshop and --references"),
        (("--photos", "nowhere"), "nowhere"),
    ],
)
def test_options_that_do_not_go_together_are_refused(call: Call, options: tuple[str], what: str):
    code, _, error = call("retrieval", *options)
    assert code in (2, 3)
    assert what in error


def test_a_threshold_that_is_no_cosine_is_refused(call: Call, crops: Path):
    code, _, error = call("clusters", "--photos", crops, "--threshold", "2")
    assert code == 2
    assert "-1..1" in error


def test_photos_in_no_folder_are_refused(call: Call, crops: Path):
    shutil.copy(crops / "person0" / "0.png", crops / "0.png")
    code, _, error = call("retrieval", "--photos", crops, "--aligned")
    assert code == 3
    assert "lies in no person's folder" in error


@pytest.mark.real
def test_characters_of_unseen_alphabets_are_found_better_than_by_their_pixels(
    real_data: Path, tmp_path: Path
):
    """Omniglot small 2, the three alphabets that are not in small 1; the shipped model."""
    out = tmp_path / "omniglot.json"
    archive = real_data / "omniglot" / "images_background_small2.zip"
    alphabets = [
        word for name in ("Japanese_(katakana)", "Sanskrit", "Tagalog") for word in ("--only", name)
    ]
    command = ["evaluate", "retrieval", "--photos", str(archive), *alphabets, "--aligned"]
    assert run([*command, "--baseline", "--out", str(out)]) == 0
    results = read_results(out)
    assert (results["n_queries"], results["n_classes"], results["n_copies"]) == (2120, 106, 0)
    model = results["measures"]["recall_at_1"]["value"]
    pixels = results["baseline"]["measures"]["recall_at_1"]["value"]
    assert model > pixels > 20 / 2119  # chance is 19 of 2,119
