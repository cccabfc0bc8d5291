"""Planted copies of a gallery's photos among the probes are found, others are not."""

from __future__ import annotations

import numpy as np

from arcwise.data.leak import Print, find_doubles, find_leaks, take_print
from arcwise.encode import encode_image
from arcwise.image import read_image, resize_image
from arcwise.testing import draw_photo


def draw(person, variation=0):
    return draw_photo([person], size_wh_px=(128, 128), widths_px=[72], variation=variation).image


GALLERY = {f"p{i}/0": take_print(draw(i)) for i in range(6)}


def test_equal_pixels_are_found_under_any_name():
    (leak,) = find_leaks(GALLERY, {"x/9": take_print(draw(3)), "p1/1": take_print(draw(1, 1))})
    assert (leak.probe, leak.photo, leak.is_exact, leak.correlation) == ("x/9", "p3/0", True, 1.0)


def test_a_scaled_and_compressed_copy_is_found():
    small = resize_image(draw(2), (96, 96))
    copy = read_image(encode_image(small, suffix=".jpg", quality=70))
    (leak,) = find_leaks(GALLERY, {"p2/1": take_print(copy)})
    assert (leak.photo, leak.is_exact) == ("p2/0", False)
    assert 0.98 <= leak.correlation <= 1


def test_other_photos_are_no_leak():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (6, 8, 8, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    assert (
        find_leaks(GALLERY, {f"p{i}/1": take_print(image) for i, image in enumerate(noise)}) == []
    )


def test_digests_alone_find_equal_pixels():
    known = {name: Print(p.digest) for name, p in GALLERY.items()}
    (leak,) = find_leaks(known, {"q": Print(GALLERY["p4/0"].digest), "r": Print("")})
    assert (leak.probe, leak.photo) == ("q", "p4/0")


def test_unknown_digests_are_not_equal():
    assert find_leaks({"a": Print("")}, {"b": Print("")}) == []


def test_of_several_photos_the_first_by_name_is_told():
    flat = take_print(np.full((32, 32, 3), 7, np.uint8))
    (leak,) = find_leaks({"b": flat, "a": flat}, {"q": flat})
    assert leak.photo == "a"


def test_nothing_leaks_out_of_nothing():
    assert find_leaks({}, GALLERY) == find_leaks(GALLERY, {}) == []


def shrink(image):
    small = resize_image(image, (96, 96))
    return take_print(read_image(encode_image(small, suffix=".jpg", quality=70)))


def whose(photos):
    return {name: name.split("/")[0] for name in photos}


def test_a_photo_under_two_people_is_told_once():
    photos = GALLERY | {"x/0": GALLERY["p3/0"], "p2/1": GALLERY["p2/0"]}
    (double,) = find_doubles(photos, whose(photos))
    assert (double.photo, double.other) == ("x/0", "p3/0")
    assert (double.person, double.other_person) == ("x", "p3")
    assert (double.is_exact, double.correlation) == (True, 1.0)


def test_a_photo_under_three_people_is_told_for_each_after_the_first():
    one = take_print(draw(0))
    photos = {f"{person}/{i}": one for person in "abc" for i in range(2)}
    found = [(double.photo, double.other) for double in find_doubles(photos, whose(photos))]
    assert found == [("b/0", "a/0"), ("c/0", "a/0")]


def test_a_scaled_copy_under_another_person_is_told_and_one_of_the_same_is_not():
    photos = {"a/0": take_print(draw(0)), "a/1": shrink(draw(0)), "b/0": take_print(draw(1))}
    near = [double for double in find_doubles(photos, whose(photos)) if double.photo == "a/1"]
    assert near == []
    photos["c/0"] = shrink(draw(0))  # the pixels of a/1
    found = {double.photo: double for double in find_doubles(photos, whose(photos))}
    assert (found["c/0"].other, found["c/0"].is_exact) == ("a/1", True)
    del photos["a/1"]
    found = {double.photo: double for double in find_doubles(photos, whose(photos))}
    assert (found["c/0"].other, found["c/0"].is_exact) == ("a/0", False)
    assert 0.98 <= found["c/0"].correlation <= 1


def test_digests_alone_find_doubles_and_unknown_ones_are_not_equal():
    photos = {"a/0": Print("x"), "b/0": Print("x"), "c/0": Print(""), "d/0": Print("")}
    assert [double.photo for double in find_doubles(photos, whose(photos))] == ["b/0"]


def test_a_placeholder_under_every_name_is_not_compared_with_itself():
    """It would be 200 million pairs."""
    one = GALLERY["p0/0"]
    photos = {f"p{i:05}/0": one for i in range(20_000)}
    assert len(find_doubles(photos, whose(photos))) == 19_999


def test_nothing_is_double_in_nothing():
    assert find_doubles({}, {}) == []
