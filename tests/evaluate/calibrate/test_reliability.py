"""What was said and what came true, counted against loops over every held-out pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from arcwise.evaluate.bootstrap import draw_people
from arcwise.evaluate.calibrate.labeled import (
    LabeledPhoto,
    ScoredPhotos,
    score_listed,
    score_photos,
)
from arcwise.evaluate.calibrate.reliability import GRID, measure_reliability, step_of
from arcwise.types import Pair

FOLDS = np.arange(20, dtype=np.int32) % 4
FITS = np.stack([np.clip((GRID + shift) / 1.4, 0, 1) for shift in (0.2, 0.3, 0.4, 0.5)])


def make_photos() -> list[LabeledPhoto]:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(20, 8))
    return [
        LabeledPhoto(f"{i:02}/{j}", f"{i:02}", centers[i] + rng.normal(size=8), f"{i}-{j}")
        for i in range(20)
        for j in range(1 + i % 3)
    ]


def list_all(photos: list[LabeledPhoto]) -> list[Pair]:
    return [Pair(a.name, b.name, a.person == b.person, 0) for a, b in combinations(photos, 2)]


def held_pairs(scored: ScoredPhotos) -> list[tuple[bool, int, int, float]]:
    """Label, numbers of both people and probability of each pair within a fold."""
    rows = []
    for is_same, pairs in ((True, scored.genuine), (False, scored.impostors)):
        for a, b, score in zip(pairs.first, pairs.second, pairs.scores, strict=True):
            people = scored.people[a], scored.people[b]
            fold = FOLDS[people[0]]
            if fold == FOLDS[people[1]]:
                place = int(np.argmin(np.abs(GRID - score)))
                rows.append((is_same, *people, float(FITS[fold, place])))
    return rows


def share(rows: list[tuple[bool, float]], all_rows: list[tuple[bool, float]], prior: float):
    """Of rows (label, times): the share of one person; the prior says what each class weighs."""
    of = {kind: sum(n for label, n in all_rows if label is kind) for kind in (True, False)}
    same = prior * sum(n for label, n in rows if label) / of[True]
    other = (1 - prior) * sum(n for label, n in rows if not label) / of[False]
    return same / (same + other) if same + other else np.nan


@pytest.mark.parametrize("prior", [0.5, 0.1])
@pytest.mark.parametrize("is_complete", [True, False])
def test_bins_and_intervals_are_those_of_loops_over_every_pair(prior: float, is_complete: bool):
    photos = make_photos()
    scored = score_photos(photos) if is_complete else score_listed(list_all(photos), photos)
    draws = draw_people(20, 50, seed=1)
    found = measure_reliability(scored, FOLDS, FITS, draws, prior=prior)
    rows = held_pairs(scored)
    n = {kind: sum(label is kind for label, *_ in rows) for kind in (True, False)}
    assert sum(b.n_genuine for b in found) == n[True]
    assert sum(b.n_impostors for b in found) == n[False]
    assert len(found) > 5
    assert {row.low is None for row in found} == {True, False}
    for row in found:
        inside = [r for r in rows if row.above < r[3] <= row.to or (row.above == 0 and r[3] == 0)]
        assert row.n_genuine == sum(r[0] for r in inside)
        assert row.n_impostors == sum(not r[0] for r in inside)
        counts, everything = ([(r[0], 1.0) for r in part] for part in (inside, rows))
        assert row.observed == pytest.approx(share(counts, everything, prior))
        weights = {True: prior / n[True], False: (1 - prior) / n[False]}
        total = sum(weights[r[0]] for r in inside)
        assert row.predicted == pytest.approx(sum(weights[r[0]] * r[3] for r in inside) / total)
        drawn = []
        for times in draws:
            # a person drawn twice brings all own pairs twice
            weigh = [(r[0], times[r[1]] if r[0] else times[r[1]] * times[r[2]]) for r in rows]
            kept = [w for w, r in zip(weigh, rows, strict=True) if r in inside]
            drawn.append(share(kept, weigh, prior))
        if len({person for r in inside for person in r[1:3]}) < 10:
            assert (row.low, row.high) == (None, None)
            continue
        expected = np.percentile([s for s in drawn if np.isfinite(s)], [2.5, 97.5])
        assert (row.low, row.high) == pytest.approx(tuple(expected))


def test_a_score_is_counted_at_the_nearest_step():
    scores = np.array([-1.0, -0.99974, -0.2, 0.00026, 1.0], np.float32)
    assert GRID[step_of(scores)] == pytest.approx([-1.0, -0.9995, -0.2, 0.0005, 1.0])
