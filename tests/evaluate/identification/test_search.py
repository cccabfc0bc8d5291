"""Searches in a gallery against the definition, person by person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.errors import InputError
from arcwise.evaluate.identification.search import cmc, search_gallery, search_scores


def search_naively(probes, probe_people, gallery, gallery_people):
    """(mate score, rank, best other score) of each probe, one person after the other."""
    unit = [v / np.linalg.norm(v.astype(np.float64)) for v in gallery]
    found = []
    for probe, person in zip(probes, probe_people, strict=True):
        probe = probe / np.linalg.norm(probe.astype(np.float64))
        best = {}
        for vector, name in zip(unit, gallery_people, strict=True):
            best[name] = max(best.get(name, -2.0), float(probe @ vector))
        others = [score for name, score in best.items() if name != person]
        mate = best.get(person)
        rank = 0 if mate is None else 1 + sum(score >= mate for score in others)
        found.append((mate, rank, max(others, default=-np.inf)))
    return found


@pytest.mark.parametrize("templates", [1, 3])
@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_searches_are_those_of_the_definition(templates, chunk, monkeypatch):
    monkeypatch.setattr("arcwise.evaluate.identification.search._CHUNK_PROBES", chunk)
    rng = np.random.default_rng(templates)
    people = [f"p{i % 13}" for i in range(13 * templates)]
    gallery = rng.normal(size=(len(people), 16)).astype(np.float32) * 5
    asked = [f"p{i % 17}" for i in range(50)]  # p13 to p16 are not in the gallery
    probes = rng.normal(size=(50, 16)).astype(np.float32)
    found = search_gallery(probes, asked, gallery, people)
    for i, (mate, rank, other) in enumerate(search_naively(probes, asked, gallery, people)):
        assert found.is_mated[i] == (mate is not None)
        assert found.mate_ranks[i] == rank
        assert found.other_scores[i] == pytest.approx(other, abs=1e-6)
        assert np.isnan(found.mate_scores[i]) if mate is None else True
        assert mate is None or found.mate_scores[i] == pytest.approx(mate, abs=1e-6)
        best = gallery[found.others[i]] / np.linalg.norm(gallery[found.others[i]])
        cosine = probes[i] @ best / np.linalg.norm(probes[i])
        assert cosine == pytest.approx(found.other_scores[i], abs=1e-5)
        assert people[found.others[i]] != asked[i]


def test_equal_scores_count_against_the_mate():
    gallery = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    found = search_gallery(np.eye(3, dtype=np.float32)[:1], ["c"], gallery, ["a", "b", "c", "d"])
    assert found.mate_ranks.tolist() == [3]


def test_own_templates_do_not_count_against_the_mate():
    gallery = np.eye(2, dtype=np.float32)[[0, 0, 1]]
    found = search_gallery(np.eye(2, dtype=np.float32)[:1], ["a"], gallery, ["a", "a", "b"])
    assert found.mate_ranks.tolist() == [1]


def test_a_gallery_of_one_person_has_no_others():
    one = np.ones((1, 4), np.float32)
    found = search_gallery(one, ["a"], one, ["a"])
    assert (found.mate_ranks[0], found.other_scores[0], found.others[0]) == (1, -np.inf, -1)


def test_people_may_be_numbers():
    eye = np.eye(3, dtype=np.float32)
    found = search_gallery(eye, np.array([4, 5, 9]), eye, [9, 5, 4])
    assert found.mate_ranks.tolist() == [3, 1, 3]  # zeros tie


def test_a_large_gallery_is_searched_in_parts(monkeypatch):
    monkeypatch.setattr("arcwise.evaluate.identification.search._MOST_SCORES", 30)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 8)).astype(np.float32)
    found = search_gallery(vectors, range(20), vectors, range(20))
    assert (found.mate_ranks == 1).all()
    assert found.mate_scores == pytest.approx(1, abs=1e-6)


def test_memory_mapped_probes_are_read(tmp_path):
    eye = np.eye(5, dtype=np.float32)
    np.save(tmp_path / "p.npy", eye)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    assert (search_gallery(mapped, range(5), mapped, range(5)).mate_ranks == 1).all()


@pytest.mark.parametrize(
    ("probes", "gallery", "words"),
    [
        (np.zeros((0, 4)), np.ones((1, 4)), "probes have the shape"),
        (np.ones((1, 4)), np.zeros((0, 4)), "gallery have the shape"),
        (np.ones(4), np.ones((1, 4)), "probes have the shape"),
        (np.ones((1, 3)), np.ones((1, 4)), "3 and a gallery of 4"),
        (np.zeros((1, 4)), np.ones((1, 4)), "embedding of probe 0"),
        (np.full((1, 4), np.nan), np.ones((1, 4)), "length nan"),
        (np.ones((1, 4)), np.full((1, 4), np.inf), "length inf"),
    ],
)
def test_vectors_that_cannot_be_searched_are_refused(probes, gallery, words):
    with pytest.raises(InputError, match=words):
        search_gallery(probes, range(len(probes)), gallery, range(len(gallery)))


def test_another_number_of_people_is_refused():
    with pytest.raises(InputError, match="people for 2"):
        search_gallery(np.ones((1, 2)), ["a", "b"], np.ones((1, 2)), ["a"])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12))
def test_scores_of_a_classifier_rank_as_the_definition_says(seed, n_people, n_probes):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 4, (n_probes, n_people)).astype(np.float32)  # many ties
    own = rng.integers(0, n_people + 1, n_probes)
    found = search_scores(scores, own.tolist(), range(n_people))
    for i, person in enumerate(own):
        others = [scores[i, j] for j in range(n_people) if j != person]
        assert found.other_scores[i] == max(others, default=-np.inf)
        if person < n_people:
            assert found.mate_ranks[i] == 1 + sum(s >= scores[i, person] for s in others)
            assert found.mate_scores[i] == scores[i, person]
        else:
            assert found.mate_ranks[i] == 0


@pytest.mark.parametrize(
    ("scores", "people", "words"),
    [
        (np.ones((1, 2)), ["a"], "for 2 people, of 1"),
        (np.ones((1, 2)), ["a", "a"], "of 1 different"),
        (np.full((1, 2), np.nan), ["a", "b"], "not finite"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(scores, people, words):
    with pytest.raises(InputError, match=words):
        search_scores(scores, ["a"], people)


def test_cmc_counts_ranks_over_all_mated_searches():
    scores = np.array([[3, 2, 1], [3, 2, 1], [3, 2, 1], [3, 2, 1]], np.float32)
    found = search_scores(scores, ["a", "b", "c", "stranger"], ["a", "b", "c"])
    shares = cmc(found, [1, 2, 3, 50])
    assert [(share.n_hits, share.n) for share in shares] == [(1, 3), (2, 3), (3, 3), (3, 3)]


def test_system_d_counts_230_of_250():
    scores = np.zeros((250, 250), np.float32)
    np.fill_diagonal(scores, 1)
    scores[:20, 249] = 2
    (share,) = cmc(search_scores(scores, range(250), range(250)), [1])
    assert (share.n_hits, share.n, share.share) == (230, 250, 0.92)


def test_a_failed_search_never_finds_its_mate():
    found = search_scores(np.ones((1, 1), np.float32), ["a"], ["a"])
    (share,) = cmc(found, [1], n_failed=3)
    assert (share.n_hits, share.n) == (1, 4)


def test_cmc_without_a_mated_search_is_refused():
    found = search_scores(np.ones((1, 1), np.float32), ["x"], ["a"])
    with pytest.raises(InputError, match="no mated search"):
        cmc(found, [1])


@pytest.mark.parametrize("ranks", [[], [0], [1, -2]])
def test_ranks_below_one_are_refused(ranks):
    found = search_scores(np.ones((1, 1), np.float32), ["a"], ["a"])
    with pytest.raises(InputError, match="ranks are"):
        cmc(found, ranks)
