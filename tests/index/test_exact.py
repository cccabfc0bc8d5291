from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.errors import InputError
from arcwise.index import ExactIndex
from arcwise.index import exact as exact_module
from arcwise.types import Floats

D = 3


def whole_vectors(rng: np.random.Generator, n: int) -> Floats:
    """Entries of -0.5, 0 or 0.5: every product is exact, and many similarities tie."""
    return (rng.integers(-1, 2, size=(n, D)) / 2).astype(np.float32)


def nearest_by_hand(known: dict[int, Floats], query: Floats, k: int) -> list[tuple[int, float]]:
    scores = [(number, float(np.dot(vector, query))) for number, vector in known.items()]
    return sorted(scores, key=lambda hit: (-hit[1], hit[0]))[:k]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 90)), min_size=1, max_size=6),
    k=st.integers(1, 12),
)
def test_any_history_of_adding_and_removing_finds_what_a_plain_loop_finds(
    seed: int, steps: list[tuple[bool, int]], k: int
) -> None:
    rng = np.random.default_rng(seed)
    index, known, fresh = ExactIndex(D), {}, 0
    for is_adding, n in steps:
        if is_adding:
            vectors, ids = whole_vectors(rng, n), list(range(fresh, fresh + n))
            fresh += n
            index.add(ids, vectors)
            known.update(zip(ids, vectors, strict=True))
        else:
            gone = rng.permutation(sorted(known))[:n]
            assert index.remove(gone) == len(gone)
            for number in gone:
                del known[int(number)]
    queries = whole_vectors(rng, 4)
    hits = index.search(queries, k)
    assert len(index) == len(known)
    for query, ids, similarities in zip(queries, hits.ids, hits.similarities, strict=True):
        expected = nearest_by_hand(known, query, k)
        n_found = len(expected)
        assert [(int(i), float(s)) for i, s in zip(ids, similarities, strict=True)][
            :n_found
        ] == expected
        assert (ids[n_found:] == -1).all()
        assert np.isnan(similarities[n_found:]).all()


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    index = ExactIndex(D)
    index.add(range(100), whole_vectors(rng, 100))
    queries = whole_vectors(rng, 50)
    at_once = index.search(queries, 5)
    monkeypatch.setattr(exact_module, "_BLOCK_BYTES", 3 * 4 * 100)  # three queries at a time
    in_blocks = index.search(queries, 5)
    np.testing.assert_array_equal(at_once.ids, in_blocks.ids)
    np.testing.assert_array_equal(at_once.similarities, in_blocks.similarities)


def test_equal_similarities_come_by_rising_id() -> None:
    index = ExactIndex(2)
    index.add([9, 3, 7, 1], np.tile(np.float32([1, 0]), (4, 1)))
    assert index.search(np.float32([[1, 0]]), 3).ids.tolist() == [[1, 3, 7]]


def test_an_empty_index_finds_nothing() -> None:
    hits = ExactIndex(2).search(np.float32([[1, 0]]), 2)
    assert hits.ids.tolist() == [[-1, -1]]
    assert np.isnan(hits.similarities).all()


def test_no_threshold_is_met_where_there_is_no_hit() -> None:
    assert not (ExactIndex(2).search(np.float32([[1, 0]]), 1).similarities >= -1).any()


def test_similarity_never_leaves_the_range_of_a_cosine() -> None:
    index = ExactIndex(2)
    index.add([1], np.float32([[1.0000001, 0]]))
    assert index.search(np.float32([[1.0000001, 0]]), 1).similarities.max() == 1.0


def test_removing_what_is_not_there_changes_nothing() -> None:
    index = ExactIndex(2)
    index.add([1], np.float32([[1, 0]]))
    assert index.remove([2, 3]) == 0
    assert len(index) == 1


def test_a_removed_vector_leaves_the_memory() -> None:
    index = ExactIndex(2)
    index.add([1, 2], np.float32([[1, 0], [0.6, 0.8]]))
    index.remove([2])
    index.remove([1])
    assert not index._vectors[:2].any()


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1], [[1.0, 0.0, 0.0]], "shape"),
        ([1, 2], [[1.0, 0.0]], "2 ids for 1 vectors"),
        ([1], [[np.nan, 0.0]], "not finite"),
        ([2, 2], [[1.0, 0.0], [1.0, 0.0]], "differ"),
        ([-1], [[1.0, 0.0]], "from 0"),
        ([5], [[1.0, 0.0]], "5 is in the index already"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_added(
    ids: list[int], vectors: list[list[float]], message: str
) -> None:
    index = ExactIndex(2)
    index.add([5], np.float32([[0, 1]]))
    with pytest.raises(InputError, match=message):
        index.add(ids, np.float32(vectors))
    assert len(index) == 1


def test_a_query_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        ExactIndex(2).search(np.float32([[np.inf, 0]]), 1)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="got 0"):
        ExactIndex(2).search(np.float32([[1, 0]]), 0)


def test_a_dimension_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="got 0"):
        ExactIndex(0)
