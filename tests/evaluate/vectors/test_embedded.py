"""Vectors under their names: what they must be, and that a file gives back what was put in."""

from __future__ import annotations

import pickle
import stat
import sys
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcwise.data.targets import Targets
from arcwise.errors import InputError
from arcwise.evaluate.vectors.embedded import (
    ZERO,
    EmbeddedPhotos,
    load_embeddings,
    person_of_photo,
    save_embeddings,
)

BOTH = pytest.mark.parametrize("suffix", [".npz", ".parquet"])


def make(n: int = 3, dimension: int = 4, *, mirror: bool = True, **changed: Any) -> EmbeddedPhotos:
    rng = np.random.default_rng(5)
    parts: dict[str, Any] = {
        "names": tuple(f"Zoë/{i}.jpg" for i in range(n)),
        "raw": rng.normal(0, 3, (n, dimension)).astype(np.float32),
        "mirrored": rng.normal(0, 3, (n, dimension)).astype(np.float32) if mirror else None,
        "digests": tuple(f"{i:064x}" if i else "" for i in range(n)),
        "reasons": {"Zoë/bad.jpg": "no face was found"},
        "model": "tiny",
        "model_digest": "d" * 64,
        "failed_digests": {"Zoë/bad.jpg": "b" * 64},
    }
    return EmbeddedPhotos(**(parts | changed))


# ── the value ──


def test_views_are_left_out_added_or_put_behind_each_other() -> None:
    embedded = make()
    assert embedded.mirrored is not None
    name, row = embedded.names[1], embedded.raw[1]
    np.testing.assert_array_equal(embedded.vectors("none")[name], row)
    np.testing.assert_array_equal(embedded.vectors()[name], row + embedded.mirrored[1])
    np.testing.assert_array_equal(embedded.vectors("concat")[name], [*row, *embedded.mirrored[1]])


@pytest.mark.parametrize("views", ["sum", "concat"])
def test_views_that_were_not_embedded_are_refused(views: Any) -> None:
    with pytest.raises(InputError, match="mirror images were not embedded"):
        make(mirror=False).vectors(views)


def test_an_unknown_word_for_views_is_refused() -> None:
    with pytest.raises(InputError, match="'both'"):
        make().vectors("both")  # type: ignore[arg-type]


def test_norms_are_those_of_the_original() -> None:
    embedded = make()
    np.testing.assert_allclose(embedded.norms(), np.linalg.norm(embedded.raw, axis=1), rtol=1e-6)


def test_embeddings_are_the_normalized_mean_of_the_views() -> None:
    embedded = make()
    assert embedded.mirrored is not None
    mean = (embedded.raw + embedded.mirrored) / 2
    norms = np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(embedded.embeddings().norms, norms, rtol=1e-6)
    np.testing.assert_allclose(embedded.embeddings().vectors, mean / norms[:, None], atol=1e-6)


def test_unknown_digests_are_left_out() -> None:
    assert list(make().digest_of()) == ["Zoë/1.jpg", "Zoë/2.jpg"]


def test_chosen_photos_keep_their_vectors_and_lost_ones_say_why() -> None:
    embedded = make()
    chosen = embedded.choose(["Zoë/2.jpg", "Zoë/bad.jpg", "who/1.jpg", "Zoë/0.jpg", "Zoë/2.jpg"])
    assert chosen.names == ("Zoë/2.jpg", "Zoë/0.jpg")
    np.testing.assert_array_equal(chosen.raw, embedded.raw[[2, 0]])
    assert chosen.reasons == {
        "Zoë/bad.jpg": "no face was found",
        "who/1.jpg": "not among the embeddings",
    }


NAN = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4], [1, 2, 3, 4]], np.float32)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"names": ("a", "b", "a")}, "'a' is there twice"),
        ({"names": ("a", "b", "Zoë/bad.jpg")}, "is there twice"),
        ({"names": ("a", "b")}, "2 names for 3 vectors"),
        ({"digests": ("",)}, "1 digests"),
        ({"raw": NAN}, "Zoë/1.jpg is not finite"),
        ({"raw": np.where(np.isnan(NAN), np.inf, NAN)}, "Zoë/1.jpg is not finite"),
        ({"mirrored": NAN}, "Zoë/1.jpg is not finite"),
        ({"raw": np.nan_to_num(NAN) * [[1], [0], [1]]}, "float64"),
        ({"raw": (np.nan_to_num(NAN) * [[1], [0], [1]]).astype(np.float32)}, "length 0"),
        ({"raw": np.ones(3, np.float32), "mirrored": None}, "not (N, D) floats"),
        ({"raw": np.ones((3, 0), np.float32), "mirrored": None}, "not (N, D) floats"),
        ({"mirrored": np.ones((3, 5), np.float32)}, "(3, 5)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        make(**changed)
    assert words in str(caught.value)


def test_a_person_is_the_folder_of_a_photo() -> None:
    assert person_of_photo("Ann/1.jpg") == "Ann"
    assert person_of_photo("men/Bob/1.jpg") == "men/Bob"
    with pytest.raises(InputError, match="no person's folder"):
        person_of_photo("1.jpg")


# ── the files ──


@BOTH
@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("n", [0, 3])
def test_a_file_gives_back_every_bit(tmp_path: Path, suffix: str, mirror: bool, n: int) -> None:
    embedded = make(n, mirror=mirror)
    path = save_embeddings(embedded, tmp_path / f"x{suffix}")
    back = load_embeddings(path)
    assert back.names == embedded.names
    assert back.digests == embedded.digests
    assert back.reasons == embedded.reasons
    assert (back.model, back.model_digest) == ("tiny", "d" * 64)
    np.testing.assert_array_equal(back.raw, embedded.raw)
    if mirror:
        np.testing.assert_array_equal(back.mirrored, embedded.mirrored)
    else:
        assert back.mirrored is None


ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 5)),
    elements=st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda x: abs(x) > 1e-18),
)


@given(raw=ROWS, words=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_name_and_number_survives(
    tmp_path_factory: pytest.TempPathFactory, raw: np.ndarray[Any, Any], words: str
) -> None:
    names = tuple(f"{words}/{i}" for i in range(len(raw)))
    embedded = EmbeddedPhotos(names, raw, None, ("",) * len(raw), {words: words}, words, words)
    for suffix in (".npz", ".parquet"):
        path = save_embeddings(embedded, tmp_path_factory.mktemp("any") / f"x{suffix}")
        back = load_embeddings(path)
        assert (back.names, back.reasons, back.model) == (names, {words: words}, words)
        np.testing.assert_array_equal(back.raw, raw)


@BOTH
def test_a_file_is_for_its_owner_alone(tmp_path: Path, suffix: str) -> None:
    path = save_embeddings(make(), tmp_path / f"x{suffix}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@BOTH
def test_further_columns_must_have_a_row_for_each_photo(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    save_embeddings(make(), path, more={"faces": np.arange(3)})
    assert len(load_embeddings(path)) == 3
    with pytest.raises(InputError, match="faces has 2 rows for 3"):
        save_embeddings(make(), path, more={"faces": np.arange(2)})


def test_a_student_can_learn_from_a_saved_file(tmp_path: Path) -> None:
    embedded = make()
    targets = Targets.load(save_embeddings(embedded, tmp_path / "x.npz"))
    np.testing.assert_array_equal(targets.vectors, embedded.embeddings().vectors)


def test_the_norms_in_a_file_belong_to_its_vectors(tmp_path: Path) -> None:
    embedded = make(mirror=False)
    with np.load(save_embeddings(embedded, tmp_path / "x.npz"), allow_pickle=False) as saved:
        product = saved["vectors"] * saved["norms"][:, None]
    np.testing.assert_allclose(product, embedded.raw, rtol=1e-6)


def save_foreign(path: Path, columns: dict[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        plain = {name: pyarrow.array(np.asarray(c).tolist()) for name, c in columns.items()}
        pyarrow.parquet.write_table(pyarrow.table(plain), path)
    return path


@BOTH
@pytest.mark.parametrize("names", ["names", "photos", "paths"])
@pytest.mark.parametrize("vectors", ["vectors", "embeddings"])
def test_anybodys_names_and_vectors_are_read(
    tmp_path: Path, suffix: str, names: str, vectors: str
) -> None:
    rows = np.array([[1.5, 2], [0, 0], [3, 4]], np.float64)
    path = save_foreign(tmp_path / f"x{suffix}", {names: ["a", "b", "c"], vectors: rows})
    embedded = load_embeddings(path)
    assert embedded.names == ("a", "c")
    assert embedded.raw.dtype == np.float32
    np.testing.assert_array_equal(embedded.raw, rows[[0, 2]])
    assert embedded.reasons == {"b": ZERO}
    assert (embedded.model, embedded.model_digest) == ("", "")


def test_names_may_be_bytes(tmp_path: Path) -> None:
    names = np.array(["Zoë".encode(), b"b"])
    path = save_foreign(tmp_path / "x.npz", {"names": names, "vectors": np.ones((2, 3))})
    assert load_embeddings(path).names == ("Zoë", "b")


@BOTH
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"names": ["a"]}, "none of the columns raw"),
        ({"vectors": np.ones((1, 2))}, "none of the columns names"),
        ({"names": ["a", "a"], "vectors": np.ones((2, 2))}, "twice"),
        ({"names": ["a"], "vectors": [[1.0, np.nan]]}, "not finite"),
        ({"names": ["a"], "vectors": [[1.0, 1e300]]}, "not finite"),
        ({"names": [], "vectors": np.ones((0, 2))}, ""),
    ],
)
def test_a_foreign_file_that_does_not_fit_is_refused(
    tmp_path: Path, suffix: str, columns: dict[str, Any], words: str
) -> None:
    path = save_foreign(tmp_path / f"x{suffix}", columns)
    with pytest.raises(InputError) as caught:
        load_embeddings(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"names": ["a"], "vectors": np.ones((2, 2))}, "1 names for 2 vectors"),
        ({"names": ["a"], "vectors": np.ones((1, 2), np.int64)}, "int64"),
        ({"names": [["a"]], "vectors": np.ones((1, 2))}, "(N,) texts"),
        ({"names": [1], "vectors": np.ones((1, 2))}, "(N,) texts"),
        ({"names": [b"\xff"], "vectors": np.ones((1, 2))}, "UTF-8"),
        (
            {"names": ["a"], "vectors": np.ones((1, 2)), "mirrored": np.ones((1, 3))},
            "mirrored vectors have shape (1, 3)",
        ),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_embeddings(save_foreign(tmp_path / "x.npz", columns))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [([[1.0], [1.0, 2.0]], "2 lengths"), ([[1.0], None], "gaps"), ([[1.0], [None]], "gaps")],
)
def test_vectors_with_gaps_or_of_two_lengths_are_refused(
    tmp_path: Path, vectors: list[Any], words: str
) -> None:
    table = pyarrow.table({"names": ["a", "b"], "vectors": vectors})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=words):
        load_embeddings(tmp_path / "x.parquet")


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    marker = tmp_path / "opened"
    hostile = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    path = tmp_path / "x.npz"
    path.write_bytes(hostile)
    with pytest.raises(InputError, match="plain arrays"):
        load_embeddings(path)
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, names=objects, vectors=np.ones((1, 2)), allow_pickle=True)
    with pytest.raises(InputError, match="plain arrays"):
        load_embeddings(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="plain arrays"):
        load_embeddings(path)
    assert not marker.exists()


@BOTH
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save_embeddings(make(50, 64), tmp_path / f"x{suffix}")
    content = path.read_bytes()
    for size in (0, 1, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            load_embeddings(path)


def test_a_name_that_is_no_text_is_kept_or_refused(tmp_path: Path) -> None:
    embedded = make(names=("a/\udcff.jpg", "b", "c"))
    back = load_embeddings(save_embeddings(embedded, tmp_path / "x.npz"))
    assert back.names == embedded.names
    with pytest.raises(InputError, match="a name that is no text"):
        save_embeddings(embedded, tmp_path / "x.parquet")


def test_without_pyarrow_the_other_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "arcwise.evaluate.vectors.parquet", raising=False)
    with pytest.raises(InputError, match="pyarrow is not installed") as caught:
        save_embeddings(make(), tmp_path / "x.parquet")
    assert "arcwise[report]" in caught.value.hint
    assert ".npz" in caught.value.hint


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 2)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(InputError, match="without a name"):
        load_embeddings(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.pkl", "x", "x.npy"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no file of embeddings"):
        save_embeddings(make(), tmp_path / name)
    with pytest.raises(InputError, match="no file of embeddings"):
        load_embeddings(tmp_path / name)


@BOTH
def test_a_missing_file_is_told(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_embeddings(tmp_path / f"nowhere{suffix}")


@BOTH
def test_failed_photos_keep_what_is_known_of_their_pixels(tmp_path: Path, suffix: str) -> None:
    reasons = {"a.jpg": "no face was found", "b.jpg": "not there"}
    embedded = make(reasons=reasons, failed_digests={"a.jpg": "a" * 64})
    loaded = load_embeddings(save_embeddings(embedded, tmp_path / f"x{suffix}"))
    assert (loaded.reasons, loaded.failed_digests) == (reasons, {"a.jpg": "a" * 64})
    assert loaded.choose(["b.jpg", "a.jpg"]).failed_digests == {"a.jpg": "a" * 64}


def test_rows_of_zeros_keep_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, names=["a", "b"], vectors=np.eye(2)[[0, 0]] * [[0], [1]], digests=["1", "2"])
    loaded = load_embeddings(path)
    assert (loaded.names, loaded.digests, loaded.failed_digests) == (("b",), ("2",), {"a": "1"})


@BOTH
def test_several_faces_of_a_photo_are_refused_where_one_is_meant(
    tmp_path: Path, suffix: str
) -> None:
    photos = {"photos": np.array(["a.jpg", "b.jpg", "a.jpg"])}
    path = save_embeddings(make(), tmp_path / f"x{suffix}", more=photos)
    assert len(load_embeddings(path)) == 3
    with pytest.raises(InputError, match=r"'a.jpg' is there with 2 faces") as caught:
        load_embeddings(path, is_one_face=True)
    assert "--select center" in caught.value.hint


def test_failed_photos_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    failed: dict[str, Any] = {"failed_names": ["a", "b"], "failed_reasons": ["x"]}
    np.savez(tmp_path / "x.npz", names=["c"], vectors=np.eye(1), **failed)
    with pytest.raises(InputError, match="one length"):
        load_embeddings(tmp_path / "x.npz")
