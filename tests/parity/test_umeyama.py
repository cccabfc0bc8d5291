"""Our closed solution against scikit-image's SimilarityTransform (Umeyama 1991, by SVD)."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.align import TEMPLATE_PX, scale_template
from arcwise.geometry import fit_similarity

transform = pytest.importorskip("skimage.transform")


def fit_by_scikit_image(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    if hasattr(transform.SimilarityTransform, "from_estimate"):  # since 0.26
        fitted = transform.SimilarityTransform.from_estimate(points, template)
    else:
        fitted = transform.SimilarityTransform()
        assert fitted.estimate(points, template)
    return np.asarray(fitted.params[:2])


@pytest.mark.parametrize("size_px", [112, 128, 224])
@pytest.mark.parametrize("noise_px", [0.0, 3.0, 40.0])
def test_the_matrices_are_those_of_scikit_image(size_px: int, noise_px: float) -> None:
    rng = np.random.default_rng(7)
    angles = rng.uniform(-np.pi, np.pi, 50)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=1)
    scales = rng.uniform(0.3, 5, (50, 1, 1))
    points = scales * (TEMPLATE_PX @ turns.reshape(-1, 2, 2))
    points += rng.uniform(-300, 300, (50, 1, 2)) + rng.normal(0, noise_px, points.shape)
    template = scale_template(size_px)
    for ours, one in zip(fit_similarity(points, template), points, strict=True):
        theirs = fit_by_scikit_image(one, template.astype(np.float64))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_mirrored_points_are_turned_not_mirrored_as_in_scikit_image() -> None:
    points = TEMPLATE_PX * [-1, 1] + np.random.default_rng(3).normal(0, 2, (5, 2))
    ours = fit_similarity(points[None], TEMPLATE_PX)[0]
    assert np.linalg.det(ours[:, :2].astype(np.float64)) > 0
    theirs = fit_by_scikit_image(points, TEMPLATE_PX.astype(np.float64))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
