"""Calibrating as a person types it, and what scoring then says about the threshold."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arcwise.cli.run import run
from arcwise.compare import Calibration
from arcwise.encode import write_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_photo

N_PEOPLE = 12
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def drawn() -> dict[str, DrawnPhoto]:
    """Two photos of each of twelve drawn people, called PERSON/FILE."""
    return {
        f"p{person:02}/{variation}.png": draw_photo(
            [person], size_wh_px=(128, 128), widths_px=[72], variation=variation
        )
        for person in range(N_PEOPLE)
        for variation in range(2)
    }


@pytest.fixture(scope="session")
def album(drawn: dict[str, DrawnPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album") / "people"
    for name, photo in drawn.items():
        write_image(folder / name, photo.image)
    return folder


@pytest.fixture
def people(album: Path, tmp_path: Path) -> Path:
    """The same photos, to change."""
    return Path(shutil.copytree(album, tmp_path / "people"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three folds of four people each: pairs of one person, and of each with the next."""
    rows = ["a,b,is_same,fold"]
    for person in range(N_PEOPLE):
        fold = person // 4
        other = 4 * fold + (person + 1) % 4
        rows.append(f"p{person:02}/0.png,p{person:02}/1.png,1,{fold + 1}")
        rows.append(f"p{person:02}/0.png,p{other:02}/1.png,0,{fold + 1}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: dict[str, DrawnPhoto],
) -> Call:
    """Runs a command with a recognizer that knows the drawn photos."""

    def open_fake(settings: Settings, **_: object) -> Recognizer:
        detector = FakeDetector.knowing(drawn.values())
        return Recognizer(model=FakeEmbedder(), detector=detector, settings=settings)

    for command in ("calibrate", "evaluate"):
        monkeypatch.setattr(f"arcwise.cli.{command}.open_recognizer", open_fake)

    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run_it


def call_json(call: Call, *arguments: object) -> Any:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_calibration_is_written_where_decisions_look_for_it(
    call: Call, people: Path, own_home: Path
) -> None:
    code, out, err = call("calibrate", "--photos", people)
    assert code == 0, err
    place = own_home / "calibrations" / f"{FakeEmbedder().digest}.json"
    assert f"wrote {place}" in out
    assert "24 photos of 12 people: 12 pairs of one person, 264 of two" in out
    assert "note: FMR 1e-02 needs 1,000 impostor pairs, there are 264" in err
    calibration = Calibration.load(place)
    assert calibration.date.endswith("+00:00")
    assert Recognizer(model=FakeEmbedder()).calibration == calibration


def test_the_table_and_json_show_the_written_points(
    call: Call, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c.json"
    report = call_json(call, "calibrate", "--photos", people, "--out", out)
    (point,) = report["points"]
    (written,) = Calibration.load(out).points
    assert (point["fmr"], point["similarity"]) == (written.fmr, written.similarity)
    assert (point["low"], point["high"]) == (written.low, written.high)
    assert (report["path"], report["n_impostors"]) == (str(out), 264)
    table = call("calibrate", "--photos", people, "--out", out)[1]
    row = next(line for line in table.splitlines() if line.startswith("1e-01"))
    assert f"{written.similarity:.4f}" in row
    assert f"{written.low:.4f} to {written.high:.4f}" in row


def test_a_zip_gives_the_same_calibration_as_its_folder(
    call: Call, people: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "people.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for photo in people.rglob("*.png"):
            packed.write(photo, photo.relative_to(tmp_path))
    written = [tmp_path / "folder.json", tmp_path / "zip.json"]
    for source, out in zip((people, archive), written, strict=True):
        call_json(call, "calibrate", "--photos", source, "--out", out)
    folder, packed_up = (json.loads(out.read_text()) | {"date": ""} for out in written)
    assert folder == packed_up


def test_only_people_of_the_chosen_folds_count_with_all_their_photos(
    call: Call, people: Path, pairs: Path, drawn: dict[str, DrawnPhoto]
) -> None:
    photo = drawn["p00/0.png"]
    write_image(people / "p00" / "again.png", photo.image)
    arguments = ("calibrate", "--photos", people, "--pairs", pairs, "--folds")
    report = call_json(call, *arguments, "1,2,3")
    assert (report["n_people"], report["n_photos"]) == (12, 25)
    code, out, err = call(*arguments, "1,3")
    assert (code, out) == (6, "")
    assert "17 photos of 8 people: too few" in err


def test_photos_that_cannot_be_used_are_named_and_left_out(
    call: Call, people: Path, drawn: dict[str, DrawnPhoto]
) -> None:
    (people / "p03" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    write_image(people / "p03" / "nobody.png", drawn["p00/0.png"].image[:50, :50])
    write_image(people / "stray.png", drawn["p00/0.png"].image)
    write_image(people / "p03" / "old" / "deep.png", drawn["p00/0.png"].image)
    code, out, err = call("calibrate", "--photos", people)
    assert code == 0, err
    assert "24 photos of 12 people" in out
    named = [line for line in err.splitlines() if line.startswith("left out: ")]
    assert [line.split(": ")[1] for line in named] == [
        "p03/broken.jpg",
        "p03/nobody.png",
        "p03/old/deep.png",
        "stray.png",
    ]
    assert "lies deeper than PERSON/deep.png" in err
    assert "no face" in err
    report = call_json(call, "calibrate", "--photos", people)
    assert [photo["name"] for photo in report["failed_photos"]][-1] == "stray.png"


def test_one_photo_of_two_people_is_warned_about(call: Call, people: Path) -> None:
    shutil.copy(people / "p00" / "0.png", people / "p01" / "copy.png")
    code, _, err = call("calibrate", "--photos", people)
    assert code == 0
    assert "note: p00/0.png and p01/copy.png are one photo, said to be of 2 people" in err
    assert "the most alike strangers are p00/0.png and p01/copy.png, 1.000" in err


def test_nothing_is_written_where_nothing_can_be_measured(
    call: Call, people: Path, own_home: Path, tmp_path: Path
) -> None:
    for person in range(2, N_PEOPLE):
        shutil.rmtree(people / f"p{person:02}")
    code, out, err = call("calibrate", "--photos", people)
    assert (code, out) == (6, "")
    assert "4 photos of 2 people" in err
    assert not own_home.exists()


def test_a_failed_calibration_leaves_the_former_one(
    call: Call, people: Path, own_home: Path
) -> None:
    assert call("calibrate", "--photos", people)[0] == 0
    (place,) = (own_home / "calibrations").iterdir()
    before = place.read_bytes()
    shutil.rmtree(people / "p00")
    shutil.rmtree(people / "p01")
    shutil.rmtree(people / "p02")
    assert call("calibrate", "--photos", people)[0] == 6
    assert place.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--folds", "3"], 2, "belong together"),
        (["--pairs", "{pairs}"], 2, "belong together"),
        (["--pairs", "{pairs}", "--folds", "x"], 2, "--folds is 'x'"),
        (["--pairs", "{pairs}", "--folds", "0"], 2, "--folds is '0'"),
        (["--pairs", "{pairs}", "--folds", "4"], 3, "no fold 4 in a list of 3 folds"),
        (["--out", "c.txt"], 3, "c.txt"),
        (["--out", "{people}/c.json"], 3, "lies among the photos"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(
    call: Call, people: Path, pairs: Path, own_home: Path, options: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    words = [word.format(pairs=pairs, people=people) for word in options]
    found, out, err = call("calibrate", "--photos", people, *words)
    assert (found, out) == (code, "")
    assert message in err
    assert "try:" in err
    assert not own_home.exists()


def test_a_list_of_other_people_is_told(call: Call, people: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "others.csv"
    rows = [f"x{i}/a.png,x{i}/b.png,{i % 2},{i // 2}" for i in range(4)]
    pairs.write_text("a,b,is_same,fold\n" + "\n".join(rows))
    code, _, err = call("calibrate", "--photos", people, "--pairs", pairs, "--folds", "1")
    assert code == 6
    assert "nobody of the 2 people" in err


# What scoring says then


def test_chosen_folds_alone_are_scored(call: Call, people: Path, pairs: Path) -> None:
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    (report,) = call_json(call, *arguments, "--only-folds", "1,3")
    assert (report["folds"], report["n_pairs"]) == ([1, 3], 16)
    assert len(report["accuracy"]["accuracies"]) == 2
    assert call_json(call, *arguments)[0]["folds"] == [1, 2, 3]


def test_photos_of_other_folds_are_not_even_read(call: Call, people: Path, pairs: Path) -> None:
    (people / "p11" / "0.png").unlink()
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    (report,) = call_json(call, *arguments, "--only-folds", "1,2")
    assert report["failed_photos"] == []
    assert call_json(call, *arguments)[0]["failed_photos"][0]["name"] == "p11/0.png"


def test_one_fold_needs_a_threshold_that_was_chosen_elsewhere(
    call: Call, people: Path, pairs: Path
) -> None:
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    code, out, err = call(*arguments, "--only-folds", "2")
    assert (code, out) == (3, "")
    assert "fold 2 alone leaves no other fold" in err
    (given,) = call_json(call, *arguments, "--only-folds", "2", "--threshold", "0.5")
    assert given["accuracy"] is None
    (at,) = given["at"]
    assert (at["similarity"], at["why"], at["accuracy"]["n"]) == (0.5, "given", 8)

    assert call("calibrate", "--photos", people)[0] == 0
    (calibrated,) = call_json(call, *arguments, "--only-folds", "2")
    (at,) = calibrated["at"]
    assert "FMR 1.0e-01" in at["why"]  # what 12 people support
    assert "on 12 people" in at["why"]


def test_a_report_shows_the_calibrated_and_the_given_threshold(
    call: Call, people: Path, pairs: Path
) -> None:
    written = call_json(call, "calibrate", "--photos", people)["points"][0]
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    code, out, err = call(*arguments, "--threshold", "0.5")
    assert code == 0, err
    for name in ("accuracy", "FMR", "FNMR"):
        assert f"\n{name}@{written['similarity']:.4f}" in out
        assert f"\n{name}@0.5000" in out


@pytest.mark.parametrize("threshold", ["1.5", "-2", "nan"])
def test_a_threshold_that_is_no_cosine_is_wrong_usage(
    call: Call, people: Path, pairs: Path, threshold: str
) -> None:
    code, _, err = call(
        *("evaluate", "verification", "--photos", people, "--pairs", pairs),
        *("--threshold", threshold),
    )
    assert code == 2
    assert "a cosine lies in -1..1" in err


# Photos of real people


@pytest.mark.real
def test_60_people_of_lfw_give_a_sensible_threshold(
    real_data: Path, y1_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of fold 3, the one that is for calibration."""
    lines = (real_data / "lfw" / "pairs_6000.txt").read_text().splitlines()
    photos = dict.fromkeys(
        name for line in lines[600:900] + lines[3600:3900] for name in line.split()[:2]
    )
    people = list(dict.fromkeys(name.split("/")[0] for name in photos))[:60]
    chosen = tmp_path / "chosen.zip"
    with (
        zipfile.ZipFile(real_data / "lfw" / "lfw-deepfunneled.zip") as packed,
        zipfile.ZipFile(chosen, "w") as few,
    ):
        for person in people:
            for number in range(1, 4):
                name = f"lfw-deepfunneled/{person}/{person}_{number:04}.jpg"
                if name in packed.namelist():
                    few.writestr(name, packed.read(name))
    arguments = ["calibrate", "--photos", str(chosen), "--model", str(y1_model), "--json"]
    assert run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n_people"] == 60
    assert report["failed_photos"] == []
    found = {point["fmr"]: point for point in report["points"]}
    assert 0.15 < found[1e-2]["similarity"] < 0.30
    assert 0.25 < found[1e-3]["similarity"] < 0.42
    assert found[1e-3]["low"] < found[1e-3]["similarity"] < found[1e-3]["high"]
    assert found[1e-3]["fnmr"] < 0.05
    assert report["eer"]["rate"] < 0.02
