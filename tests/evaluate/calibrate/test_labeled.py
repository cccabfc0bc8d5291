"""Every pair is scored once, and a list that contradicts its folders is refused."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.calibrate import labeled
from arcwise.evaluate.calibrate.labeled import (
    LabeledPhoto,
    ScoredPhotos,
    score_listed,
    score_photos,
)
from arcwise.types import Pair


def make_photos(n_people: int = 11, *, seed: int = 0) -> list[LabeledPhoto]:
    """One to four photos of each of some people, in no order."""
    rng = np.random.default_rng(seed)
    photos = [
        LabeledPhoto(f"p{i:02}/{j}.jpg", f"p{i:02}", rng.normal(size=8), f"{i}-{j}")
        for i in range(n_people)
        for j in range(1 + i % 4)
    ]
    return [photos[i] for i in rng.permutation(len(photos))]


def cosine(a: LabeledPhoto, b: LabeledPhoto) -> float:
    return float(a.vector @ b.vector / np.linalg.norm(a.vector) / np.linalg.norm(b.vector))


def to_dict(scored: ScoredPhotos, kind: str) -> dict[frozenset[str], float]:
    pairs = getattr(scored, kind)
    rows = zip(pairs.first, pairs.second, pairs.scores, strict=True)
    return {frozenset((scored.photos[a].name, scored.photos[b].name)): s for a, b, s in rows}


@pytest.mark.parametrize("block", [3, 512])
def test_every_pair_has_its_cosine_in_its_class(block: int, monkeypatch):
    monkeypatch.setattr(labeled, "_BLOCK", block)
    photos = make_photos()
    scored = score_photos(photos)
    for kind, is_same in (("genuine", True), ("impostors", False)):
        expected = {
            frozenset((a.name, b.name)): pytest.approx(cosine(a, b), abs=1e-6)
            for a, b in combinations(photos, 2)
            if (a.person == b.person) is is_same
        }
        found = to_dict(scored, kind)
        assert found == expected
        assert len(found) == len(getattr(scored, kind))
        assert getattr(scored, kind).scores.dtype == np.float32
    assert [scored.names[i] for i in scored.people] == [photo.person for photo in scored.photos]
    assert scored.n_photos is not None
    assert scored.n_photos.tolist() == [1 + i % 4 for i in range(11)]


def make_list() -> list[Pair]:
    names = [f"p{i:02}/0.jpg" for i in range(11)]
    strangers = [Pair(a, b, False, 0) for a, b in pairwise(names)]
    return [*strangers, Pair("p01/0.jpg", "p01/1.jpg", True, 0)]


def test_of_a_list_only_its_pairs_are_scored_once_each():
    photos = make_photos()
    by_name = {photo.name: photo for photo in photos}
    turned = Pair("p01/0.jpg", "p00/0.jpg", False, 3)
    scored = score_listed([*make_list(), turned], photos)
    assert to_dict(scored, "genuine") == {
        frozenset(("p01/0.jpg", "p01/1.jpg")): pytest.approx(
            cosine(by_name["p01/0.jpg"], by_name["p01/1.jpg"]), abs=1e-6
        )
    }
    assert len(scored.impostors) == 10
    assert len(scored.photos) == 12
    assert scored.n_photos is None


def test_pairs_of_photos_that_failed_are_left_out():
    photos = [photo for photo in make_photos() if photo.name != "p01/1.jpg"]
    scored = score_listed(make_list(), photos, failed={"p01/1.jpg": "no face"})
    assert len(scored.genuine) == 0
    assert scored.reasons == {"p01/1.jpg": "no face"}
    with pytest.raises(InputError, match=r"no embedding was given of p01/1\.jpg"):
        score_listed(make_list(), photos)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Pair("p01/0.jpg", "p01/1.jpg", False, 0), "two people"),
        (Pair("p01/0.jpg", "p02/0.jpg", True, 0), "one person"),
        (Pair("p01/0.jpg", "p01/0.jpg", True, 0), "one person"),
    ],
)
def test_a_list_that_contradicts_its_folders_is_refused(pair: Pair, said: str):
    with pytest.raises(DatasetError, match=f"show {said}, their folders do not"):
        score_listed([*make_list(), pair], make_photos())


def test_a_list_has_another_digest_than_all_pairs_and_than_another_list():
    photos = make_photos()
    digests = {
        score_photos(photos).data_digest(),
        score_listed(make_list(), photos).data_digest(),
        score_listed(make_list()[:-2] + make_list()[-1:], photos).data_digest(),
    }
    assert len(digests) == 3
    assert score_listed(make_list()[::-1], photos[::-1]).data_digest() in digests
