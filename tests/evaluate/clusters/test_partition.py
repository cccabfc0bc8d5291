"""Clusters against people: every number by a loop over the definition and by scikit-learn."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.clusters.partition import score_clusters

PARTITIONS = st.integers(2, 24).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 5), min_size=n, max_size=n),
        st.lists(st.integers(0, 5), min_size=n, max_size=n),
    )
)
CORNERS = {
    "the same": ([0, 0, 1, 1, 2], [5, 5, 3, 3, 4]),
    "everybody alone": ([0, 0, 1, 1], [0, 1, 2, 3]),
    "all in one": ([0, 0, 1, 1], [7, 7, 7, 7]),
    "one person in one cluster": ([0, 0, 0], [1, 1, 1]),
    "one person, everybody alone": ([0, 0, 0], [0, 1, 2]),
    "strangers, everybody alone": ([0, 1, 2], [0, 1, 2]),
    "strangers in one": ([0, 1, 2], [0, 0, 0]),
    "crossed": ([0, 0, 1, 1], [0, 1, 0, 1]),
    "one photo": ([0], [3]),
}


def pair_up(classes: list[int], clusters: list[int]) -> tuple[int, int, int]:
    """Pairs of one person and one cluster, of one person, of one cluster."""
    pairs = list(combinations(range(len(classes)), 2))
    same = {(i, j) for i, j in pairs if classes[i] == classes[j]}
    together = {(i, j) for i, j in pairs if clusters[i] == clusters[j]}
    return len(same & together), len(same), len(together)


def bcubed_naively(classes: list[int], clusters: list[int]) -> tuple[float, float]:
    precisions, recalls = [], []
    for i in range(len(classes)):
        cluster = [j for j in range(len(classes)) if clusters[j] == clusters[i]]
        people = [j for j in range(len(classes)) if classes[j] == classes[i]]
        both = len(set(cluster) & set(people))
        precisions.append(both / len(cluster))
        recalls.append(both / len(people))
    return float(np.mean(precisions)), float(np.mean(recalls))


def check_all(classes: list[int], clusters: list[int]) -> None:
    scores = score_clusters(classes, clusters)
    both, of_class, in_cluster = pair_up(classes, clusters)
    assert scores.pairwise.precision == (both / in_cluster if in_cluster else None)
    assert scores.pairwise.recall == (both / of_class if of_class else None)
    if both:
        p, r = scores.pairwise.precision, scores.pairwise.recall
        assert scores.pairwise.f == pytest.approx(2 * p * r / (p + r))
    else:
        assert scores.pairwise.f == (0 if of_class + in_cluster else None)
    p, r = bcubed_naively(classes, clusters)
    assert (scores.bcubed.precision, scores.bcubed.recall) == pytest.approx((p, r))
    assert scores.bcubed.f == pytest.approx(2 * p * r / (p + r))
    assert scores.nmi == pytest.approx(metrics.normalized_mutual_info_score(classes, clusters))
    assert scores.ari == pytest.approx(metrics.adjusted_rand_score(classes, clusters))
    expected = metrics.adjusted_mutual_info_score(classes, clusters)
    assert scores.ami == pytest.approx(expected, abs=1e-9)


@settings(max_examples=200)
@given(PARTITIONS)
def test_every_number_is_that_of_the_loop_and_of_scikit_learn(both):
    check_all(*both)


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_have_the_numbers_of_scikit_learn(corner: str):
    check_all(*CORNERS[corner])


def test_many_items_with_sizes_of_real_life():
    rng = np.random.default_rng(4)
    classes = np.sort(rng.zipf(1.5, 800) % 300)
    clusters = np.where(rng.random(800) < 0.8, classes, rng.integers(0, 300, 800))
    scores = score_clusters(classes.tolist(), clusters.tolist())
    assert scores.ami == pytest.approx(metrics.adjusted_mutual_info_score(classes, clusters))
    assert scores.ari == pytest.approx(metrics.adjusted_rand_score(classes, clusters))


def test_merges_and_splits_are_counted():
    people = ["ann", "ann", "bob", "bob", "cyd", "dan", "dan"]
    clusters = [0, 0, 1, 2, 2, 3, 3]
    scores = score_clusters(people, clusters)
    assert (scores.n_classes, scores.n_clusters) == (4, 4)
    assert scores.n_merged_clusters == 1  # 2
    assert scores.n_merged_classes == 2  # bob, cyd
    assert scores.n_split_classes == 1  # bob
    assert scores.n_whole_classes == 2  # ann, dan


def test_names_make_no_difference():
    first = score_clusters(["a", "a", "b"], ["x", "y", "y"])
    assert first == score_clusters([3, 3, 1], [(0,), (1,), (1,)])


def test_numbers_are_plain_json():
    plain = score_clusters([0, 1], [0, 1]).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False))["pairwise"]["f"] is None
    assert all(row.definition for row in score_clusters([0, 1], [0, 1]).rows())


def test_other_numbers_of_labels_are_refused():
    with pytest.raises(InputError, match="2 classes for 1"):
        score_clusters([0, 1], [0])
    with pytest.raises(DatasetError, match="no items"):
        score_clusters([], [])
