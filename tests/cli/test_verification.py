"""`arcwise evaluate verification` as a person types it: sources, protocols, reports."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from arcwise.encode import encode_image
from arcwise.evaluate.sets.packs import write_pack
from arcwise.recognizer import Recognizer
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_person
from tests.cli.album import Call, draw_album, fake_call, save_album

N_PEOPLE = 8


@pytest.fixture(scope="module")
def drawn() -> dict[str, DrawnPhoto]:
    """Two photos of each of eight drawn people, called PERSON/FILE."""
    return draw_album(N_PEOPLE)


@pytest.fixture(scope="module")
def album(drawn: dict[str, DrawnPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_album(drawn, tmp_path_factory.mktemp("album") / "people")


@pytest.fixture
def people(album: Path, tmp_path: Path) -> Path:
    """The same photos, to change."""
    return Path(shutil.copytree(album, tmp_path / "people"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two folds of four people each."""
    rows = ["a,b,is_same,fold"]
    for person in range(N_PEOPLE):
        fold = person // 4
        other = 4 * fold + (person + 1) % 4
        rows.append(f"p{person}/0.png,p{person}/1.png,1,{fold}")
        rows.append(f"p{person}/0.png,p{other}/1.png,0,{fold}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: dict[str, DrawnPhoto],
) -> Call:
    return fake_call(
        capsys, monkeypatch, drawn, modules=("verification",), words=("evaluate", "verification")
    )


def results(call: Call, *arguments: object) -> list[Any]:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    found: list[Any] = json.loads(out)["results"]
    return found


def test_all_protocols_are_measured_in_one_run(call: Call, people: Path, pairs: Path) -> None:
    names = ["exact", "insightface", "concat", "facex", "magface"]
    options = [word for name in names for word in ("--protocol", name)]
    found = results(call, "--pairs", pairs, "--photos", people, *options)
    assert [result["protocol"] for result in found] == names
    assert all(len(result["accuracy"]["accuracies"]) == 2 for result in found)
    assert found[0]["accuracy"]["mean"] == 1.0
    assert {result["set"] for result in found} == {"pairs.csv"}


def test_a_pack_brings_its_own_crops(call: Call, tmp_path: Path) -> None:
    images, is_same = [], []
    for person in range(20):
        other = person + 100 * (person % 2)
        for number, variation in ((person, 0), (other, 1)):
            images.append(encode_image(draw_person(number, variation=variation)[0], suffix=".png"))
        is_same.append(other == person)
    pack = write_pack(tmp_path / "mine.bin", images, is_same)
    (result,) = results(call, "--pairs", pack)
    assert (result["n_pairs"], result["n_same"], len(result["folds"])) == (20, 10, 10)
    assert result["accuracy"]["mean"] == 1.0


def test_a_pack_with_photos_beside_it_is_wrong_usage(
    call: Call, tmp_path: Path, people: Path
) -> None:
    code, _, err = call("--pairs", tmp_path / "x.bin", "--photos", people)
    assert code == 2
    assert "a pack holds its own photos" in err


def test_several_sets_are_measured_one_after_the_other(
    call: Call, people: Path, pairs: Path
) -> None:
    other = pairs.with_name("other.csv")
    shutil.copy(pairs, other)
    found = results(call, "--pairs", pairs, "--pairs", other, "--photos", people)
    assert [result["set"] for result in found] == ["pairs.csv", "other.csv"]
    assert found[0]["accuracy"] == found[1]["accuracy"]


def test_saved_vectors_give_the_same_numbers_as_their_photos(
    call: Call,
    people: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    drawn: dict[str, DrawnPhoto],
) -> None:
    from arcwise.cli.vectors import embed_names
    from arcwise.evaluate.vectors.embedded import save_embeddings
    from arcwise.photos import open_photos

    detector = FakeDetector.knowing(drawn.values())
    recognizer = Recognizer(model=FakeEmbedder(), detector=detector)
    with open_photos(people) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    saved = save_embeddings(embedded, tmp_path / "vectors.npz")
    from_vectors = results(call, "--pairs", pairs, "--embeddings", saved)
    assert from_vectors == results(call, "--pairs", pairs, "--photos", people)


def test_neither_photos_nor_vectors_is_wrong_usage(call: Call, pairs: Path) -> None:
    code, _, err = call("--pairs", pairs)
    assert code == 2
    assert "neither of --photos and --embeddings" in err


def test_people_of_the_training_list_are_told_and_counted(
    call: Call, people: Path, pairs: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained.txt"
    trained.write_text("p1/0.png 0\nP_2/0.png 1\nstranger/0.png 2\n")
    arguments = ("--pairs", pairs, "--photos", people, "--trained-on", trained)
    (result,) = results(call, *arguments)
    assert result["leakage"] == {"people": ["p1", "p2"], "n_people": 2, "n_pairs": 5}
    _, out, _ = call(*arguments)
    assert "people learned" in out
    assert "5 of 16" in out
    (unasked,) = results(call, *arguments[:4])
    assert unasked["leakage"] is None


def test_people_of_the_training_list_are_left_out_whatever_the_spelling(
    call: Call, people: Path, pairs: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained.txt"
    trained.write_text("p1/0.png 0\nP_2/0.png 1\nstranger/0.png 2\n")
    arguments = ("--pairs", pairs, "--photos", people, "--leave-out", trained)
    (result,) = results(call, *arguments, "--trained-on", trained)
    assert result["n_pairs"] == 16 - 5
    assert result["leakage"] == {"people": [], "n_people": 0, "n_pairs": 0}
    assert "11 of 16 pairs are left without 2 people of trained.txt" in call(*arguments)[2]


@pytest.mark.parametrize("option", ["--leave-out", "--trained-on"])
def test_a_pack_names_nobody(call: Call, tmp_path: Path, option: str) -> None:
    trained = tmp_path / "trained.txt"
    trained.write_text("p1/0.png 0\n")
    pack = write_pack(tmp_path / "lfw.bin", [b""] * 4, [True, False])
    code, _, err = call("--pairs", pack, option, trained)
    assert code == 2
    assert f"a pack names nobody, so {option} cannot be answered" in err
    assert "score the list and photos it was made from" in err


@pytest.mark.parametrize("option", ["--leave-out", "--trained-on"])
def test_numbers_and_photos_without_folders_name_nobody(
    call: Call, people: Path, pairs: Path, tmp_path: Path, option: str
) -> None:
    trained = tmp_path / "trained.txt"
    arguments = ("--pairs", pairs, "--photos", people, option, trained)
    trained.write_text("0000045/001.jpg 0\n0000099/001.jpg 1\n")
    assert "have numbers for names, such as 0000045" in call(*arguments)[2]
    trained.write_text("001.jpg 0\n002.jpg 1\n")
    assert "does not say whom its photos show" in call(*arguments)[2]
    trained.write_text("p1/0.png 0\n")
    pairs.write_text(pairs.read_text() + "p0/0.png,p0/1.png,0,1\n")  # two people, one folder
    code, _, err = call(*arguments)
    assert code != 0
    assert "show two people, their names say 'p0' and 'p0'" in err


def test_the_page_is_one_file_with_curves_and_the_hardest_pairs(
    call: Call, people: Path, pairs: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    code, _, err = call("--pairs", pairs, "--photos", people, "--out", page)
    assert code == 0, err
    text = page.read_text()
    assert text.count("<svg") == 4
    assert text.count("data:image/jpeg") == 2
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    code, _, _ = call("--pairs", pairs, "--photos", people, "--out", page, "--no-pictures")
    assert code == 0
    assert "data:image" not in page.read_text()


def test_an_earlier_report_is_a_gate(call: Call, people: Path, pairs: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    arguments = ("--pairs", pairs, "--photos", people)
    assert call(*arguments, "--out", earlier)[0] == 0
    assert call(*arguments, "--expected", earlier)[0] == 0
    plain = json.loads(earlier.read_text())
    plain["results"][0]["accuracy"]["mean"] -= 0.01
    earlier.write_text(json.dumps(plain))
    code, _, err = call(*arguments, "--expected", earlier)
    assert code == 1
    assert "accuracy.mean" in err
    assert call(*arguments, "--expected", earlier, "--tolerance", "0.02")[0] == 0


def test_a_second_measurement_embeds_nothing(
    call: Call, people: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--pairs", pairs, "--photos", people)
    first = results(call, *arguments)

    def refuse(self: FakeEmbedder, crops: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(FakeEmbedder, "embed", refuse)
    assert results(call, *arguments) == first


def test_failed_reads_are_named_in_the_report(
    call: Call, people: Path, pairs: Path, tmp_path: Path
) -> None:
    (people / "p0" / "0.png").write_bytes(b"no picture")
    report = tmp_path / "report.md"
    code, out, err = call("--pairs", pairs, "--photos", people, "--out", report)
    assert code == 0, err
    assert "2 pairs, 1 photos" in out
    assert "p0/0.png" in report.read_text()


@pytest.mark.parametrize("suffix", [".json", ".md", ".html"])
def test_a_report_without_names_names_nobody(
    call: Call, people: Path, pairs: Path, tmp_path: Path, suffix: str
) -> None:
    (people / "p0" / "0.png").write_bytes(b"no picture")
    trained = tmp_path / "trained.txt"
    trained.write_text("p1/0.png 0\nP_2/0.png 1\n")
    report = tmp_path / f"report{suffix}"
    code, out, err = call(
        *("--pairs", pairs, "--photos", people, "--trained-on", trained),
        *("--no-names", "--out", report),
    )
    assert code == 0, err
    for text in (out, report.read_text()):
        assert not re.search(r"\bp[0-7]\b", text)
        assert "image/jpeg" not in text
