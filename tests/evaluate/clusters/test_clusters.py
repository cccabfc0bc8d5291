"""Cutting merges at thresholds: against brute force, with ties, and with photos that failed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components

from arcwise.compare import Threshold
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.clusters import Merges, evaluate_clusters, trace_merges
from arcwise.evaluate.clusters import linkage as linkages
from arcwise.evaluate.clusters.linkage import LINKAGES, TIE_STEP, link_average, link_components
from arcwise.evaluate.clusters.partition import score_clusters


def draw_people(
    n_people: int = 8, n_photos: int = 5, noise: float = 0.5, dimension: int = 16
) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(7)
    centers = np.repeat(rng.normal(size=(n_people, dimension)), n_photos, axis=0)
    vectors = centers + noise * rng.normal(size=centers.shape)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), [f"p{i // n_photos}" for i in range(len(vectors))]


def cosines(vectors: np.ndarray) -> np.ndarray:
    return np.round((vectors @ vectors.T) / TIE_STEP).astype(np.float64) * TIE_STEP


def are_same(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first.tolist())) == len(set(second.tolist()))


@pytest.mark.parametrize("threshold", [-1.0, -0.2, 0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_components_are_those_of_all_pairs_that_reach_the_threshold(threshold: float):
    vectors, _ = draw_people()
    expected = connected_components(cosines(vectors) >= threshold, directed=False)[1]
    assert are_same(link_components(vectors).labels_at(threshold), expected)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.2, 0.5, 0.8])
def test_average_linkage_is_that_of_scipy(threshold: float):
    vectors, _ = draw_people()
    apart = 1 - cosines(vectors)[np.triu_indices(len(vectors), 1)]
    expected = fcluster(linkage(apart, "average"), 1 - threshold, "distance")
    assert are_same(link_average(vectors).labels_at(threshold), expected)


def test_ties_are_merged_together():
    """Points on a circle: every neighbor is equally near, so all are one, or nobody is."""
    angles = np.arange(12) * 2 * np.pi / 12
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    merges = link_components(vectors)
    step = cosines(vectors)[0, 1]
    assert len(set(merges.labels_at(step - 2 * TIE_STEP).tolist())) == 1
    assert len(set(merges.labels_at(step + 2 * TIE_STEP).tolist())) == 12


@pytest.mark.parametrize("name", LINKAGES)
def test_equal_vectors_are_one_cluster_at_the_strictest_threshold(name: str):
    vectors = np.tile(draw_people(1, 1)[0], (6, 1))
    assert set(LINKAGES[name](vectors).labels_at(1.0).tolist()).__len__() == 1


@pytest.mark.parametrize("name", LINKAGES)
def test_blocks_do_not_change_a_merge(name: str, monkeypatch: pytest.MonkeyPatch):
    vectors, _ = draw_people()
    whole = LINKAGES[name](vectors)
    monkeypatch.setattr(linkages, "_BLOCK_CELLS", 3 * len(vectors))
    parts = LINKAGES[name](vectors)
    assert parts.similarity == pytest.approx(whole.similarity)
    for threshold in (0.1, 0.4, 0.8):
        assert are_same(whole.labels_at(threshold), parts.labels_at(threshold))


@pytest.mark.parametrize("name", LINKAGES)
def test_the_trace_is_what_each_threshold_scores(name: str):
    vectors, people = draw_people(noise=0.9)
    merges = LINKAGES[name](vectors)
    people = [*people, "p0", "stranger"]  # two photos without an embedding
    trace = trace_merges(merges, people)
    for i, similarity in enumerate(trace.similarity.tolist()):
        clusters = [*merges.labels_at(similarity).tolist(), "alone", "alone too"]
        scores = score_clusters(people, clusters)
        assert trace.n_clusters[i] == scores.n_clusters
        assert trace.pairwise_f[i] == pytest.approx(scores.pairwise.f)
        assert trace.bcubed_f[i] == pytest.approx(scores.bcubed.f)


def test_the_best_threshold_has_the_highest_f_of_all():
    vectors, people = draw_people(noise=0.9)
    report = evaluate_clusters(link_average(vectors), people, linkage="average")
    best = report.best.scores.bcubed.f
    assert best == pytest.approx(report.trace.bcubed_f.max())
    assert all(one.scores.bcubed.f <= best + 1e-12 for one in report.table)
    assert [one.similarity for one in report.table] == sorted(
        one.similarity for one in report.table
    )


def test_people_who_are_far_apart_are_found_whole():
    vectors, people = draw_people(noise=0.05)
    scores = evaluate_clusters(link_average(vectors), people, linkage="average").best.scores
    assert (scores.n_clusters, scores.n_whole_classes, scores.n_merged_clusters) == (8, 8, 0)
    assert (scores.ari, scores.bcubed.f, scores.pairwise.f) == (1, pytest.approx(1), 1)


def test_a_loose_threshold_merges_and_a_strict_one_splits():
    vectors, people = draw_people(noise=0.3)
    given = [Threshold(value, None, False, "given") for value in (-1.0, 0.999999)]
    report = evaluate_clusters(
        link_components(vectors), people, linkage="components", thresholds=given
    )
    loose, strict = (one.scores for one in report.at)
    assert (loose.n_clusters, loose.n_merged_classes, loose.n_split_classes) == (1, 8, 0)
    assert (strict.n_merged_clusters, strict.n_split_classes) == (0, 8)


def test_a_photo_without_an_embedding_is_a_cluster_of_its_own():
    vectors, people = draw_people(noise=0.05)
    report = evaluate_clusters(
        link_average(vectors), people, linkage="average", missing=["p0", "new"]
    )
    scores = report.best.scores
    assert (report.n_missing, scores.n_items, scores.n_clusters) == (2, 42, 10)
    assert (scores.n_split_classes, scores.n_whole_classes) == (1, 8)


def test_where_merging_never_helps_nothing_is_merged():
    """The only two of one person are the least alike."""
    degrees = np.deg2rad([0.0, 40.0, 20.0, 21.0, 22.0, 23.0])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    report = evaluate_clusters(
        link_components(vectors), ["a", "a", "b", "c", "d", "e"], linkage="components"
    )
    assert report.best.scores.n_clusters == 6
    assert report.best.similarity > report.table[-1].similarity - 1e-4


def test_a_thinned_trace_keeps_its_ends():
    vectors, people = draw_people()
    trace = trace_merges(link_average(vectors), people)
    thin = trace.thin(5)
    assert 2 <= len(thin) <= 5
    assert (thin.similarity[0], thin.similarity[-1]) == (trace.similarity[0], trace.similarity[-1])
    assert len(trace.thin(1000)) == len(trace)


def test_a_report_is_plain_json_with_a_definition_beside_each_number():
    vectors, people = draw_people()
    report = evaluate_clusters(link_average(vectors), people, linkage="average")
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["best"]["scores"]["ari"] == report.best.scores.ari
    assert all(row.definition and row.value for row in report.rows())


@pytest.mark.parametrize("people", [["a"] * 40, [str(i) for i in range(40)]])
def test_without_both_kinds_of_pairs_there_is_nothing_to_measure(people: list[str]):
    merges = link_average(draw_people()[0])
    with pytest.raises(DatasetError, match="nothing to part or to join"):
        evaluate_clusters(merges, people, linkage="average")


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch):
    vectors, _ = draw_people()
    with pytest.raises(InputError, match="1 labels for 40"):
        evaluate_clusters(link_average(vectors), ["a"], linkage="average")
    for link in LINKAGES.values():
        with pytest.raises(DatasetError, match="cannot cluster"):
            link(vectors[:1])
    monkeypatch.setattr(linkages, "MOST_AVERAGED", 39)
    with pytest.raises(InputError, match="would need"):
        link_average(vectors)
    zero = np.zeros(2, np.int64)
    with pytest.raises(InputError, match="must fall"):
        Merges(3, zero, zero, np.array([0.1, np.nan]))
    with pytest.raises(InputError, match="one length"):
        Merges(3, zero, zero, np.array([0.1]))
