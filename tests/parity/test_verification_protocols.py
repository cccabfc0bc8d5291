"""Verification numbers against naive float64 loops written from the definitions.

Sources: the definitions in docs/evaluate.md; `insightface` after the evaluation code of
InsightFace (arcface_torch verification.py): grids, strict rule, first best, linear interpolation;
`concat` after yakhyo/face-recognition (evaluate.py), `facex` after FaceX-Zoo (lfw_evaluator.py),
`magface` after MagFace (eval_recognition/eval_1v1.py).
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcwise.evaluate.curve import FARS
from arcwise.evaluate.sets.pairs import read_pairs
from arcwise.evaluate.verification import evaluate_pairs, evaluate_scores
from arcwise.types import Pair

ULP = float(np.nextafter(0.5, 1.0))
SCORES = {
    "any": st.floats(-1, 1, allow_subnormal=False),
    "ties": st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.3]),
    "all equal": st.just(0.25),
    "neighbors": st.sampled_from([0.5, ULP, float(np.nextafter(ULP, 1.0))]),
    "two clusters": st.sampled_from([0.1, 0.1000001, 0.9, 0.9000001]),
    "ends": st.sampled_from([-1.0, -1.0 - 1e-7, 1.0, 1.0 + 1e-7, 0.995, 0.99]),
}


@st.composite
def scored_lists(draw):
    """Scores, labels and folds with both classes in every fold, and some failed pairs."""
    score = SCORES[draw(st.sampled_from(sorted(SCORES)))]
    n_folds = draw(st.integers(2, 4))
    rows = [(draw(score), same, k) for k in range(n_folds) for same in (True, False)]
    more = st.tuples(score, st.booleans(), st.integers(0, n_folds - 1))
    rows = draw(st.permutations(rows + draw(st.lists(more, max_size=25))))
    lost = st.builds(Pair, st.just("a"), st.just("b"), st.booleans(), st.integers(0, n_folds - 1))
    failed = draw(st.lists(lost, max_size=3))
    scores, same, folds = zip(*rows, strict=True)
    return np.array(scores), np.array(same), np.array(folds), failed


def naive_thresholds(scores):
    """All that decide differently, from the loosest to the strictest."""
    distinct = sorted(set(scores.tolist()))
    middles = []
    for below, above in pairwise(distinct):
        middle = 0.5 * (below + above)
        middles.append(middle if below < middle else above)
    return [distinct[0], *middles, float(np.nextafter(distinct[-1], 2.0))]


def naive_count_right(scores, same, threshold):
    return sum((score >= threshold) == truth for score, truth in zip(scores, same, strict=True))


def naive_best(scores, same):
    best_threshold, best_count = None, -1
    for threshold in naive_thresholds(scores):
        count = naive_count_right(scores, same, threshold)
        if count >= best_count:
            best_threshold, best_count = threshold, count
    return best_threshold, best_count


def naive_exact(scores, same, folds, failed):
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        threshold, _ = naive_best(scores[~test], same[~test])
        right = naive_count_right(scores[test], same[test], threshold)
        accuracies.append(right / (test.sum() + sum(pair.fold == fold for pair in failed)))
        thresholds.append(threshold)
    return accuracies, thresholds


def naive_insightface(scores, same, folds, failed):
    squared = np.clip(2 - 2 * scores, 0, 4)
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        best_threshold, best = None, -1.0
        for threshold in np.arange(0, 4, 0.01):
            accuracy = np.mean((squared[~test] < threshold) == same[~test])
            if accuracy > best:
                best_threshold, best = threshold, accuracy
        right = np.sum((squared[test] < best_threshold) == same[test])
        accuracies.append(right / (test.sum() + sum(pair.fold == fold for pair in failed)))
        thresholds.append(1 - best_threshold / 2)
    return accuracies, thresholds


def naive_concat(scores, same, folds, failed):
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        best_threshold, best = None, -1
        for threshold in np.arange(-1.0, 1.0, 0.005):
            count = naive_count_right(scores[~test], same[~test], threshold)
            if count > best:
                best_threshold, best = threshold, count
        right = naive_count_right(scores[test], same[test], best_threshold)
        accuracies.append(right / (test.sum() + sum(pair.fold == fold for pair in failed)))
        thresholds.append(best_threshold)
    return accuracies, thresholds


def naive_facex(scores, same, folds, failed):
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        genuine, impostor = scores[~test & same], scores[~test & ~same]
        step = (scores[~test].max() - scores[~test].min()) / 1000
        candidates = scores[~test].min() + step * np.arange(1, 1001)
        gaps = [np.mean(genuine > t) - np.mean(impostor > t) for t in candidates]
        limit = candidates[np.argmax(gaps)]
        right = np.sum(scores[test & same] > limit) + np.sum(scores[test & ~same] < limit)
        accuracies.append(right / (test.sum() + sum(pair.fold == fold for pair in failed)))
        thresholds.append(limit)
    return accuracies, thresholds


def naive_magface(first, second, same, folds):
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        mean = np.concatenate((first[~test], second[~test])).mean(axis=0)
        angles = np.array(
            [
                math.acos(naive_cosine(a - mean, b - mean))
                for a, b in zip(first, second, strict=True)
            ]
        )
        angles /= math.pi
        grid = np.arange(0, 4, 0.01)
        right = [np.mean((angles[~test] < t) == same[~test]) for t in grid]
        limit = grid[np.argmax(right)]
        accuracies.append(np.mean((angles[test] < limit) == same[test]))
        thresholds.append(math.cos(math.pi * limit))
    return accuracies, thresholds


def naive_val(scores, same, folds, failed):
    squared = np.clip(2 - 2 * scores, 0, 4)
    grid = np.arange(0, 4, 0.001)
    vals, fars = [], []
    for fold in sorted(set(folds.tolist())):
        test = folds == fold
        impostors = squared[~test & ~same]
        far = [np.count_nonzero(impostors < threshold) / len(impostors) for threshold in grid]
        limit = 0.0
        for i in range(1, len(grid)):
            if far[i] >= 1e-3:
                slope = (grid[i] - grid[i - 1]) / (far[i] - far[i - 1])
                limit = slope * (1e-3 - far[i - 1]) + grid[i - 1]
                break
        n_lost = sum(pair.fold == fold and pair.is_same for pair in failed)
        genuine, impostors = squared[test & same], squared[test & ~same]
        vals.append(np.sum(genuine < limit) / (len(genuine) + n_lost))
        fars.append(np.sum(impostors < limit) / len(impostors))
    return np.mean(vals), np.std(vals), np.mean(fars)


def naive_auc(scores, same, n_lost):
    wins = 0.0
    for genuine in scores[same]:
        for impostor in scores[~same]:
            wins += 1.0 if genuine > impostor else 0.5 if genuine == impostor else 0.0
    return wins / ((same.sum() + n_lost) * (~same).sum())


def naive_eer(scores, same, n_lost):
    points = []
    for threshold in naive_thresholds(scores):
        far = sum(score >= threshold for score in scores[~same]) / (~same).sum()
        refused = sum(score < threshold for score in scores[same]) + n_lost
        points.append((threshold, far, refused / (same.sum() + n_lost)))
    for (t0, far0, fnmr0), (t1, far1, fnmr1) in pairwise(points):
        if fnmr1 >= far1:
            weight = (far0 - fnmr0) / ((far0 - fnmr0) + (fnmr1 - far1))
            return fnmr0 + weight * (fnmr1 - fnmr0), t0 + weight * (t1 - t0)
    raise AssertionError("the rates do not cross")


def naive_tar(scores, same, far, n_lost):
    """The loosest threshold of all whose accepted impostors keep to the budget."""
    budget = len(scores[~same]) // round(1 / far)
    for threshold in naive_thresholds(scores):
        if sum(score >= threshold for score in scores[~same]) <= budget:
            hits = sum(score >= threshold for score in scores[same])
            return hits / (same.sum() + n_lost), threshold
    raise AssertionError("refusing all keeps to any budget")


@given(scored_lists())
@settings(max_examples=150, deadline=None)
def test_exact_equals_the_loop_over_every_threshold(drawn):
    scores, same, folds, failed = drawn
    report = evaluate_scores(scores, same, folds, failed_pairs=failed)
    accuracies, thresholds = naive_exact(scores, same, folds, failed)
    assert report.accuracy.accuracies == tuple(accuracies)
    assert report.accuracy.similarities == tuple(thresholds)
    assert report.accuracy.mean == pytest.approx(np.mean(accuracies))
    assert report.accuracy.std == pytest.approx(np.std(accuracies))
    assert report.accuracy.std_sample == pytest.approx(np.std(accuracies, ddof=1))
    threshold, count = naive_best(scores, same)
    assert report.best.rate == count / (len(scores) + len(failed))
    assert report.best.similarity == threshold


@given(scored_lists())
@settings(max_examples=40, deadline=None)
def test_insightface_equals_the_loop_over_its_grid(drawn):
    scores, same, folds, failed = drawn
    report = evaluate_scores(scores, same, folds, protocol="insightface", failed_pairs=failed)
    accuracies, thresholds = naive_insightface(scores, same, folds, failed)
    assert report.accuracy.accuracies == tuple(accuracies)
    assert report.accuracy.similarities == pytest.approx(thresholds, abs=1e-15)
    val, std, far = naive_val(scores, same, folds, failed)
    assert report.val is not None
    assert (report.val.val, report.val.std, report.val.far) == pytest.approx((val, std, far))


@pytest.mark.parametrize(("protocol", "naive"), [("concat", naive_concat), ("facex", naive_facex)])
@given(drawn=scored_lists())
@settings(max_examples=40, deadline=None)
def test_concat_and_facex_equal_their_loops(protocol, naive, drawn):
    scores, same, folds, failed = drawn
    report = evaluate_scores(scores, same, folds, protocol=protocol, failed_pairs=failed)
    accuracies, thresholds = naive(scores, same, folds, failed)
    assert report.accuracy.accuracies == tuple(accuracies)
    assert report.accuracy.similarities == tuple(thresholds)


@pytest.mark.parametrize("seed", range(5))
def test_magface_equals_its_loop_on_vectors_of_any_length(seed: int):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(12, 8)) + rng.normal(size=8)
    vectors = {
        f"p{i}/{j}": (centers[i] + rng.normal(size=8)) * rng.uniform(0.5, 20)
        for i in range(12)
        for j in range(3)
    }
    pairs = [
        Pair(f"p{a}/{i}", f"p{b}/{j}", bool(a == b), fold)
        for fold in range(4)
        for a, b, i, j in [
            *((p, p, *rng.permutation(3)[:2]) for p in rng.integers(0, 12, 15)),
            *((*rng.permutation(12)[:2], *rng.integers(0, 3, 2)) for _ in range(20)),
        ]
    ]
    report = evaluate_pairs(pairs, vectors, protocol="magface")
    accuracies, thresholds = naive_magface(
        np.array([vectors[pair.a] for pair in pairs]),
        np.array([vectors[pair.b] for pair in pairs]),
        np.array([pair.is_same for pair in pairs]),
        np.array([pair.fold for pair in pairs]),
    )
    assert report.accuracy.accuracies == pytest.approx(accuracies, abs=1e-12)
    assert report.accuracy.similarities == pytest.approx(thresholds, abs=1e-12)
    plain = [naive_cosine(vectors[p.a], vectors[p.b]) for p in pairs if p.is_same]
    assert report.genuine.mean == pytest.approx(np.mean(plain))


@given(scored_lists())
@settings(max_examples=150, deadline=None)
def test_rates_equal_their_loops(drawn):
    scores, same, folds, failed = drawn
    n_lost = sum(pair.is_same for pair in failed)
    report = evaluate_scores(scores, same, folds, failed_pairs=failed)
    assert report.auc == pytest.approx(naive_auc(scores, same, n_lost), abs=1e-15)
    rate, threshold = naive_eer(scores, same, n_lost)
    assert report.eer.rate == pytest.approx(rate, abs=1e-12)
    assert report.eer.similarity == pytest.approx(threshold, abs=1e-12)
    for found in report.tars:
        if (~same).sum() * found.far < 1:
            assert found.tar is None
        else:
            assert (found.tar, found.similarity) == naive_tar(scores, same, found.far, n_lost)


def naive_cosine(a, b):
    dot, square_a, square_b = (
        math.fsum(x * y for x, y in zip(p.tolist(), q.tolist(), strict=True))
        for p, q in ((a, b), (a, a), (b, b))
    )
    return dot / math.sqrt(square_a * square_b)


def make_normal_scores(n_pairs, seed):
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(n_pairs) % 2 == 0)
    scores = np.where(same, rng.normal(0.5, 0.2, n_pairs), rng.normal(0.0, 0.15, n_pairs))
    return np.clip(scores, -1, 1), same, np.arange(n_pairs) * 10 // n_pairs


def test_on_thousands_of_pairs_both_protocols_equal_their_loops():
    scores, same, folds = make_normal_scores(2000, seed=7)
    report = evaluate_scores(scores, same, folds, protocol="insightface")
    accuracies, _ = naive_insightface(scores, same, folds, [])
    assert report.accuracy.accuracies == tuple(accuracies)
    assert report.val is not None
    val, std, far = naive_val(scores, same, folds, [])
    assert (report.val.val, report.val.std, report.val.far) == pytest.approx((val, std, far))
    for found, far in zip(report.tars, FARS[:3], strict=False):
        assert (found.tar, found.similarity) == naive_tar(scores, same, far, 0)


def test_val_at_far_interpolates_within_the_step_where_the_target_is_reached():
    # 4,000 impostors on the other fold; 2 lie below 0.5, 8 between 0.500 and 0.501: FAR goes
    # from 0.0005 to 0.0025 in that step and passes 0.001 at a quarter of it.
    squared = np.concatenate((np.full(2, 0.2), np.full(8, 0.5005), np.full(3990, 3.0)))
    scores = 1 - np.tile(np.concatenate(([0.0], squared)), 2) / 2
    same = np.tile(np.arange(4001) == 0, 2)
    report = evaluate_scores(scores, same, np.repeat([0, 1], 4001), protocol="insightface")
    assert report.val is not None
    assert report.val.similarities == pytest.approx([1 - 0.50025 / 2] * 2, abs=1e-12)
    assert (report.val.val, report.val.far) == (1.0, 2 / 4000)


@pytest.mark.real
def test_on_real_scores_exact_equals_the_loop_and_insightface_is_close(real_data: Path):
    """Public-domain descriptors; folds 0 and 1 are kept for final scores, so not looked at."""
    stored = np.load(real_data / "teacher" / "dlib_lfw.npz")
    vectors = dict(zip(stored["names"].tolist(), stored["vectors"], strict=True))
    pairs = [pair for pair in read_pairs(real_data / "lfw" / "pairs_6000.txt") if pair.fold > 1]
    report = evaluate_pairs(pairs, vectors)
    assert report.failed_pairs == ()
    scores = np.array([naive_cosine(vectors[pair.a], vectors[pair.b]) for pair in pairs])
    same = np.array([pair.is_same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    thresholds = []
    for fold in range(2, 10):
        others = folds != fold
        candidates = np.array(naive_thresholds(scores[others]))
        right = [np.sum((scores[others] >= t) == same[others]) for t in candidates]
        thresholds.append(candidates[len(right) - 1 - np.argmax(right[::-1])])
    assert report.accuracy.similarities == pytest.approx(thresholds, abs=1e-12)
    grid = evaluate_pairs(pairs, vectors, protocol="insightface")
    assert grid.accuracy.mean == pytest.approx(report.accuracy.mean, abs=0.002)
