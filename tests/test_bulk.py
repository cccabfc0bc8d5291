"""Many photos become raw vectors: once, in order, each with its reason when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arcwise.bulk import Recipe, Source, digest_file, embed_photos, fit_crop, gather_photos
from arcwise.encode import encode_image
from arcwise.errors import InputError
from arcwise.evaluate.vectors.cache import Cache
from arcwise.evaluate.vectors.embedded import ABSENT, ZERO, EmbeddedPhotos
from arcwise.image import pixel_digest, resize_image
from arcwise.recognizer import Recognizer
from arcwise.settings import Settings
from arcwise.testing import DrawnPhoto, FakeDetector, FakeEmbedder, draw_person, draw_photo
from arcwise.types import Crops, Embeddings, Face, Image


class Counting(FakeEmbedder):
    """Counts the crops it embeds."""

    n_crops = 0

    def embed(self, crops: Crops) -> Embeddings:
        self.n_crops += len(crops)
        return super().embed(crops)


class Blind(FakeEmbedder):
    """Gives zeros for dark crops."""

    def embed(self, crops: Crops) -> Embeddings:
        is_light = crops.mean(axis=(1, 2, 3)) > 10
        return Embeddings.from_raw(super().embed(crops).vectors * is_light[:, None])


class Looking(FakeDetector):
    """Counts the photos it looks at."""

    n_photos = 0

    def detect(self, images: list[Image]) -> list[list[Face]]:
        self.n_photos += len(images)
        return super().detect(images)


DRAWN: dict[str, DrawnPhoto] = {
    f"p{person}/{variation}.png": draw_photo(
        [person], size_wh_px=(128, 128), widths_px=[72], variation=variation
    )
    for person in range(3)
    for variation in range(2)
} | {"both.png": draw_photo([0, 1], widths_px=[60, 90])}
FILES: dict[str, Source] = {
    name: encode_image(photo.image, suffix=".png") for name, photo in DRAWN.items()
}
BROKEN: dict[str, Source] = {
    "text.jpg": b"no photo at all",
    "empty.jpg": b"",
    "nobody.png": encode_image(np.full((90, 80, 3), 77, np.uint8), suffix=".png"),
}
CROPS: dict[str, Source] = {f"{i}": draw_person(i)[0] for i in range(5)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings.from_environment({"ARCWISE_HOME": str(tmp_path)}), batch_size=3)


@pytest.fixture
def recognizer(settings: Settings) -> Recognizer:
    detector = Looking({pixel_digest(photo.image): photo.faces for photo in DRAWN.values()})
    return Recognizer(model=Counting(), detector=detector, settings=settings)


@pytest.fixture
def cache(settings: Settings) -> Iterator[Cache]:
    embedder = FakeEmbedder()
    with Cache.open(
        settings.cache_dir, model="fake", model_digest=embedder.digest, dimension=64
    ) as cache:
        yield cache
        assert cache.trouble == ""


def embed(
    recognizer: Recognizer,
    photos: dict[str, Source],
    recipe: Recipe | None = None,
    cache: Cache | None = None,
) -> EmbeddedPhotos:
    recipe = recipe or Recipe()
    found = embed_photos(recognizer, photos.items(), recipe=recipe, cache=cache)
    return gather_photos(recognizer, found, total=len(photos), recipe=recipe)


def n_embedded(recognizer: Recognizer) -> int:
    assert isinstance(recognizer.embedder, Counting)
    return recognizer.embedder.n_crops


def test_vectors_are_those_of_the_recognizer(recognizer: Recognizer) -> None:
    embedded = embed(recognizer, FILES)
    assert embedded.names == tuple(FILES)
    for name, vector in embedded.vectors("none").items():
        (face,) = next(recognizer.choose_many([FILES[name]], select="center")).faces
        np.testing.assert_allclose(vector, face.embedding * np.float32(face.norm), atol=1e-5)
        assert embedded.digest_of()[name] == pixel_digest(DRAWN[name].image)


def test_the_second_view_is_that_of_the_mirrored_crop(recognizer: Recognizer) -> None:
    embedded = embed(recognizer, CROPS, Recipe(is_aligned=True))
    mirrored = embed(recognizer, {n: c[:, ::-1] for n, c in CROPS.items()}, Recipe(is_aligned=True))
    np.testing.assert_allclose(embedded.mirrored, mirrored.raw, rtol=1e-6)
    assert mirrored.mirrored is not None
    np.testing.assert_allclose(mirrored.mirrored, embedded.raw, rtol=1e-6)


def test_without_the_second_view_half_is_embedded(recognizer: Recognizer) -> None:
    embedded = embed(recognizer, FILES, Recipe(has_mirror=False))
    assert embedded.mirrored is None
    assert n_embedded(recognizer) == len(FILES)


def test_photos_without_a_vector_say_why(recognizer: Recognizer) -> None:
    embedded = embed(recognizer, FILES | BROKEN, Recipe(select="only"))
    assert embedded.reasons == {
        "text.jpg": "it is not a photo: it starts with b'no photo'",
        "empty.jpg": "it is empty (0 bytes)",
        "nobody.png": "no face was found",
        "both.png": "2 faces were found where one was expected",
    }
    assert len(embedded) == len(FILES) - 1


def test_a_vector_without_length_is_a_failed_read(settings: Settings) -> None:
    recognizer = Recognizer(model=Blind(), settings=settings)
    crops = CROPS | {"dark": np.zeros((112, 112, 3), np.uint8)}
    assert embed(recognizer, crops, Recipe(is_aligned=True)).reasons == {"dark": ZERO}


def test_crops_need_no_detector(settings: Settings) -> None:
    recognizer = Recognizer(model=FakeEmbedder(), settings=settings)
    assert embed(recognizer, CROPS, Recipe(is_aligned=True)).names == tuple(CROPS)
    assert "detector" not in vars(recognizer)


def test_a_model_with_a_flip_of_its_own_is_refused(settings: Settings) -> None:
    embedder = FakeEmbedder()
    embedder.flip = True  # type: ignore[attr-defined]
    recognizer = Recognizer(model=embedder, settings=settings)
    with pytest.raises(InputError, match="by itself"):
        embed(recognizer, CROPS, Recipe(is_aligned=True))


def test_names_twice_and_photos_that_were_not_announced_are_refused(
    recognizer: Recognizer,
) -> None:
    recipe = Recipe(is_aligned=True)
    twice = [("a", CROPS["0"]), ("a", CROPS["1"])]
    for total, words in ((2, "twice"), (1, "announced")):
        found = embed_photos(recognizer, twice, recipe=recipe)
        with pytest.raises(InputError, match=words):
            gather_photos(recognizer, found, total=total, recipe=recipe)


def test_photos_without_a_vector_are_known_by_their_pixels_or_bytes(
    recognizer: Recognizer, cache: Cache
) -> None:
    recipe = Recipe(select="only")
    wanted = {
        "text.jpg": digest_file(b"no photo at all"),
        "empty.jpg": digest_file(b""),
        "nobody.png": pixel_digest(np.full((90, 80, 3), 77, np.uint8)),
        "both.png": pixel_digest(DRAWN["both.png"].image),
    }
    for _ in range(2):  # the second time from the cache
        assert embed(recognizer, FILES | BROKEN, recipe, cache).failed_digests == wanted
    nothing = gather_photos(recognizer, [], total=0, recipe=recipe, lost={"a.jpg": "not there"})
    assert nothing.failed_digests == {"a.jpg": ABSENT}


@pytest.mark.parametrize("is_aligned", [True, False])
def test_what_comes_again_in_a_batch_is_made_once(recognizer: Recognizer, is_aligned: bool) -> None:
    files = CROPS if is_aligned else FILES
    again = {f"{name} again": content for name, content in list(files.items())[:2]}
    photos = dict(list(files.items())[:2]) | again | {"bad": b"x", "bad again": b"x"}
    embedded = embed(recognizer, photos, Recipe(is_aligned=is_aligned, has_mirror=False))
    assert n_embedded(recognizer) == 2
    np.testing.assert_array_equal(embedded.raw[:2], embedded.raw[2:])
    assert embedded.digests[:2] == embedded.digests[2:]
    assert embedded.reasons["bad"] == embedded.reasons["bad again"]


# ── crops of other sizes ──


def test_the_digest_is_that_of_the_picture_as_it_was_read(recognizer: Recognizer) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (112, 150, 3), np.uint8)
    other = wide.copy()
    other[:, 0] = 0  # outside the square in the middle
    embedded = embed(recognizer, {"a": wide, "b": other}, Recipe(is_aligned=True))
    np.testing.assert_allclose(embedded.raw[0], embedded.raw[1], rtol=1e-5)
    assert embedded.digests == (pixel_digest(wide), pixel_digest(other))


@pytest.mark.parametrize("size_px", [50, 112, 224])
def test_a_square_crop_is_resized(size_px: int) -> None:
    image, _ = draw_person(1, size_px=size_px)
    np.testing.assert_array_equal(fit_crop(image, 112), resize_image(image, (112, 112)))


def test_of_another_picture_the_square_in_the_middle_is_taken() -> None:
    image = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    np.testing.assert_array_equal(fit_crop(image, 4), image[1:5])
    np.testing.assert_array_equal(fit_crop(image.transpose(1, 0, 2), 4)[:, 0], image[1])


# ── the cache ──


def assert_equal(a: EmbeddedPhotos, b: EmbeddedPhotos) -> None:
    assert (a.names, a.digests, a.reasons) == (b.names, b.digests, b.reasons)
    np.testing.assert_array_equal(a.raw, b.raw)
    assert (a.mirrored is None) == (b.mirrored is None)
    if a.mirrored is not None:
        np.testing.assert_array_equal(a.mirrored, b.mirrored)


def test_a_second_time_nothing_is_made_again(recognizer: Recognizer, cache: Cache) -> None:
    photos = FILES | BROKEN
    first = embed(recognizer, photos, cache=cache)
    n_before, n_looked = n_embedded(recognizer), recognizer.detector.n_photos  # type: ignore[attr-defined]
    assert_equal(embed(recognizer, photos, cache=cache), first)
    assert n_embedded(recognizer) == n_before
    assert recognizer.detector.n_photos == n_looked  # type: ignore[attr-defined]


def test_the_cache_changes_no_vector(recognizer: Recognizer, cache: Cache) -> None:
    photos = FILES | BROKEN
    assert_equal(embed(recognizer, photos, cache=cache), embed(recognizer, photos))


def test_equal_files_share_what_is_known_under_any_name(
    recognizer: Recognizer, cache: Cache
) -> None:
    embed(recognizer, {"a/1.png": FILES["p0/0.png"], "bad": b"nonsense"}, cache=cache)
    n_before = n_embedded(recognizer)
    renamed = embed(recognizer, {"b/2.png": FILES["p0/0.png"], "worse": b"nonsense"}, cache=cache)
    assert renamed.names == ("b/2.png",)
    assert renamed.reasons == {"worse": "it is not a photo: it starts with b'nonsense'"}
    assert n_embedded(recognizer) == n_before


@pytest.mark.parametrize(
    "recipe", [Recipe(select="largest"), Recipe(select="only"), Recipe(is_aligned=True)]
)
def test_another_way_to_make_them_is_not_mixed_up(
    recognizer: Recognizer, cache: Cache, recipe: Recipe
) -> None:
    embed(recognizer, FILES, cache=cache)
    assert_equal(embed(recognizer, FILES, recipe, cache), embed(recognizer, FILES, recipe))


def test_other_limits_are_not_mixed_up(recognizer: Recognizer, cache: Cache) -> None:
    embed(recognizer, FILES, cache=cache)
    for changed in (
        replace(recognizer.settings, min_face_px=50),
        replace(recognizer.settings, max_megapixels=0.001),
    ):
        other = Recognizer(model=Counting(), detector=recognizer.detector, settings=changed)
        embed(other, FILES, cache=cache)
        assert n_embedded(other) == (0 if changed.max_megapixels < 1 else 2 * len(FILES))


def test_one_view_serves_whoever_wants_one_and_is_completed_for_two(
    recognizer: Recognizer, cache: Cache
) -> None:
    single, double = Recipe(has_mirror=False), Recipe()
    n = len(FILES)
    embed(recognizer, FILES, single, cache)
    assert embed(recognizer, FILES, single, cache).mirrored is None
    assert n_embedded(recognizer) == n
    assert embed(recognizer, FILES, double, cache).mirrored is not None
    assert n_embedded(recognizer) == 3 * n
    assert embed(recognizer, FILES, single, cache).mirrored is None
    assert n_embedded(recognizer) == 3 * n


class Flaky:
    """A file on a disk that fails the first time."""

    n_reads = 0

    def read(self, size: int = -1, /) -> bytes:
        self.n_reads += 1
        if self.n_reads == 1:
            raise InputError("cannot read it: the disk sulks")
        content = FILES["p0/0.png"]
        assert isinstance(content, bytes)
        return content


def test_trouble_with_the_disk_is_not_remembered(recognizer: Recognizer, cache: Cache) -> None:
    photos: dict[str, Source] = {"a.png": Flaky()}
    first = embed(recognizer, photos, cache=cache)
    assert first.reasons == {"a.png": "cannot read it: the disk sulks"}
    assert embed(recognizer, photos, cache=cache).names == ("a.png",)


def test_a_file_is_read_once(recognizer: Recognizer, cache: Cache) -> None:
    photo = Flaky()
    photo.n_reads = 1
    embed(recognizer, {"a.png": photo}, cache=cache)
    assert photo.n_reads == 2


def test_work_that_is_stopped_keeps_what_was_done(recognizer: Recognizer, cache: Cache) -> None:
    found = embed_photos(recognizer, FILES.items(), recipe=Recipe(), cache=cache)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert cache.trouble == ""
    n_before = n_embedded(recognizer)
    embed(recognizer, FILES, cache=cache)
    assert n_embedded(recognizer) == n_before + 2 * (len(FILES) - 3)


def test_many_that_are_known_come_with_few_that_are_not(
    recognizer: Recognizer, cache: Cache
) -> None:
    crops: dict[str, Source] = {
        str(i): np.full((112, 112, 3), 20 + i % 200, np.uint8) for i in range(600)
    }
    recipe = Recipe(is_aligned=True)
    plain = embed(recognizer, crops, recipe)
    some = {name: crop for i, (name, crop) in enumerate(crops.items()) if i % 7}
    embed(recognizer, some, recipe, cache)
    mixed = embed(recognizer, crops, recipe, cache)
    assert mixed.names == plain.names
    np.testing.assert_allclose(mixed.raw, plain.raw, atol=1e-5)
