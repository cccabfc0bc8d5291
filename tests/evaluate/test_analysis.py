"""Every number of the analysis against a loop written from its definition."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate import analysis
from arcwise.evaluate.analysis import analyze_embeddings, count_pairs, project_embeddings
from arcwise.evaluate.tsne import project_neighbors
from arcwise.types import Floats

PEOPLE = ["ann", "bob", "ann", "cy", "bob", "ann", "dee"]


@pytest.fixture
def raw() -> Floats:
    rng = np.random.default_rng(3)
    centers = {person: rng.normal(size=5) for person in sorted(set(PEOPLE))}
    vectors = [rng.uniform(1, 9) * (centers[p] + 0.4 * rng.normal(size=5)) for p in PEOPLE]
    return np.array(vectors, np.float32)


def naive_pairs(raw: Floats) -> tuple[list[float], list[float]]:
    genuine, impostor = [], []
    for i, j in combinations(range(len(raw)), 2):
        a, b = raw[i].astype(float), raw[j].astype(float)
        cosine = float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))
        (genuine if PEOPLE[i] == PEOPLE[j] else impostor).append(cosine)
    return genuine, impostor


@pytest.mark.parametrize("block", [1, 20, 4_000_000])
def test_pairs_are_those_of_a_loop(
    raw: Floats, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "_BLOCK", block)
    report = analyze_embeddings(raw, PEOPLE)
    for spread, scores in zip((report.genuine, report.impostor), naive_pairs(raw), strict=True):
        assert spread is not None
        assert spread.n == len(scores)
        found = (spread.mean, spread.std, spread.min, spread.max)
        wanted = (np.mean(scores), np.std(scores), min(scores), max(scores))
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    genuine, impostor = naive_pairs(raw)
    assert report.margin == pytest.approx(np.mean(genuine) - np.mean(impostor))


@pytest.mark.parametrize("block", [1, 4_000_000])
def test_counted_pairs_are_those_of_a_loop(
    raw: Floats, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "_BLOCK", block)
    counts = count_pairs(raw, PEOPLE)
    for found, scores in zip((counts.genuine, counts.impostor), naive_pairs(raw), strict=True):
        np.testing.assert_array_equal(found, np.histogram(scores, bins=counts.edges)[0])


def test_similarities_of_one_fall_into_the_last_bar() -> None:
    counts = count_pairs(np.ones((2, 3), np.float32), ["a", "a"])
    assert counts.genuine[-1] == 1
    assert counts.genuine.sum() + counts.impostor.sum() == 1


def test_angles_are_those_of_a_loop(raw: Floats) -> None:
    report = analyze_embeddings(raw, PEOPLE)
    unit = [vector / np.linalg.norm(vector) for vector in raw.astype(float)]
    centers = {}
    for person in set(PEOPLE):
        total = sum(u for u, p in zip(unit, PEOPLE, strict=True) if p == person)
        centers[person] = total / np.linalg.norm(total)
    own = [
        math.degrees(math.acos(float(u @ centers[p])))
        for u, p in zip(unit, PEOPLE, strict=True)
        if PEOPLE.count(p) > 1
    ]
    nearest = [
        min(math.degrees(math.acos(float(centers[p] @ centers[q]))) for q in centers if q != p)
        for p in centers
    ]
    assert report.to_own is not None
    assert report.to_nearest is not None
    assert (report.to_own.n, report.to_nearest.n) == (5, 4)
    assert report.to_own.mean == pytest.approx(np.mean(own))
    assert report.to_own.max == pytest.approx(max(own))
    assert report.to_nearest.mean == pytest.approx(np.mean(nearest))
    assert report.to_nearest.min == pytest.approx(min(nearest))


def test_norms_are_those_before_normalizing(raw: Floats) -> None:
    report = analyze_embeddings(raw, PEOPLE)
    lengths = [math.sqrt(sum(float(x) ** 2 for x in vector)) for vector in raw]
    assert report.norms.mean == pytest.approx(np.mean(lengths))
    assert (report.n_photos, report.n_people, report.n_single, report.dimension) == (7, 4, 2, 5)


def test_the_lengths_of_embeddings_change_norms_only(raw: Floats) -> None:
    before = analyze_embeddings(raw, PEOPLE).to_dict()
    after = analyze_embeddings(raw * np.float32(4), PEOPLE).to_dict()
    assert before.pop("norms") != after.pop("norms")
    assert before == after


@pytest.mark.parametrize("n_axes", [1, 2, 5, 16])
def test_embeddings_along_n_axes_have_rank_n(n_axes: int) -> None:
    axes = np.eye(16, dtype=np.float32)[:n_axes]
    raw = np.concatenate([axes, -axes])  # mean 0, equal variance along each axis
    report = analyze_embeddings(raw, [str(k) for k in range(len(raw))])
    assert report.effective_rank == pytest.approx(n_axes)
    assert report.participation == pytest.approx(n_axes)
    assert report.n_axes["99%"] == n_axes
    assert report.n_axes["50%"] == -(-n_axes // 2)
    assert report.mean_length == pytest.approx(0, abs=1e-9)


def test_equal_embeddings_have_rank_0() -> None:
    report = analyze_embeddings(np.ones((3, 4), np.float32), ["a", "a", "b"])
    assert (report.effective_rank, report.participation) == (0, 0)
    assert report.mean_length == pytest.approx(1)
    assert report.margin == pytest.approx(0, abs=1e-9)
    assert set(report.n_axes.values()) == {0}


def test_equal_embeddings_have_rank_0_whatever_their_rounding() -> None:
    one = np.random.default_rng(1).normal(size=128)
    raw = np.array([one * (1 + k / 7) for k in range(50)], np.float32)  # other lengths, rounded
    for vectors in (raw, np.repeat(raw[:1], 50, axis=0)):
        report = analyze_embeddings(vectors, ["a", "b"] * 25)
        assert (report.effective_rank, report.participation) == (0, 0)
        assert set(report.n_axes.values()) == {0}


def test_a_class_without_pairs_is_not_made_up() -> None:
    report = analyze_embeddings(np.eye(3, dtype=np.float32), ["a", "b", "c"])
    assert (report.genuine, report.to_own, report.margin) == (None, None, None)
    shown = {row.name: row.value for row in report.rows()}
    assert shown["same person"] == "n/a: needs a person with two photos"
    assert shown["margin"].startswith("n/a: needs")
    alone = analyze_embeddings(np.eye(3, dtype=np.float32), ["a"] * 3)
    assert (alone.impostor, alone.to_nearest) == (None, None)


@pytest.mark.parametrize(("margin", "word"), [(0.3086, "Excellent"), (0.2, "not Excellent")])
def test_the_word_is_that_of_the_tutorial(margin: float, word: str) -> None:
    c = 1 - margin
    raw = np.array([[1, 0], [1, 0], [c, math.sqrt(1 - c * c)]])  # genuine 1, impostor c
    report = analyze_embeddings(raw, ["a", "a", "b"])
    assert report.margin == pytest.approx(margin)
    shown = {row.name: row.value for row in report.rows()}
    assert shown["feature quality"].startswith(word)


def test_the_plane_is_that_of_a_singular_value_decomposition(raw: Floats) -> None:
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    _, values, axes = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    points = project_embeddings(raw)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values[:2], rtol=1e-5)
    np.testing.assert_allclose(
        np.abs(points), np.abs((unit - unit.mean(axis=0)) @ axes[:2].T), atol=1e-5
    )


@pytest.mark.parametrize(
    ("raw", "people"),
    [
        (np.ones((0, 3)), []),
        (np.ones((1, 3)), ["a"]),
        (np.ones((2, 3)), ["a"]),
        (np.ones(3), ["a", "b", "c"]),
        (np.array([[1.0, np.nan], [1, 1]]), ["a", "b"]),
        (np.array([[1.0, np.inf], [1, 1]]), ["a", "b"]),
        (np.array([[0.0, 0], [1, 1]]), ["a", "b"]),
    ],
)
def test_bad_embeddings_are_refused(raw: Floats, people: list[str]) -> None:
    with pytest.raises(InputError):
        analyze_embeddings(raw, people)


def test_one_dimension_has_no_plane() -> None:
    with pytest.raises(InputError, match="no plane"):
        project_embeddings(np.ones((3, 1), np.float32))


def test_the_map_of_neighbors_keeps_groups_together() -> None:
    rng = np.random.default_rng(0)
    centers = np.eye(8)[np.repeat([0, 3], 10)]
    unit = centers + 0.05 * rng.normal(size=centers.shape)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    points = project_neighbors(unit.astype(np.float32), seed=1)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert (gaps.argmin(axis=1) // 10 == np.arange(20) // 10).all()
    np.testing.assert_array_equal(points, project_neighbors(unit.astype(np.float32), seed=1))


@pytest.mark.parametrize("shape", [(3, 8), (9, 1), (9,)])
def test_too_few_embeddings_have_no_map(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="no map"):
        project_neighbors(np.ones(shape, np.float32))
