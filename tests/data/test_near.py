"""One photo under two names: what is taken for one, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.data.near import Look, find_twins, take_look
from arcwise.encode import encode_image
from arcwise.image import mirror_image, read_image, resize_image
from arcwise.testing import draw_person
from arcwise.types import Image


def draw(person: int, variation: int = 0) -> Image:
    return draw_person(person, variation=variation)[0]


def test_an_encoded_scaled_and_brightened_copy_is_found_with_its_positions() -> None:
    image = draw(0)
    brighter = np.clip(image.astype(np.float32) * 1.1, 0, 255).astype(np.uint8)
    copies = [
        read_image(encode_image(image, quality=40)),
        resize_image(image, (80, 80)),
        brighter,
    ]
    looks = [take_look(each) for each in (draw(1), image, *copies)]
    found = find_twins(looks[:2], looks[2:])
    assert [(twins.a, twins.b) for twins in found] == [(1, 0), (1, 1), (1, 2)]
    assert all(twins.n_bits <= 6 and 0.98 <= twins.correlation <= 1.000001 for twins in found)


def test_within_one_set_each_pair_is_found_once_and_no_photo_with_itself() -> None:
    looks = [take_look(draw(person)) for person in (0, 1, 0, 0)]
    found = find_twins(looks)
    assert [(twins.a, twins.b) for twins in found] == [(0, 2), (0, 3), (2, 3)]
    assert {(twins.n_bits, round(twins.correlation, 6)) for twins in found} == {(0, 1.0)}


def test_other_people_and_mirrored_photos_are_not_found() -> None:
    looks = [take_look(image) for image in (draw(0), draw(1), draw(2), mirror_image(draw(0)))]
    assert find_twins(looks) == []


def test_all_pairs_agree_with_a_naive_comparison() -> None:
    generator = np.random.default_rng(0)
    looks = [
        Look(int(generator.integers(0, 1 << 62)) & 0xFFFF << 20, generator.integers(0, 255, 256))
        for _ in range(1100)  # more than one block of rows
    ]
    expected = {
        (a, b)
        for a in range(len(looks))
        for b in range(a + 1, len(looks))
        if (looks[a].hash ^ looks[b].hash).bit_count() <= 1
        and np.corrcoef(looks[a].thumb, looks[b].thumb)[0, 1] >= 0.05
    }
    found = find_twins(looks, most_bits=1, least_correlation=0.05)
    assert {(twins.a, twins.b) for twins in found} == expected
    assert len(expected) > 10


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_are_nobody_s_twins(value: int) -> None:
    flat = take_look(np.full((50, 50, 3), value, np.uint8))
    assert find_twins([flat, flat]) == []


def test_nothing_to_compare_finds_nothing() -> None:
    look = take_look(draw(0))
    assert find_twins([]) == find_twins([look], []) == find_twins([], [look]) == []
