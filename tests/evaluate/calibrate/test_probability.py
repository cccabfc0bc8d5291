"""A probability is what the shares say, tried on people it has not seen, and never too sure."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.calibrate import probability
from arcwise.evaluate.calibrate.labeled import LabeledPhoto, score_listed, score_photos
from arcwise.evaluate.calibrate.probability import fit_probability
from arcwise.evaluate.calibrate.reliability import GRID
from arcwise.types import Pair


def make_photos(
    n_people: int = 30, n_photos: int = 3, *, noise: float = 1.0, seed: int = 0
) -> list[LabeledPhoto]:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_people, 16))
    return [
        LabeledPhoto(f"{i}/{j}", f"{i}", centers[i] + noise * rng.normal(size=16), f"{i}-{j}")
        for i in range(n_people)
        for j in range(n_photos)
    ]


def naive_isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Pool adjacent violators, as written in every textbook."""
    blocks: list[list[float]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            v, w, n = blocks.pop()
            blocks[-1] = [
                (blocks[-1][0] * blocks[-1][1] + v * w) / (blocks[-1][1] + w),
                blocks[-1][1] + w,
                blocks[-1][2] + n,
            ]
    return [value for value, _, n in blocks for _ in range(int(n))]


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_the_isotonic_fit_is_that_of_the_naive_loop(prior: float):
    rng = np.random.default_rng(1)
    genuine, impostors = (np.zeros(len(GRID), np.int64) for _ in range(2))
    places = np.sort(rng.choice(len(GRID), 60, replace=False))
    genuine[places] = rng.integers(0, 5, 60) + np.arange(60) // 20
    impostors[places] = rng.integers(1, 9, 60)
    fitted = probability._fit_isotonic(genuine, impostors, prior, 1e-9)[places]
    same = prior * genuine[places] / genuine.sum()
    other = (1 - prior) * impostors[places] / impostors.sum()
    expected = naive_isotonic(same / (same + other), same + other)
    np.testing.assert_allclose(fitted, expected, atol=1e-8)


@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_the_logistic_fit_finds_the_curve_that_made_the_pairs(prior: float):
    # two normal distributions of one width: the odds are the exponential of a line
    genuine = np.round(1e6 * np.exp(-0.5 * ((GRID - 0.5) / 0.1) ** 2)).astype(np.int64)
    impostors = np.round(3e6 * np.exp(-0.5 * ((GRID - 0.1) / 0.1) ** 2)).astype(np.int64)
    fitted = probability._fit_logistic(genuine, impostors, prior, 1e-9)
    odds = prior / (1 - prior) * np.exp((0.5 - 0.1) / 0.1**2 * (GRID - 0.3))
    seen = (GRID > 0.1) & (GRID < 0.5)
    np.testing.assert_allclose(fitted[seen], (odds / (1 + odds))[seen], atol=2e-3)


def test_where_similarity_says_nothing_the_probability_is_the_prior():
    counts = np.zeros(len(GRID), np.int64)
    counts[1000:3000:7] = 5
    for fit in (probability._fit_isotonic, probability._fit_logistic):
        np.testing.assert_allclose(fit(counts, counts, 0.3, 1e-9)[1000:3000], 0.3, atol=1e-4)


def test_a_similarity_that_says_the_contrary_never_falls():
    low, high = (np.zeros(len(GRID), np.int64) for _ in range(2))
    low[1500:1600], high[2500:2600] = 3, 3
    for fit in (probability._fit_isotonic, probability._fit_logistic):
        assert (np.diff(fit(low, high, 0.5, 0.01)) >= 0).all()


def test_a_thinned_curve_is_nowhere_far_from_the_whole_one():
    y = 1 / (1 + np.exp(-20 * (GRID - 0.3)))
    kept = probability._thin(GRID, y)
    assert len(kept) < 200
    assert np.abs(np.interp(GRID, GRID[kept], y[kept]) - y).max() <= 1e-4


def test_people_who_are_told_apart_well_get_sure_answers_but_never_too_sure():
    report = fit_probability(score_photos(make_photos(60, noise=0.3)))
    curve = report.curve
    assert curve.at(0.95) == pytest.approx(1 - 1 / 62, abs=1e-6)
    assert curve.at(0.1) == pytest.approx(1 / 62, abs=1e-2)
    assert 1 / 62 - 1e-6 <= min(curve.probabilities) <= max(curve.probabilities) <= 61 / 62 + 1e-6


def test_no_similarity_beyond_the_pairs_is_in_the_curve():
    scored = score_photos(make_photos())
    curve = fit_probability(scored).curve
    scores = np.concatenate((scored.genuine.scores, scored.impostors.scores))
    assert curve.similarities[0] == pytest.approx(scores.min(), abs=3e-4)
    assert curve.similarities[-1] == pytest.approx(scores.max(), abs=3e-4)
    assert curve.n_genuine == len(scored.genuine)


def test_the_method_with_the_lower_log_loss_is_kept():
    for seed in range(3):
        report = fit_probability(score_photos(make_photos(seed=seed)))
        losses = {trial.method: trial.log_loss for trial in report.trials}
        assert set(losses) == {"isotonic", "logistic"}
        assert losses[report.curve.method] == min(losses.values())
        assert all(0 < trial.brier < 0.25 for trial in report.trials)


def test_the_trial_is_that_of_the_naive_loop_over_folds_of_people():
    """Each fold's own pairs are held against a fit on the pairs that show nobody of it."""
    scored = score_photos(make_photos(20, 3))
    folds = probability._deal_people(scored, 0)
    assert np.bincount(folds).tolist() == [4] * 5
    rows = {
        kind: [
            (folds[scored.people[a]], folds[scored.people[b]], int(np.argmin(abs(GRID - score))))
            for a, b, score in zip(pairs.first, pairs.second, pairs.scores, strict=True)
        ]
        for kind, pairs in (("same", scored.genuine), ("other", scored.impostors))
    }
    prior, limit = 0.3, 1 / 22
    said: dict[str, list[float]] = {"same": [], "other": []}
    for fold in range(5):
        fitted = [
            np.bincount([p for x, y, p in rows[kind] if fold not in (x, y)], minlength=len(GRID))
            for kind in ("same", "other")
        ]
        curve = probability._fit_isotonic(*fitted, prior, limit)
        for kind in said:
            said[kind] += [float(curve[p]) for x, y, p in rows[kind] if x == y == fold]
    same, other = np.array(said["same"]), np.array(said["other"])
    trial = next(
        trial for trial in fit_probability(scored, prior=prior).trials if trial.method == "isotonic"
    )
    brier = prior * np.mean((1 - same) ** 2) + (1 - prior) * np.mean(other**2)
    assert trial.brier == pytest.approx(brier, rel=1e-6)
    log_loss = -prior * np.mean(np.log(same)) - (1 - prior) * np.mean(np.log(1 - other))
    assert trial.log_loss == pytest.approx(log_loss, rel=1e-6)


def test_a_lower_prior_makes_every_similarity_less_probable():
    scored = score_photos(make_photos())
    even, rare = (fit_probability(scored, prior=prior).curve for prior in (0.5, 0.05))
    for similarity in np.linspace(-0.5, 0.9, 29):
        assert rare.at(similarity) <= even.at(similarity) + 1e-3
    assert rare.prior == 0.05


def test_too_few_people_with_two_photos_are_refused():
    photos = [p for p in make_photos(30) if int(p.person) < 9 or p.name.endswith("/0")]
    with pytest.raises(DatasetError, match="needs 10 people with two photos, there are 9"):
        fit_probability(score_photos(photos))


def test_a_list_with_too_few_pairs_for_a_trial_is_refused():
    photos = make_photos(12, 2)
    strangers = [Pair(f"{i}/0", f"{(i + 1) % 12}/0", False, 0) for i in range(12)]
    own = [Pair(f"{i}/0", f"{i}/1", True, 0) for i in range(12)]
    with pytest.raises(DatasetError, match="needs 10 pairs of either kind within fifths"):
        fit_probability(score_listed([*strangers, *own], photos))


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, float("nan")])
def test_a_prior_that_is_none_is_refused(prior: float):
    with pytest.raises(InputError, match="the prior is"):
        fit_probability(score_photos(make_photos()), prior=prior)


def test_a_report_survives_json_and_names_what_it_measures():
    report = fit_probability(score_photos(make_photos()), n_replicates=20)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["curve"]["prior"] == 0.5
    rows = {row.name: row for row in report.rows()}
    assert {"method", "prior", "Brier, isotonic", "log loss, logistic"} <= set(rows)
    assert "0.2500 is what the prior alone has" in rows["Brier, isotonic"].definition


def test_the_same_pairs_and_seed_give_the_same_curve():
    scored = score_photos(make_photos())
    assert fit_probability(scored, n_replicates=5) == fit_probability(scored, n_replicates=5)
