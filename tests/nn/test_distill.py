"""Both terms are their formulae, teach the student only, and no row turns them into NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from arcwise.errors import LearningError
from arcwise.nn.distill import cosine_term, relational_term

TERMS = (cosine_term, relational_term)


def make_rows(n_rows: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(n_rows, dimension, generator=torch.Generator().manual_seed(seed))


def naive_cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot, square_a, square_b = (math.fsum(x * y) for x, y in ((a, b), (a, a), (b, b)))
    return dot / math.sqrt(square_a * square_b)


def test_the_cosine_term_equals_the_naive_loop():
    student, targets = make_rows(7, 5, 1).double(), make_rows(7, 5, 2).double()
    expected = np.mean([1 - naive_cosine(a, b) for a, b in zip(student, targets, strict=True)])
    assert cosine_term(student, targets).item() == pytest.approx(expected, abs=1e-14)


def test_the_relational_term_equals_the_naive_loop():
    student, targets = make_rows(7, 5, 1).double(), make_rows(7, 9, 2).double()
    squares = [
        (naive_cosine(student[i], student[j]) - naive_cosine(targets[i], targets[j])) ** 2
        for i in range(7)
        for j in range(7)
    ]
    expected = np.mean(squares)
    assert relational_term(student, targets).item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("term", TERMS)
def test_the_gradient_is_that_of_the_value(term):
    targets = make_rows(4, 3, 2).double()
    student = make_rows(4, 3, 1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: term(rows, targets), student)


def test_alike_is_0_orthogonal_1_and_opposite_2():
    rows = torch.eye(3)
    assert cosine_term(2 * rows, 5 * rows).item() == pytest.approx(0, abs=1e-7)
    assert cosine_term(rows, rows.roll(1, 0)).item() == pytest.approx(1)
    assert cosine_term(rows, -rows).item() == pytest.approx(2)


def test_relations_survive_a_turn_of_all_embeddings_and_a_longer_dimension():
    student = make_rows(6, 4, 1)
    turn = torch.linalg.qr(make_rows(9, 9, 3)).Q[:4]
    assert relational_term(student, 3 * student @ turn).item() == pytest.approx(0, abs=1e-12)
    assert relational_term(student, make_rows(6, 9, 2)).item() > 0.01
    assert relational_term(student[:1], make_rows(1, 9, 2)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_the_targets_get_no_gradient(term):
    student, targets = (make_rows(4, 3, seed).requires_grad_() for seed in (1, 2))
    term(student, targets).backward()
    assert targets.grad is None
    assert student.grad is not None
    assert student.grad.any()


@pytest.mark.parametrize("term", TERMS)
def test_a_zero_row_is_finite_and_gets_no_gradient(term):
    student, targets = make_rows(4, 3, 1), make_rows(4, 3, 2)
    student[1], targets[2] = 0, 0
    loss = term(student.requires_grad_(), targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert not student.grad[1].any()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_and_autocast_are_computed_in_float32(term, dtype: torch.dtype):
    student, targets = make_rows(4, 3, 1).to(dtype), make_rows(4, 3, 2)
    expected = term(student.float(), targets)
    with torch.autocast("cpu", dtype):
        found = term(student, targets.double())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(
    ("student", "targets", "words"),
    [
        ((4, 3), (5, 3), r"embeddings of shape \(4, 3\), targets of \(5, 3\)"),
        ((4,), (4,), r"embeddings of shape \(4,\), targets of \(4,\)"),
        ((0, 3), (0, 3), r"embeddings of shape \(0, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(term, student, targets, words: str):
    with pytest.raises(LearningError, match=words):
        term(torch.zeros(student), torch.zeros(targets))


def test_the_cosine_term_needs_one_dimension():
    with pytest.raises(LearningError, match="embeddings of 3 dimensions, targets of 4") as caught:
        cosine_term(torch.ones(2, 3), torch.ones(2, 4))
    assert "linear layer" in caught.value.hint


@pytest.mark.parametrize("term", TERMS)
def test_a_target_that_is_not_finite_shows_in_the_term(term):
    targets = make_rows(4, 3, 2)
    targets[0, 0] = math.nan
    assert torch.isnan(term(make_rows(4, 3, 1), targets))
