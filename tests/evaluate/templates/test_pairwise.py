"""1:1 over templates: our rule and the published one, held against scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.rates import measure_scores
from arcwise.evaluate.sets.ijb import TemplatePairs
from arcwise.evaluate.templates import Templates
from arcwise.evaluate.templates.pairwise import (
    TemplateScores,
    measure_templates,
    nearest_tars,
    score_templates,
)


def published_rule(genuine: np.ndarray, impostor: np.ndarray, far: float) -> float:
    """The lines of eval_ijbc.py, with its curve of scikit-learn."""
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    fpr, tpr, _ = roc_curve(labels, np.r_[genuine, impostor])
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    _, at = min(zip(abs(fpr - far), range(len(fpr)), strict=True))
    return float(tpr[at])


scores = st.lists(
    st.floats(-1, 1, width=16).map(lambda x: round(x, 1) + 0.0), min_size=1, max_size=60
)


@given(genuine=scores, impostor=scores)
def test_the_published_rule_with_many_ties(genuine: list[float], impostor: list[float]) -> None:
    rising = np.sort(np.float32(genuine)), np.sort(np.float32(impostor))
    for tar in nearest_tars(*rising, fars=(0.1, 0.3, 0.5)):
        if len(impostor) * tar.far < 1 - 1e-9:
            assert tar.tar is None
        else:
            assert tar.tar == pytest.approx(published_rule(*rising, tar.far))


def test_the_published_rule_on_drawn_scores() -> None:
    rng = np.random.default_rng(0)
    genuine = np.sort(rng.normal(0.5, 0.2, 3000).astype(np.float32))
    impostor = np.sort(rng.normal(0, 0.2, 20_000).astype(np.float32))
    found = nearest_tars(genuine, impostor)
    for tar in found[:4]:
        assert tar.tar == pytest.approx(published_rule(genuine, impostor, tar.far))
        assert tar.far_found is not None
        assert tar.similarity is not None
        assert np.mean(genuine >= tar.similarity) == pytest.approx(tar.tar)
        assert np.mean(impostor >= tar.similarity) == pytest.approx(tar.far_found)
    assert found[4].text == "n/a: needs 1/FAR = 100,000 impostors, has 20,000"


def test_the_published_rule_lets_more_impostors_pass_than_asked_for() -> None:
    """12 of 100 impostors tie at the top: the nearest points to 10 % are at 12 %."""
    genuine = np.float32([0.1, 0.5, 0.9, 0.9])
    impostor = np.sort(np.float32([0.0] * 88 + [0.5] * 12))
    (tar,) = nearest_tars(genuine, impostor, fars=(0.1,))
    assert (tar.tar, tar.far_found) == (1.0, pytest.approx(0.12))  # the highest TAR of that FAR
    assert tar.similarity == pytest.approx(0.1)
    exact = measure_scores(genuine, impostor, fars=(0.1,)).tars[0]
    assert (exact.tar, exact.far_found) == (0.5, 0.0)


def test_all_equal_scores() -> None:
    one = np.zeros(10, np.float32)
    (tar,) = nearest_tars(one, one, fars=(0.1,))
    assert (tar.tar, tar.far_found, tar.similarity) == (0.0, 0.0, None)


def test_failed_genuine_pairs_are_never_accepted() -> None:
    genuine, impostor = np.float32([0.8, 0.9]), np.linspace(-1, 0, 10, dtype=np.float32)
    (tar,) = nearest_tars(genuine, impostor, fars=(0.1,), n_failed=2)
    assert tar.tar == 0.5


def draw_templates() -> tuple[Templates, TemplatePairs]:
    """Templates 10, 20 ... 90; 50 has no vector."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((9, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    has_vector = np.ones(9, np.bool_)
    has_vector[4] = False
    vectors[4] = 0
    numbers = np.arange(10, 100, 10)
    grid = np.array([(a, b) for a in numbers for b in numbers if a < b], np.int32)
    is_same = rng.random(len(grid)) < 0.3
    pairs = TemplatePairs(grid[:, 0], grid[:, 1], is_same, "")
    return Templates(numbers, vectors, has_vector), pairs


def test_pairs_are_scored_by_the_numbers_of_their_templates() -> None:
    templates, pairs = draw_templates()
    found = score_templates(templates, pairs)
    naive: dict[bool, list[float]] = {True: [], False: []}
    n_failed = {True: 0, False: 0}
    for a, b, same in zip(pairs.first, pairs.second, pairs.is_same, strict=True):
        if 50 in (a, b):
            n_failed[bool(same)] += 1
        else:
            score = templates.vectors[a // 10 - 1] @ templates.vectors[b // 10 - 1]
            naive[bool(same)].append(float(score))
    assert np.allclose(found.genuine, sorted(naive[True]), atol=1e-6)
    assert np.allclose(found.impostor, sorted(naive[False]), atol=1e-6)
    assert (found.n_failed_same, found.n_failed_different) == (n_failed[True], n_failed[False])
    report = measure_templates(found)
    assert (report.n_pairs, report.n_same) == (36, int(pairs.is_same.sum()))
    assert report.curve == measure_scores(
        found.genuine,
        found.impostor,
        n_failed_same=n_failed[True],
        n_failed_different=n_failed[False],
    )


def test_a_report_says_what_every_number_means() -> None:
    rng = np.random.default_rng(2)
    drawn = np.sort(rng.random((2, 50)).astype(np.float32), axis=1)
    report = measure_templates(TemplateScores(drawn[0], drawn[1], 0, 0))
    rows = report.rows()
    assert all(row.definition for row in rows)
    published = [row.name for row in rows if "insightface" in row.name]
    assert published == [f"TAR@FAR 1e-0{power} (insightface)" for power in range(1, 7)]
    plain = report.to_dict()
    assert plain["insightface"][0]["tar"] == report.insightface[0].tar
    assert plain["curve"]["auc"] == report.curve.auc


def test_pairs_of_one_class_and_unknown_templates_are_refused() -> None:
    templates, pairs = draw_templates()
    same = TemplatePairs(pairs.first, pairs.second, np.ones(36, np.bool_), "")
    with pytest.raises(DatasetError, match="0 of two people"):
        score_templates(templates, same)
    strange = TemplatePairs(pairs.first + np.int32(1), pairs.second, pairs.is_same, "")
    with pytest.raises(InputError, match="template 11 has no images"):
        score_templates(templates, strange)
