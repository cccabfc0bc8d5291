"""Calibrating as a person types it, and what scoring then says about the threshold."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.compare import Calibration, CalibrationPoint
from arcwise.encode import write_image
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings
from arcwise.gallery import Gallery
from arcwise.recognizer import Recognizer
from arcwise.store import NewTemplate, SQLStore, Stamp
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_photo
from tests.cli.album import Call, draw_album, fake_call, save_album

N_PEOPLE = 12


@pytest.fixture(scope="session")
def drawn() -> dict[str, DrawnPhoto]:
    """Two photos of each of twelve drawn people, called PERSON/FILE."""
    return draw_album(N_PEOPLE, width=2)


@pytest.fixture(scope="session")
def album(drawn: dict[str, DrawnPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_album(drawn, tmp_path_factory.mktemp("album") / "people")


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
    return fake_call(capsys, monkeypatch, drawn, modules=("sources", "verification"))


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
    assert calibration.views == "none"
    assert call("calibrate", "--photos", people, "--flip")[0] == 0
    assert Calibration.load(place).views == "sum"


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
    assert not (own_home / "calibrations").exists()


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
        (["--folds", "3"], 2, "--folds needs a list of pairs"),
        (["--gallery", "people.db"], 2, "one of --photos, --gallery and --embeddings"),
        (["--fpir", "0.01"], 2, "belong together"),
        (["--people", "9"], 2, "belong together"),
        (["--fpir", "0.01", "--people", "9", "--fmr", "0.01"], 2, "two wishes"),
        (["--fmr", "1"], 2, "--fmr is 1.0"),
        (["--prior", "0"], 2, "--prior is 0.0"),
        (["--out", "c.json", "--into-gallery", "g.db"], 2, "two places"),
        (["--into-gallery", "g.db"], 5, "no gallery at g.db"),
        (["--report", "r.pdf"], 3, "cannot write r.pdf"),
        (["--pairs", "{pairs}", "--folds", "x"], 2, "--folds is 'x'"),
        (["--pairs", "{pairs}", "--folds", "0"], 2, "--folds is '0'"),
        (["--pairs", "{pairs}", "--folds", "4"], 3, "no fold 4 in a list of 3 folds"),
        (["--out", "c.txt"], 3, "c.txt"),
        (["--out", "{people}/c.json"], 3, "which is only read"),
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


# Other sources, wishes and places


def test_of_a_list_alone_only_its_pairs_count(call: Call, people: Path, pairs: Path) -> None:
    rows = ["a,b,is_same,fold"]
    for a in range(N_PEOPLE):
        rows.append(f"p{a:02}/0.png,p{a:02}/1.png,1,{a % 2}")
        rows += [f"p{a:02}/0.png,p{b:02}/1.png,0,{a % 2}" for b in range(N_PEOPLE) if b != a]
    pairs.write_text("\n".join(rows))
    report = call_json(call, "calibrate", "--photos", people, "--pairs", pairs)
    assert (report["n_genuine"], report["n_impostors"]) == (12, 132)
    assert not report["is_complete"]
    pairs.write_text("\n".join([*rows, "p00/0.png,p01/0.png,1,1"]))
    code, _, err = call("calibrate", "--photos", people, "--pairs", pairs)
    assert code == 6
    assert "show one person, their folders do not" in err


def test_saved_embeddings_give_what_their_photos_give(
    call: Call, people: Path, tmp_path: Path
) -> None:
    report = call_json(call, "calibrate", "--photos", people)
    names = tuple(sorted(path.relative_to(people).as_posix() for path in people.rglob("*.png")))
    recognizer = Recognizer(
        model=FakeEmbedder(),
        detector=FakeDetector.knowing(
            draw_photo([i], size_wh_px=(128, 128), widths_px=[72], variation=v)
            for i in range(N_PEOPLE)
            for v in range(2)
        ),
    )
    faces = list(recognizer.choose_many(people / name for name in names))
    saved = EmbeddedPhotos(
        names=names,
        raw=np.stack([found.faces[0].embedding for found in faces]),
        mirrored=None,
        digests=tuple(found.digest for found in faces),
        reasons={},
        model="fake-embedder",
        model_digest=recognizer.embedder.digest,
    )
    path = save_embeddings(saved, tmp_path / "vectors.npz")
    again = call_json(call, "calibrate", "--embeddings", path)
    assert again["points"][0]["similarity"] == pytest.approx(report["points"][0]["similarity"])
    assert (again["model"], again["data_digest"]) == (report["model"], report["data_digest"])


def test_embeddings_of_nobody_knows_which_model_need_it_named(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    np.savez(path, names=["a/1", "b/1"], vectors=np.eye(2, dtype=np.float32))
    code, _, err = call("calibrate", "--embeddings", path)
    assert code == 4
    assert "does not say which model made it" in err


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Twelve people with three templates each, filled by the fake embedder."""
    rng = np.random.default_rng(0)
    path, model = tmp_path / "people.db", FakeEmbedder()
    stamp = Stamp(model.digest, model.name, model.dimension, "fake", "0" * 64)
    with closing(SQLStore.open(path)) as store:
        for person in range(N_PEOPLE):
            vectors = rng.normal(size=model.dimension) + 0.5 * rng.normal(size=(3, model.dimension))
            units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            templates = [NewTemplate(unit, 1.0, f"{person}-{i}") for i, unit in enumerate(units)]
            store.add_templates(f"Person {person}", templates, stamp)
    return path


def test_the_people_of_a_gallery_are_a_source(call: Call, gallery: Path, own_home: Path) -> None:
    report = call_json(call, "calibrate", "--gallery", gallery)
    assert (report["n_people"], report["n_genuine"], report["n_impostors"]) == (12, 36, 594)
    assert report["closest"][0]["a"].startswith("Person ")
    place = own_home / "calibrations" / f"{FakeEmbedder().digest}.json"
    assert Calibration.load(place).n_people == 12
    assert Calibration.load(place).views is None
    assert call_json(call, "calibrate", "--gallery", gallery, "--model", "fake")["n_people"] == 12


def test_a_gallery_of_another_model_is_refused(call: Call, tmp_path: Path, gallery: Path) -> None:
    other = tmp_path / "other.db"
    with closing(SQLStore.open(other)) as store:
        template = NewTemplate(np.eye(1, 4, dtype=np.float32)[0], 1.0, "x")
        store.add_templates("Ann", [template], Stamp("f" * 64, "other", 4, "fake", "0" * 64))
    code, _, err = call("calibrate", "--gallery", other, "--model", "fake")
    assert code == 5
    assert "filled by model other" in err
    code, _, err = call("calibrate", "--gallery", gallery, "--into-gallery", other)
    assert code == 5
    assert "was filled by model other" in err


def test_an_empty_gallery_and_one_with_a_list_are_refused(call: Call, tmp_path: Path) -> None:
    SQLStore.open(tmp_path / "new.db").close()
    code, _, err = call("calibrate", "--gallery", tmp_path / "new.db")
    assert code == 5
    assert "nobody is in" in err
    code, _, err = call("calibrate", "--gallery", tmp_path / "new.db", "--pairs", "list.txt")
    assert code == 2
    assert "--pairs names photos" in err


def test_a_calibration_into_a_gallery_is_for_its_answers_alone(
    call: Call, people: Path, gallery: Path, own_home: Path
) -> None:
    code, out, err = call("calibrate", "--photos", people, "--into-gallery", gallery)
    assert code == 0, err
    place = gallery.with_suffix(".calibration.json")
    assert f"wrote {place}" in out
    assert not (own_home / "calibrations").exists()
    recognizer = Recognizer(model=FakeEmbedder(), detector=FakeDetector.knowing([]))
    assert recognizer.calibration is None
    opened = Gallery(gallery, recognizer=recognizer)
    assert opened._calibration == Calibration.load(place)


def test_a_wanted_rate_is_shown_and_one_beyond_the_data_is_refused(
    call: Call, people: Path, own_home: Path
) -> None:
    code, out, err = call("calibrate", "--photos", people, "--fmr", "0.05")
    assert code == 0, err
    assert "wanted: FMR 5e-02 at similarity" in out
    (place,) = (own_home / "calibrations").iterdir()
    assert [point.fmr for point in Calibration.load(place).points] == [0.1, 0.05]
    out = call("calibrate", "--photos", people, "--fpir", "0.4", "--people", "9")[1]
    assert "wanted: FPIR 0.4 among 9 people, FMR 5.52e-02 at similarity" in out
    before = place.read_bytes()
    code, out, err = call("calibrate", "--photos", people, "--fpir", "0.01", "--people", "10")
    assert (code, out) == (6, "")
    assert "FMR 1.00e-03 needs 9,955 impostor pairs, there are 264" in err
    assert place.read_bytes() == before


def test_the_probability_is_kept_and_told(call: Call, people: Path, own_home: Path) -> None:
    report = call_json(call, "calibrate", "--photos", people)
    (place,) = (own_home / "calibrations").iterdir()
    curve = Calibration.load(place).probability
    assert curve is not None
    assert list(curve.similarities) == report["probability"]["curve"]["similarities"]
    low, high = report["uncertain"]
    assert low <= Calibration.load(place).points[-1].similarity <= high
    out = call("calibrate", "--photos", people, "--prior", "0.1")[1]
    assert "probability of one person, 0.1 beforehand" in out
    assert "uncertain from" in out


def test_without_second_photos_there_are_thresholds_and_a_note(
    call: Call, people: Path, own_home: Path
) -> None:
    for photo in people.rglob("1.png"):
        photo.unlink()
    for person in range(N_PEOPLE, 16):
        image = draw_photo([person], size_wh_px=(128, 128), widths_px=[72], variation=0).image
        write_image(people / f"p{person}" / "0.png", image)
    code, _, err = call("calibrate", "--photos", people)
    assert (code, own_home.joinpath("calibrations").exists()) == (6, False)  # 66 pairs only
    assert "needs 100 impostor pairs" in err


def test_without_its_library_there_is_no_probability_and_a_note_says_so(
    call: Call, people: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "arcwise.evaluate.calibrate.probability", raising=False)
    for name in ["sklearn", *(n for n in sys.modules if n.startswith("sklearn."))]:
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = call("calibrate", "--photos", people)
    assert code == 0, err
    assert "note: no probability: scikit-learn is not installed; pip install" in err
    (place,) = (own_home / "calibrations").iterdir()
    assert Calibration.load(place).points
    assert Calibration.load(place).probability is None


@pytest.mark.parametrize("suffix", [".json", ".md", ".html"])
def test_a_report_shows_thresholds_and_reliability(
    call: Call, people: Path, tmp_path: Path, suffix: str
) -> None:
    report = tmp_path / f"report{suffix}"
    code, _, err = call("calibrate", "--photos", people, "--report", report)
    assert code == 0, err
    text = report.read_text()
    for word in ("similarity at FMR 1e-01", "Reliability", "Brier, isotonic"):
        assert word in text
    if suffix == ".html":
        assert text.count("<svg") == 2


# What scoring says then


def score(call: Call, *arguments: object) -> Any:
    return call_json(call, *arguments)["results"]


def test_chosen_folds_alone_are_scored(call: Call, people: Path, pairs: Path) -> None:
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    (report,) = score(call, *arguments, "--only-folds", "1,3")
    assert (report["folds"], report["n_pairs"]) == ([1, 3], 16)
    assert len(report["accuracy"]["accuracies"]) == 2
    assert score(call, *arguments)[0]["folds"] == [1, 2, 3]


def test_photos_of_other_folds_are_not_even_read(call: Call, people: Path, pairs: Path) -> None:
    (people / "p11" / "0.png").unlink()
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    (report,) = score(call, *arguments, "--only-folds", "1,2")
    assert report["failed_photos"] == []
    assert score(call, *arguments)[0]["failed_photos"][0]["name"] == "p11/0.png"


def test_one_fold_needs_a_threshold_that_was_chosen_elsewhere(
    call: Call, people: Path, pairs: Path
) -> None:
    arguments = ("evaluate", "verification", "--photos", people, "--pairs", pairs)
    code, out, err = call(*arguments, "--only-folds", "2")
    assert (code, out) == (3, "")
    assert "fold 2 alone leaves no other fold" in err
    (given,) = score(call, *arguments, "--only-folds", "2", "--threshold", "0.5")
    assert given["accuracy"] is None
    (at,) = given["at"]
    assert (at["similarity"], at["why"], at["accuracy"]["n"]) == (0.5, "given", 8)

    assert call("calibrate", "--photos", people)[0] == 0
    (calibrated,) = score(call, *arguments, "--only-folds", "2")
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


# What a new calibration changes


def save_former(own_home: Path, rates: tuple[float, ...]) -> Path:
    """A calibration of the fake model that reaches these rates, where decisions find it."""
    similarities = (0.2, 0.3, 0.4)
    points = (CalibrationPoint(f, s, s, s) for f, s in zip(rates, similarities, strict=False))
    former = Calibration(
        model_digest=FakeEmbedder().digest, points=tuple(points), n_impostors=10**6,
        n_people=400, data_digest="x", date="2026-01-01",
    )  # fmt: skip
    return former.save(own_home / "calibrations" / f"{FakeEmbedder().digest}.json")


def test_a_calibration_that_reaches_less_does_not_replace_one_that_decides(
    call: Call, people: Path, own_home: Path, tmp_path: Path
) -> None:
    place = save_former(own_home, (1e-1, 1e-2, 1e-3))
    before = place.read_bytes()
    code, _, err = call("calibrate", "--photos", people)
    assert code == 6
    assert "12 people do not support FMR 1e-03" in err
    assert "instead of 0.4000" in err
    assert place.read_bytes() == before
    assert call("calibrate", "--photos", people, "--out", tmp_path / "mine.json")[0] == 0


def test_a_new_calibration_says_what_it_changes(call: Call, people: Path, own_home: Path) -> None:
    save_former(own_home, (1e-1,))
    code, out, err = call("calibrate", "--photos", people)
    assert code == 0, err
    assert "from now on, compare decides at " in out
    assert "instead of 0.2000 (that rests on 400 people)" in out
