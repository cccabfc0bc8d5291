"""Pooling images into templates and scoring pairs of them, against loops from the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arcwise.errors import InputError
from arcwise.evaluate import templates as room
from arcwise.evaluate.templates import Pooling, Templates, pool_templates, score_pairs
from tests.ijb_set import pool_naively


def draw_images(
    seed: int, *, n: int = 200, n_views: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images of 20 templates in any order; media numbers come again in other templates."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((n, n_views, 8)).astype(np.float32)
    templates = rng.integers(1, 21, n)
    media = rng.integers(0, 4, n)
    return images, templates, media, rng.random(n).astype(np.float32)


def assert_equal(found: Templates, wanted: dict[int, np.ndarray]) -> None:
    assert found.numbers[found.has_vector].tolist() == sorted(wanted)
    for number, vector, has in zip(found.numbers, found.vectors, found.has_vector, strict=True):
        assert np.allclose(vector, wanted[number] if has else 0, atol=1e-6)


@pytest.mark.parametrize("views", ["sum", "concat", "none"])
@pytest.mark.parametrize("keep_norms", [True, False])
@pytest.mark.parametrize("weigh_scores", [True, False])
def test_pooling_is_that_of_the_definition(
    views: str, keep_norms: bool, weigh_scores: bool
) -> None:
    drawn = draw_images(1)
    pooling = Pooling(views, keep_norms=keep_norms, weigh_scores=weigh_scores)
    naive = pool_naively(*drawn, views=views, keep_norms=keep_norms, weigh_scores=weigh_scores)
    assert_equal(pool_templates(*drawn, pooling=pooling), naive)


def test_the_name_is_that_of_eval_ijbc() -> None:
    assert Pooling().name == "N1D1F1"
    assert Pooling("none", keep_norms=False, weigh_scores=False).name == "N0D0F0"
    assert "norms kept" in Pooling().describe()


def test_plain_values_tell_apart_what_the_name_does_not() -> None:
    added, behind = Pooling("sum").to_dict(), Pooling("concat").to_dict()
    assert added == {"name": "N1D1F1", "views": "sum", "keep_norms": True, "weigh_scores": True}
    assert (behind["name"], behind["views"]) == ("N1D1F1", "concat")


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_the_size_of_the_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    drawn = draw_images(2)
    monkeypatch.setattr(room, "_CHUNK_IMAGES", chunk)
    assert_equal(pool_templates(*drawn), pool_naively(*drawn))


def test_mapped_images_without_a_mirror_image(tmp_path: Path) -> None:
    images, *rest = draw_images(3, n_views=1)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert_equal(
        pool_templates(mapped, *rest, pooling=Pooling("none")),
        pool_naively(images, *rest, views="none"),
    )
    with pytest.raises(InputError, match="mirror images were not embedded"):
        pool_templates(mapped, *rest)


def test_a_failed_image_leaves_its_media_and_a_template_of_them_has_no_vector() -> None:
    images, templates, media, scores = draw_images(4)
    is_failed = np.random.default_rng(4).random(len(images)) < 0.3
    is_failed |= templates == 5
    images[is_failed] = np.nan  # never looked at
    found = pool_templates(images, templates, media, scores, is_failed=is_failed)
    assert_equal(found, pool_naively(images, templates, media, scores, is_failed=is_failed))
    assert not found.has_vector[found.numbers == 5].any()


def test_a_template_whose_images_cancel_has_no_vector() -> None:
    images = np.array([[[1, 0]], [[-1, 0]], [[0, 1]]], np.float32)
    numbers = np.array([1, 1, 2])
    ones = np.ones(3, np.float32)
    found = pool_templates(images, numbers, np.array([1, 2, 1]), ones, pooling=Pooling("none"))
    assert found.has_vector.tolist() == [False, True]
    assert found.vectors.tolist() == [[0, 0], [0, 1]]


def test_all_images_failed_leaves_no_vector() -> None:
    drawn = draw_images(5, n=10)
    assert not pool_templates(*drawn, is_failed=np.ones(10, np.bool_)).has_vector.any()


def test_strange_arrays_are_refused() -> None:
    images, templates, media, scores = draw_images(6, n=10)
    with pytest.raises(InputError, match="media have the shape"):
        pool_templates(images, templates, media[1:], scores)
    with pytest.raises(InputError, match="embeddings of images have the shape"):
        pool_templates(images[:, 0], templates, media, scores)
    with pytest.raises(InputError, match="embeddings of images have the shape"):
        pool_templates(images[:0], templates[:0], media[:0], scores[:0])
    images[3] = np.inf
    with pytest.raises(InputError, match="image 3 is not finite"):
        pool_templates(images, templates, media, scores)
    with pytest.raises(InputError, match="views is 'both'"):
        Pooling("both")


def test_places_by_number_and_a_number_without_images() -> None:
    found = pool_templates(*draw_images(7))
    assert found.places(np.array([20, 1, 3])).tolist() == [19, 0, 2]
    with pytest.raises(InputError, match="template 21 has no images"):
        found.places(np.array([1, 21]))


@pytest.mark.parametrize("n", [1, 5, 3000])
@pytest.mark.parametrize("rows", [1, 16, 1024])
@pytest.mark.parametrize("worth", [0, 200])
def test_scores_of_pairs_are_their_products(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, n: int, rows: int, worth: int
) -> None:
    monkeypatch.setattr(room, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(room, "_WORTH_A_PRODUCT", worth)  # 0: each pair is fetched
    rng = np.random.default_rng(n)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "templates.npy", vectors)
    mapped = np.load(tmp_path / "templates.npy", mmap_mode="r")
    first = rng.integers(0, 60, n).astype(np.int32)
    second = rng.integers(0, 60, n).astype(np.int32)
    naive = [float(vectors[a] @ vectors[b]) for a, b in zip(first, second, strict=True)]
    scores = score_pairs(mapped, first, second)
    assert scores.dtype == np.float32
    assert np.allclose(scores, naive, atol=1e-6)
    assert np.abs(scores).max() <= 1


def test_no_pairs_and_strange_pairs() -> None:
    vectors = np.eye(3, dtype=np.float32)
    none = np.empty(0, np.int32)
    assert score_pairs(vectors, none, none).shape == (0,)
    for row in (-1, 3):
        with pytest.raises(InputError, match="beyond the 3 vectors"):
            score_pairs(vectors, np.array([0]), np.array([row]))
    with pytest.raises(InputError, match="vectors of shape"):
        score_pairs(vectors, np.array([0]), np.array([0, 1]))
