"""Eigenfaces and a support vector machine against scikit-learn put together by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from arcwise.errors import InputError
from arcwise.evaluate.identification import measure_searches
from arcwise.evaluate.identification.baseline import SIDE_PX, GrayEmbedder, search_eigenfaces
from arcwise.evaluate.identification.lineup import Lineup, Side
from arcwise.evaluate.identification.scope import Scope


def flatten(crops):
    found = GrayEmbedder().embed(crops)
    return found.vectors * found.norms[:, None]


def make_lineup(n_people, *, per_person=4, noise=20.0, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.uniform(60, 190, (n_people, 14, 14, 3)).repeat(8, axis=1).repeat(8, axis=2)
    sides = []
    for _ in range(2):
        people, vectors = {}, {}
        for i in range(n_people):
            noisy = means[i] + noise * rng.normal(size=(per_person, 112, 112, 3))
            flat = flatten(noisy.clip(0, 255).astype(np.uint8))
            for k, vector in enumerate(flat):
                people[f"p{i}/{k}"] = f"p{i}"
                vectors[f"p{i}/{k}"] = vector
        sides.append(Side(people, vectors, {}))
    return Lineup.gather(*sides)


def test_crops_become_small_gray_vectors():
    crops = np.full((2, 112, 112, 3), 255, np.uint8)
    flat = flatten(crops)
    assert (flat.shape, flat.dtype) == ((2, SIDE_PX**2), np.float32)
    assert flat == pytest.approx(1)


@pytest.mark.parametrize("n_people", [2, 3, 8])
def test_the_first_candidate_is_what_the_machine_predicts(n_people):
    lineup = make_lineup(n_people, noise=60)
    found = search_eigenfaces(lineup)
    n = min(150, len(lineup.gallery) - 1)
    plain = make_pipeline(
        PCA(n, svd_solver="randomized", whiten=True, random_state=0),
        SVC(C=1000, gamma=0.005, class_weight="balanced"),
    ).fit(lineup.gallery, lineup.gallery_people)
    is_right = plain.predict(lineup.probes) == np.array(lineup.probe_people)
    assert ((found.mate_ranks == 1) == is_right).mean() > 0.95  # votes may tie, ranks count ties
    assert found.mate_ranks.min() >= 1


def test_plain_patterns_are_told_apart():
    assert (search_eigenfaces(make_lineup(5)).mate_ranks == 1).all()


def test_one_photo_for_each_person_is_enough_to_learn():
    assert (search_eigenfaces(make_lineup(4, per_person=1)).mate_ranks == 1).mean() >= 0.75


def test_a_seed_repeats_the_scores():
    lineup = make_lineup(4)
    first, again = (search_eigenfaces(lineup).mate_scores for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_whoever_a_probe_is_taken_for_has_its_most_alike_photo():
    """p4's photo is searched for as p0: the first photo of p4 is told, not photo 4 of all."""
    lineup = make_lineup(6, per_person=3, noise=5.0)
    people = ("p0", *lineup.probe_people[1:])
    probes = np.array([lineup.probes[lineup.probe_people.index("p4")], *lineup.probes[1:]])
    swapped = replace(lineup, probe_people=people, probes=probes)
    report = measure_searches(swapped, search_eigenfaces(swapped), Scope(n_replicates=2))
    told = next(tally for tally in report.people if tally.person == "p0")
    assert (told.n_found, told.taken_for) == (2, "p4")
    assert report.misses[0].taken_for == "p4/0"


def test_people_are_named_where_paths_and_names_sort_differently():
    """ "Ann B/0" comes before "Ann/0", but "Ann" before "Ann B"."""
    rng = np.random.default_rng(0)
    means = {"Ann": rng.normal(size=30), "Ann B": rng.normal(size=30), "Cid": rng.normal(size=30)}
    gallery = {f"{p}/{k}": p for p in means for k in range(3)}
    vectors = {n: (means[p] + 0.1 * rng.normal(size=30)) for n, p in gallery.items()}
    probe = Side({"Cid/9": "Cid"}, {"Cid/9": means["Ann B"]}, {})
    lineup = Lineup.gather(Side(gallery, vectors, {}), probe)
    found = search_eigenfaces(lineup)
    assert lineup.gallery_names[found.others[0]] == "Ann B/0"


@pytest.mark.parametrize(("n_people", "words"), [(1, "shows 1"), (501, "501 people")])
def test_galleries_it_is_not_made_for_are_refused(n_people, words):
    people = {f"p{i}": f"p{i}" for i in range(n_people)}
    side = Side(people, {n: np.ones(4, np.float32) for n in people}, {})
    with pytest.raises(InputError, match=words):
        search_eigenfaces(Lineup.gather(side, side))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_not_all_can_draw_with_is_refused(seed):
    with pytest.raises(InputError, match=f"the seed is {seed}"):
        search_eigenfaces(make_lineup(3), seed=seed)


@pytest.mark.parametrize("missing", ["sklearn", "scipy", "joblib"])
def test_a_missing_library_is_one_of_our_errors(missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from arcwise.errors import InputError\n"
        "try:\n"
        "    import arcwise.evaluate.identification.baseline\n"
        "except InputError as error:\n"
        "    print(error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "scikit-learn is not installed" in done.stdout, done.stderr
    assert missing in done.stdout
    assert "arcwise[report]" in done.stdout
