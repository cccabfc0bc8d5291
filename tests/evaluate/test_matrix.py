"""All faces against all: values, the most alike pair, and what two faces in one photo show."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from arcwise.compare import Threshold
from arcwise.errors import InputError
from arcwise.evaluate.matrix import FaceOf, SimilarityMatrix, compare_all
from arcwise.types import Floats

FACES = [FaceOf("group.jpg", 1), FaceOf("group.jpg", 2), FaceOf("ann.jpg", 1), FaceOf("b.jpg", 1)]
THRESHOLD = Threshold(0.5, 1e-3, True, "calibrated for FMR 1.0e-03")


@pytest.fixture
def vectors() -> Floats:
    vectors = np.random.default_rng(5).normal(size=(4, 16)).astype(np.float32)
    vectors[2] = 3 * vectors[0] + 0.1 * vectors[2]
    return vectors


def compare(vectors: Floats, faces: list[FaceOf] = FACES) -> SimilarityMatrix:
    return compare_all(faces, vectors, threshold=THRESHOLD)


def test_similarities_are_cosines_the_same_both_ways(vectors: Floats) -> None:
    found = compare(vectors).similarities
    for i, j in combinations(range(4), 2):
        a, b = vectors[i].astype(float), vectors[j].astype(float)
        assert found[i, j] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
        assert found[i, j] == found[j, i]
    assert found.diagonal().tolist() == [1, 1, 1, 1]


def test_the_most_alike_pair_comes_first(vectors: Floats) -> None:
    matrix = compare(vectors)
    pairs = matrix.most_alike()
    assert (str(pairs[0].a), str(pairs[0].b)) == ("group.jpg#1", "ann.jpg#1")
    scores = [pair.similarity for pair in pairs]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)
    assert matrix.most_alike(1) == pairs[:1]


def test_ties_keep_the_order_of_the_faces() -> None:
    pairs = compare(np.ones((4, 2), np.float32)).most_alike()
    assert [pair.a for pair in pairs] == [FACES[k] for k in (0, 0, 0, 1, 1, 2)]


def test_two_faces_in_one_photo_show_how_low_a_threshold_may_not_be(vectors: Floats) -> None:
    matrix = compare(vectors)
    within = matrix.most_alike_within()
    assert within is not None
    assert (within.a, within.b) == (FACES[0], FACES[1])
    rows = {row.name: row.value for row in matrix.rows()}
    assert (
        rows["largest within one photo"] == f"{within.similarity:.4f}, group.jpg#1 and group.jpg#2"
    )
    assert rows["matches"] == "1 of 6 pairs"


def test_photos_of_one_face_each_have_no_such_pair(vectors: Floats) -> None:
    matrix = compare(vectors[1:], FACES[1:])
    assert matrix.most_alike_within() is None
    assert matrix.to_dict()["largest_within_photo"] is None


def test_one_face_is_a_matrix_too(vectors: Floats) -> None:
    matrix = compare(vectors[:1], FACES[:1])
    assert (matrix.most_alike(), matrix.to_dict()["largest"]) == ([], None)
    assert {row.name: row.value for row in matrix.rows()}["matches"] == "0 of 0 pairs"


def test_a_similarity_at_the_threshold_is_a_match() -> None:
    vectors = np.array([[1, 0], [1, 0]], np.float32)
    matrix = compare_all(FACES[:2], vectors, threshold=Threshold(1.0, None, False, "given"))
    assert matrix.to_dict()["n_matches"] == 1


def test_it_can_be_written_as_json(vectors: Floats) -> None:
    plain = json.loads(json.dumps(compare(vectors).to_dict(), allow_nan=False))
    assert plain["faces"][1] == {"photo": "group.jpg", "number": 2}
    assert plain["threshold"]["similarity"] == 0.5
    assert np.shape(plain["similarities"]) == (4, 4)


@pytest.mark.parametrize(
    ("faces", "vectors"),
    [([], np.ones((0, 2))), (FACES[:2], np.ones((1, 2))), (FACES[:1], np.array([[np.nan, 1]]))],
)
def test_what_cannot_be_compared_is_refused(faces: list[FaceOf], vectors: Floats) -> None:
    with pytest.raises(InputError, match="cannot compare"):
        compare(vectors, faces)
