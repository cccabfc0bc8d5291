"""Values check themselves, cannot be changed, and never write biometric data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from arcwise.errors import ImageError, InputError
from arcwise.types import Embeddings, Face, Faces, Match, Pair, Quality, Reason

POINTS = [[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]


def face(**changes: Any) -> Face:
    given = {"box_xyxy_px": [10, 20, 90, 120], "score": 0.9, "points_px": POINTS}
    return Face(**(given | changes))


def quality(*reasons: Reason) -> Quality:
    return Quality(
        size_px=80,
        sharpness=300,
        brightness=120,
        contrast=40,
        yaw_deg=0,
        pitch_deg=0,
        roll_deg=0,
        inside=1,
        reasons=reasons,
    )


# Face


def test_a_face_holds_float32_that_cannot_be_changed() -> None:
    one = face(embedding=np.ones(4))
    for array in (one.box_xyxy_px, one.points_px, one.embedding):
        assert array is not None
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.score = 0.1  # type: ignore[misc]


def test_a_face_does_not_see_later_changes_of_what_it_was_made_from() -> None:
    box = np.array([10, 20, 90, 120], np.float32)
    one = face(box_xyxy_px=box)
    box[0] = 99
    assert one.box_xyxy_px[0] == 10
    assert one.size_wh_px == (80, 100)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"box_xyxy_px": [10, 20, 90]}, r"box_xyxy_px must have shape \(4\), got \(3,\)"),
        ({"box_xyxy_px": [10, 20, 10, 120]}, "positive size"),
        ({"box_xyxy_px": [10, 20, 90, 19]}, "positive size"),
        ({"box_xyxy_px": [10, 20, np.inf, 120]}, r"not finite, the first at \[2\]"),
        ({"points_px": POINTS[:4]}, r"points_px must have shape \(5, 2\)"),
        ({"points_px": [*POINTS[:4], [np.nan, 0]]}, r"not finite, the first at \[4, 0\]"),
        ({"score": 1.1}, "score must lie in 0..1, got 1.1"),
        ({"score": -0.1}, "score"),
        ({"score": float("nan")}, "score"),
        ({"embedding": [[1.0]]}, r"embedding must have shape \(any\)"),
    ],
)
def test_a_face_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        face(**changes)


def test_a_written_face_has_no_embedding() -> None:
    reason = Reason(code="small", text="the face is 20 px, 40 are needed", value=20, limit=40)
    plain = face(embedding=np.ones(4), norm=21.5, quality=quality(reason)).to_dict()
    assert json.loads(json.dumps(plain)) == {
        "box_xyxy_px": [10.0, 20.0, 90.0, 120.0],
        "score": 0.9,
        "points_px": [[float(x), float(y)] for x, y in POINTS],
        "norm": 21.5,
        "reasons": ["the face is 20 px, 40 are needed"],
    }
    assert set(face().to_dict()) == {"box_xyxy_px", "score", "points_px"}


def test_a_face_without_reasons_against_it_is_good() -> None:
    assert quality().is_good
    assert not quality(Reason("dark", "it is dark", 10, 40)).is_good


# Faces


def test_the_faces_of_a_photo_are_a_sequence_and_plain_json() -> None:
    found = Faces(source="a.jpg", size_wh_px=(640, 480), digest="d", faces=(face(), face()))
    assert len(found) == len(list(found)) == 2
    plain = json.loads(json.dumps(found.to_dict()))
    assert (plain["photo"], plain["size_wh_px"], plain["error"]) == ("a.jpg", [640, 480], None)
    assert plain["faces"] == [face().to_dict()] * 2


def test_a_photo_that_was_not_read_says_why() -> None:
    lost = Faces(source="a.jpg", error=ImageError("a.jpg is empty"))
    assert len(lost) == 0
    assert lost.to_dict()["error"] == "a.jpg is empty"


# Embeddings


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(1, 9)),
        elements=st.one_of(
            st.just(0.0),
            st.floats(2**-60, 2**60, width=32),
            st.floats(-(2**60), -(2**-60), width=32),
        ),
    )
)
def test_raw_embeddings_become_norm_1_and_keep_their_length(raw: np.ndarray) -> None:
    embeddings = Embeddings.from_raw(raw)
    exact = np.linalg.norm(raw.astype(np.float64), axis=1)
    np.testing.assert_allclose(embeddings.norms, exact, rtol=1e-6)
    lengths = np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, exact > 0, atol=1e-6)
    np.testing.assert_allclose(embeddings.vectors * exact[:, None], raw, rtol=1e-5)
    assert len(embeddings) == len(raw)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_raw_embeddings_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"not finite, the first at \[1, 2\]"):
        Embeddings.from_raw(np.array([[1, 2, 3], [1, 2, value]]))


def test_embeddings_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(InputError, match="raw embeddings must have shape"):
        Embeddings.from_raw(np.ones(4))
    with pytest.raises(InputError, match="norms"):
        Embeddings(vectors=np.ones((2, 4), np.float32), norms=np.ones(3, np.float32))


# Others


def test_a_pair_has_a_fold_from_0() -> None:
    with pytest.raises(InputError, match="fold must be at least 0, got -1"):
        Pair("a", "b", is_same=True, fold=-1)


def test_a_match_reads_as_a_sentence() -> None:
    words = {"similarity": 0.1, "threshold": 0.4, "margin": None, "runner_up": None}
    unknown = Match("unknown", None, candidate="Ann", why="too far", calibrated=False, **words)
    assert str(unknown) == "unknown: too far"
    known = Match("match", "Ann", candidate="Ann", why="near", calibrated=True, **words)
    assert str(known) == "Ann: near"
    assert str(Reason("dark", "it is dark", 10, 40)) == "it is dark"
