"""Embedding for measurements and into files, as a person meets it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.cli.reporting import digest_photos
from arcwise.cli.run import run
from arcwise.cli.vectors import check_one_source, embed_crops, embed_names, load_vectors
from arcwise.encode import write_image
from arcwise.errors import InputError, ModelMismatchError, SettingsError
from arcwise.evaluate.vectors.cache import list_caches
from arcwise.evaluate.vectors.embedded import load_embeddings, save_embeddings
from arcwise.photos import open_photos
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_person, draw_photo

DRAWN: dict[str, DrawnPhoto] = {
    f"p{person}/{variation}.png": draw_photo(
        [person], size_wh_px=(128, 128), widths_px=[72], variation=variation
    )
    for person in range(3)
    for variation in range(2)
}
PARTY = draw_photo([0, 1], widths_px=[60, 90])
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album") / "people"
    for name, photo in DRAWN.items():
        write_image(folder / name, photo.image)
    return folder


@pytest.fixture
def album(saved: Path, tmp_path: Path) -> Path:
    """Two photos of each of three drawn people, to change."""
    return Path(shutil.copytree(saved, tmp_path / "people"))


def make_recognizer(settings: Settings) -> Recognizer:
    detector = FakeDetector.knowing([*DRAWN.values(), PARTY])
    return Recognizer(model=FakeEmbedder(), detector=detector, settings=settings)


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    return make_recognizer(Settings.from_environment({"ARCWISE_HOME": str(tmp_path / "home")}))


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """Runs a command with a recognizer that knows the drawn photos."""
    monkeypatch.setenv("ARCWISE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        "arcwise.cli.embed.open_recognizer", lambda settings, **_: make_recognizer(settings)
    )

    def run_it(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


# ── what the measuring commands share ──


def test_photos_that_are_not_there_are_failed_reads(album: Path, recognizer: Recognizer) -> None:
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, ["p1/0.png", "who/1.png", "p1/0.png"])
    assert embedded.names == ("p1/0.png",)
    assert embedded.reasons == {"who/1.png": "not among the photos"}
    assert embedded.model_digest == recognizer.embedder.digest


def test_a_second_measurement_takes_the_vectors_of_the_first(
    album: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_photos(album) as archive:
        first = embed_names(recognizer, archive, archive.names)
        monkeypatch.setattr(FakeEmbedder, "embed", None)
        monkeypatch.setattr(FakeDetector, "detect", None)
        second = embed_names(recognizer, archive, archive.names)
    np.testing.assert_array_equal(second.matrix(), first.matrix())
    (file,) = list_caches(recognizer.settings.cache_dir)
    assert (file.model, file.n_photos) == ("fake-embedder", 6)


def test_without_the_cache_nothing_is_kept(album: Path, recognizer: Recognizer) -> None:
    with open_photos(album) as archive:
        embed_names(recognizer, archive, archive.names, use_cache=False)
    assert not recognizer.settings.home.exists()


def test_a_cache_that_cannot_be_used_is_told_and_costs_nothing(
    album: Path, recognizer: Recognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer.settings.home.write_text("a file where the folder should be")
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    assert len(embedded) == 6
    assert "cache" in capsys.readouterr().err


def test_crops_come_as_files_or_as_pixels(album: Path, recognizer: Recognizer) -> None:
    pixels, _ = draw_person(1)
    content = write_image(album / "crop.png", pixels).read_bytes()
    embedded = embed_crops(recognizer, [("file", content), ("pixels", pixels)], total=2)
    np.testing.assert_array_equal(embedded.raw[0], embedded.raw[1])


def test_no_photos_are_no_vectors(album: Path, recognizer: Recognizer) -> None:
    embedded = embed_crops(recognizer, [], total=0)
    assert embedded.raw.shape == (0, 64)
    assert embedded.vectors() == {}


def test_photos_or_their_vectors_but_not_both() -> None:
    check_one_source(Path("photos"), None)
    check_one_source(None, Path("x.npz"))
    for photos, embeddings, word in ((None, None, "neither"), (Path("a"), Path("b"), "both")):
        with pytest.raises(SettingsError, match=word):
            check_one_source(photos, embeddings)


def test_vectors_of_another_model_are_refused(
    album: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    path = save_embeddings(embedded, tmp_path / "x.npz")
    assert len(load_vectors(path, None, digest=recognizer.embedder.digest)) == 6
    assert load_vectors(path, ["p0/0.png"], digest="").names == ("p0/0.png",)
    with pytest.raises(ModelMismatchError, match="fake-embedder"):
        load_vectors(path, None, digest="e" * 64)


def test_several_faces_of_a_photo_are_refused_with_the_way_out(
    call: Call, album: Path, tmp_path: Path
) -> None:
    write_image(album / "p0" / "party.png", PARTY.image)
    out = tmp_path / "x.npz"
    assert call("embed", album, "--out", out)[0] == 0
    with pytest.raises(InputError, match=r"'p0/party.png' is there with 2 faces") as caught:
        load_vectors(out, None, digest="")
    assert "--select center" in caught.value.hint
    assert call("embed", album, "--out", out, "--select", "center")[0] == 0
    assert len(load_vectors(out, None, digest="")) == 7


@pytest.mark.parametrize("select", ["all", "center"])
def test_photos_without_a_face_are_failed_reads_of_the_file(
    call: Call, album: Path, recognizer: Recognizer, tmp_path: Path, select: str
) -> None:
    """So that a measurement counts them as it does when it embeds the photos by itself."""
    write_image(album / "p0" / "wall.png", np.full((80, 90, 3), 99, np.uint8))
    (album / "p1" / "broken.png").write_bytes(b"nonsense")
    out = tmp_path / "x.npz"
    assert call("embed", album, "--out", out, "--flip", "--select", select)[0] == 3
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    loaded = load_vectors(out, None, digest="")
    assert loaded.reasons["p0/wall.png"] == embedded.reasons["p0/wall.png"] == "no face was found"
    assert loaded.reasons.keys() == embedded.reasons.keys() == {"p0/wall.png", "p1/broken.png"}
    assert loaded.failed_digests == embedded.failed_digests
    assert digest_photos(loaded) == digest_photos(embedded) != ""


# ── arcwise embed ──


def test_photos_of_one_folder_are_named_from_there(call: Call, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    code, said, _ = call("embed", album, "--out", out)
    assert code == 0
    assert load_embeddings(out).names == tuple(DRAWN)
    assert "p0/0.png" in said
    assert str(album) not in said


def test_an_archive_is_a_folder(call: Call, album: Path, tmp_path: Path) -> None:
    packed = tmp_path / "people.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in DRAWN:
            archive.write(album / name, name)
    code, _, err = call("embed", packed, "--out", tmp_path / "x.parquet")
    assert code == 0, err
    assert load_embeddings(tmp_path / "x.parquet").names == tuple(DRAWN)


def test_a_saved_file_measures_what_the_photos_do(
    call: Call, album: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    out = tmp_path / "x.npz"
    call("embed", album, "--out", out, "--flip", "--select", "center")
    with open_photos(album) as archive:
        embedded = embed_names(recognizer, archive, archive.names)
    loaded = load_embeddings(out)
    assert loaded.names == embedded.names
    assert loaded.digests == embedded.digests
    np.testing.assert_allclose(loaded.matrix("concat"), embedded.matrix("concat"), atol=1e-5)


def test_faces_of_one_photo_are_numbered(call: Call, album: Path, tmp_path: Path) -> None:
    write_image(album / "party.png", PARTY.image)
    out = tmp_path / "x.npz"
    assert call("embed", album, "--out", out)[0] == 0
    assert {"party.png#1", "party.png#2", "p0/0.png"} <= set(load_embeddings(out).names)
    with np.load(out, allow_pickle=False) as saved:
        assert saved["photos"].tolist()[6:] == ["party.png", "party.png"]
        assert saved["faces"].tolist()[6:] == [1, 2]
        assert saved["boxes_xyxy_px"].shape == (8, 4)


def test_of_several_faces_the_one_that_is_meant_is_taken(
    call: Call, album: Path, tmp_path: Path
) -> None:
    write_image(album / "party.png", PARTY.image)
    out = tmp_path / "x.npz"
    assert call("embed", album, "--out", out, "--select", "largest")[0] == 0
    assert "party.png" in load_embeddings(out).names
    code, _, err = call("embed", album, "--out", out, "--select", "only")
    assert code == 3
    assert "party.png: 2 faces" in err
    assert load_embeddings(out).reasons == {
        "party.png": "2 faces were found where one was expected"
    }


def test_json_tells_the_vectors_of_the_file(call: Call, album: Path, tmp_path: Path) -> None:
    (album / "p0" / "broken.jpg").write_bytes(b"nonsense")
    out = tmp_path / "x.npz"
    code, said, err = call("embed", album, "--out", out, "--flip", "--json")
    assert code == 3
    assert "broken.jpg" in err
    photos: list[dict[str, Any]] = json.loads(said)
    vectors = {p["photo"]: p["faces"][0]["embedding"] for p in photos if p["faces"]}
    embedded = load_embeddings(out)
    assert tuple(vectors) == embedded.names
    means = embedded.embeddings()
    np.testing.assert_allclose(list(vectors.values()), means.vectors, atol=1e-6)
    assert photos[0]["faces"][0]["norm"] == pytest.approx(float(means.norms[0]), abs=1e-4)


@pytest.mark.parametrize("size_px", [112, 60])
@pytest.mark.parametrize("as_files", [True, False])
def test_crops_are_embedded_as_they_are(
    call: Call, tmp_path: Path, size_px: int, as_files: bool
) -> None:
    folder = tmp_path / "crops"
    paths = [write_image(folder / f"{i}.png", draw_person(i, size_px=size_px)[0]) for i in range(3)]
    (folder / "x.png").write_bytes(b"nonsense")
    out = tmp_path / "x.npz"
    given = [*paths, folder / "x.png"] if as_files else [folder]
    code, _, err = call("embed", *given, "--aligned", "--out", out)
    assert code == 3
    assert "x.png: it is not a photo" in err
    names = [str(path) for path in paths] if as_files else ["0.png", "1.png", "2.png"]
    assert list(load_embeddings(out).names) == names


def test_embedding_into_a_file_keeps_nothing_else(call: Call, album: Path, tmp_path: Path) -> None:
    call("embed", album, "--out", tmp_path / "x.npz")
    call("embed", album, "--out", tmp_path / "x.npz", "--aligned")
    assert not (tmp_path / "home").exists()


def test_nobody_found_is_an_answer(call: Call, tmp_path: Path) -> None:
    write_image(tmp_path / "wall.png", np.full((80, 90, 3), 99, np.uint8))
    out = tmp_path / "x.npz"
    assert call("embed", tmp_path / "wall.png", "--out", out)[0] == 1
    assert load_embeddings(out).raw.shape == (0, 64)
    code, _, err = call("embed", tmp_path / "wall.png", "--select", "center")
    assert code == 3
    assert "wall.png: no face" in err


def test_a_file_of_another_kind_is_refused_before_the_work(
    call: Call, album: Path, tmp_path: Path
) -> None:
    code, _, err = call("embed", album, "--out", tmp_path / "x.csv")
    assert code == 3
    assert ".parquet" in err


def test_a_photo_that_is_not_there_is_told(call: Call, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_photos(tmp_path / "nowhere")
    assert call("embed", tmp_path / "nowhere")[0] == 3


def test_a_photo_of_a_folder_is_called_by_its_name(call: Call, album: Path, tmp_path: Path) -> None:
    (album / "p0" / "cut.png").write_bytes(b"nonsense")
    out = tmp_path / "x.npz"
    code, plain, err = call("embed", album, "--out", out, "--json")
    assert code == 3
    assert "arcwise: p0/cut.png is not a photo" in err
    assert "<file" not in err + plain
    assert load_embeddings(out).reasons["p0/cut.png"].startswith("p0/cut.png is not a photo")


def test_a_name_that_parquet_cannot_hold_is_refused_before_the_work(
    call: Call, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (album / "p0" / "0.png").rename(album / "p0" / "caf\udce9.png")
    monkeypatch.setattr(FakeDetector, "detect", None)
    for more in ((), ("--aligned",)):
        code, _, err = call("embed", album, "--out", tmp_path / "x.parquet", *more)
        assert code != 0
        assert "a name that is no text" in err
