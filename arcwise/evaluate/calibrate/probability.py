"""From similarity to the probability of one person: fitted, and tried on people it has not seen.

It does not know thresholds. Two fits are tried, isotonic (Zadrozny and Elkan, 2002) and logistic
(Platt, 1999), both by scikit-learn; the one whose log loss over people that were not fitted is
lower is kept. Pairs of one person weigh `prior` together and pairs of two people the rest, however
many of each there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arcwise.compare import ProbabilityCurve
from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.bootstrap import LEAST_PEOPLE, Numbers, draw_people
from arcwise.evaluate.calibrate.labeled import ScoredPhotos
from arcwise.evaluate.calibrate.reliability import (
    GRID,
    STEPS,
    Reliability,
    measure_reliability,
    portions,
    step_of,
)
from arcwise.evaluate.curve import Counts, Doubles
from arcwise.evaluate.row import Row

try:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
except ModuleNotFoundError as exc:
    if (exc.name or "").split(".")[0] not in {"sklearn", "scipy", "joblib", "threadpoolctl"}:
        raise
    raise InputError("scikit-learn is not installed", hint="pip install 'arcwise[report]'") from exc

PRIOR = 0.5
"""Share of pairs that is of one person beforehand, where nobody says otherwise: our choice."""
_N_FOLDS = 5  # of people: our choice
_LEAST_HELD = 10  # pairs of either kind that are tried: our choice
_LEAST_FITTED = 5  # pairs of either kind that a trial is fitted on: our choice
_MOST_OFF = 1e-4  # of the stored straight lines from the fit


@dataclass(frozen=True, slots=True)
class Trial:
    """How well a fit does on pairs of people that it has not seen; less is better.

    Attributes:
        method: "isotonic" or "logistic".
        brier: mean squared difference of probability and truth, with the weights of the prior.
        log_loss: mean of -ln of the probability given to what is true, likewise.
    """

    method: str
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class ProbabilityReport:
    """A probability curve and what it is worth.

    Attributes:
        curve: fitted on all pairs; the file of a calibration holds it.
        trials: of both methods, on people that were not fitted. Of the one that is kept they are
            slightly optimistic: it was chosen on these people.
        reliability: of the method that was kept, on people that were not fitted; ten bins, less
            those without pairs.
        n_held_genuine, n_held_impostors: pairs these rest on.
    """

    curve: ProbabilityCurve
    trials: tuple[Trial, ...]
    reliability: tuple[Reliability, ...]
    n_held_genuine: int
    n_held_impostors: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """Every number with its definition, in the order of a report."""
        prior = self.curve.prior
        known = f"; {prior * (1 - prior):.4f} is what the prior alone has"
        pairs = f"{self.n_held_genuine:,} of one person, {self.n_held_impostors:,} of two"
        rows = [
            Row(
                "method",
                self.curve.method,
                "the fit with the lower log loss; its numbers below are slightly optimistic",
            ),
            Row("prior", f"{prior:g}", "share of pairs of one person that is taken for granted"),
            Row("held-out pairs", pairs, "pairs within a fifth of the people, fitted on the rest"),
        ]
        for trial in self.trials:
            brier = f"mean squared difference of probability and truth{known}"
            rows.append(Row(f"Brier, {trial.method}", f"{trial.brier:.4f}", brier))
            loss = "mean of -ln of the probability given to what is true"
            rows.append(Row(f"log loss, {trial.method}", f"{trial.log_loss:.4f}", loss))
        return rows


@dataclass(frozen=True, eq=False, slots=True)
class _Tallies:
    """How many pairs of which folds have which similarity.

    Attributes:
        genuine: (K, S) of the people of each fold.
        impostors: (K, K, S) of the two people's folds.
    """

    genuine: Counts
    impostors: Counts

    def without(self, fold: int) -> tuple[Counts, Counts]:
        """(S,) of each kind, of pairs that show nobody of a fold."""
        kept = np.arange(len(self.genuine)) != fold
        return self.genuine[kept].sum(axis=0), self.impostors[kept][:, kept].sum(axis=(0, 1))


def fit_probability(
    scored: ScoredPhotos, *, prior: float = PRIOR, n_replicates: int = 200, seed: int = 0
) -> ProbabilityReport:
    """Fit how probable one person is at each similarity, and try it on people it has not seen.

    For the trial the people are dealt to five folds. Each fold's own pairs get their probability
    from a fit on the pairs that show nobody of it; pairs across folds are not tried.

    Args:
        scored: pairs of both kinds.
        prior: share of pairs that is of one person beforehand, between 0 and 1.
        n_replicates: how often the people are drawn anew for the intervals, at least 1.
        seed: of the folds and draws.

    Returns:
        The report. No probability is nearer to 0 or 1 than 1 / (C + 2) for C people (the rule of
        succession), and none is given to a similarity that no pair has: see `ProbabilityCurve`.

    Raises:
        InputError: a prior that is not between 0 and 1, or no replicates.
        DatasetError: fewer than 10 people with two photos, or too few pairs for the trial.
    """
    if not 0 < prior < 1:
        raise InputError(f"the prior is {prior}", hint="use a share between 0 and 1, such as 0.5")
    if n_replicates < 1:
        raise InputError(f"n_replicates must be at least 1, got {n_replicates}")
    folds = _deal_people(scored, seed)
    tallies = _tally(scored, folds)
    held = [(tallies.genuine[k], tallies.impostors[k, k]) for k in range(_N_FOLDS)]
    totals = _check_held(tallies, held)
    limit = 1.0 / (len(scored.names) + 2)
    tried = {
        method: [fit(*tallies.without(k), prior, limit) for k in range(_N_FOLDS)]
        for method, fit in _FITS.items()
    }
    trials = [_try(method, held, totals, fits, prior) for method, fits in tried.items()]
    best = min(trials, key=lambda trial: trial.log_loss).method
    draws = draw_people(len(scored.names), n_replicates, seed)
    everything = tallies.genuine.sum(axis=0), tallies.impostors.sum(axis=(0, 1))
    there = np.flatnonzero(everything[0] + everything[1])
    span = slice(there[0], there[-1] + 1)
    whole = _FITS[best](*everything, prior, limit)
    return ProbabilityReport(
        curve=_to_curve(best, prior, len(scored.genuine), GRID[span], whole[span]),
        trials=tuple(trials),
        reliability=measure_reliability(scored, folds, np.stack(tried[best]), draws, prior=prior),
        n_held_genuine=int(totals[0]),
        n_held_impostors=int(totals[1]),
    )


def _deal_people(scored: ScoredPhotos, seed: int) -> Numbers:
    """(C,) fold of each person; those with pairs of their own are dealt first, so evenly."""
    owners = scored.owners_of(scored.genuine)
    n_own = len(owners)
    if n_own < LEAST_PEOPLE:
        raise DatasetError(
            f"a probability needs {LEAST_PEOPLE} people with two photos, there are {n_own}",
            hint="give a second photo of more people",
        )
    order = np.random.default_rng(seed).permutation(len(scored.names))
    is_own = np.isin(order, owners)
    folds = np.empty(len(order), dtype=np.int32)
    folds[np.concatenate((order[is_own], order[~is_own]))] = np.arange(len(order)) % _N_FOLDS
    return folds


def _tally(scored: ScoredPhotos, folds: Numbers) -> _Tallies:
    of_photo = folds[scored.people]
    shape = (_N_FOLDS, _N_FOLDS, len(GRID))
    counted = []
    for pairs in (scored.genuine, scored.impostors):
        counts = np.zeros(np.prod(shape), dtype=np.int64)
        for part in portions(pairs):
            place = of_photo[pairs.first[part]] * _N_FOLDS + of_photo[pairs.second[part]]
            place = place * len(GRID) + step_of(pairs.scores[part])
            counts += np.bincount(place, minlength=len(counts))
        counted.append(counts.reshape(shape))
    genuine, impostors = counted
    return _Tallies(np.einsum("kks->ks", genuine), impostors)


def _check_held(tallies: _Tallies, held: list[tuple[Counts, Counts]]) -> tuple[int, int]:
    """How many pairs of each kind the trial has."""
    n_genuine, n_impostors = (int(sum(fold[kind].sum() for fold in held)) for kind in (0, 1))
    fitted = min(int(part.sum()) for k in range(_N_FOLDS) for part in tallies.without(k))
    if min(n_genuine, n_impostors) < _LEAST_HELD or fitted < _LEAST_FITTED:
        raise DatasetError(
            f"a probability needs {_LEAST_HELD} pairs of either kind within fifths of the people, "
            f"and {_LEAST_FITTED} outside each, there are {n_genuine} of one person and "
            f"{n_impostors} of two, and {fitted} outside",
            hint="give more pairs, or all pairs of the photos",
        )
    return n_genuine, n_impostors


def _weigh(genuine: Counts, impostors: Counts, prior: float) -> tuple[Doubles, Doubles]:
    return prior * genuine / genuine.sum(), (1 - prior) * impostors / impostors.sum()


def _fit_isotonic(genuine: Counts, impostors: Counts, prior: float, limit: float) -> Doubles:
    """(S,) the rising step curve nearest to the shares, straight lines between the steps."""
    same, other = _weigh(genuine, impostors, prior)
    weight = same + other
    there = weight > 0
    model = IsotonicRegression(out_of_bounds="clip")
    model.fit(GRID[there], same[there] / weight[there], sample_weight=weight[there])
    fitted: Doubles = np.clip(model.predict(GRID), limit, 1 - limit)
    return fitted


def _fit_logistic(genuine: Counts, impostors: Counts, prior: float, limit: float) -> Doubles:
    """(S,) 1 / (1 + exp(-(a s + b))); targets as Platt's, 1 - limit and limit, not 1 and 0."""
    same, other = _weigh(genuine, impostors, prior)
    yes, no = same * (1 - limit) + other * limit, same * limit + other * (1 - limit)
    labels = np.repeat([1, 0], len(GRID))
    weights = np.concatenate((yes, no))
    there = weights > 0
    model = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000)  # not held towards 0
    places = np.tile(GRID, 2)[there, None]
    model.fit(places, labels[there], sample_weight=weights[there] / weights.mean())
    if model.coef_[0, 0] < 0:  # similarity says nothing of these pairs, or the contrary
        return np.full(len(GRID), np.clip(yes.sum(), limit, 1 - limit))
    fitted: Doubles = np.clip(model.predict_proba(GRID[:, None])[:, 1], limit, 1 - limit)
    return fitted


_FITS: dict[str, Callable[[Counts, Counts, float, float], Doubles]] = {
    "isotonic": _fit_isotonic,
    "logistic": _fit_logistic,
}


def _try(
    method: str,
    held: list[tuple[Counts, Counts]],
    totals: tuple[int, int],
    fits: list[Doubles],
    prior: float,
) -> Trial:
    brier = log_loss = 0.0
    for (genuine, impostors), fit in zip(held, fits, strict=True):
        same, other = prior * genuine / totals[0], (1 - prior) * impostors / totals[1]
        brier += float(same @ (1 - fit) ** 2 + other @ fit**2)
        log_loss -= float(same @ np.log(fit) + other @ np.log(1 - fit))
    return Trial(method, brier, log_loss)


def _to_curve(
    method: str, prior: float, n_genuine: int, places: Doubles, values: Doubles
) -> ProbabilityCurve:
    if len(places) == 1:
        places, values = np.array([places[0] - 0.5 / STEPS, places[0]]), np.repeat(values, 2)
    kept = _thin(places, values)
    return ProbabilityCurve(
        method=method,
        prior=prior,
        n_genuine=n_genuine,
        similarities=tuple(round(float(place), 4) for place in places[kept]),
        probabilities=tuple(round(float(value), 6) for value in values[kept]),
    )


def _thin(x: Doubles, y: Doubles) -> list[int]:
    """Places of the points whose straight lines are nowhere off by more than `_MOST_OFF`."""
    kept, spans = {0, len(x) - 1}, [(0, len(x) - 1)]
    while spans:
        first, last = spans.pop()
        inside = slice(first, last + 1)
        off = np.abs(np.interp(x[inside], x[[first, last]], y[[first, last]]) - y[inside])
        worst = first + int(np.argmax(off))
        if off.max() > _MOST_OFF:
            kept.add(worst)
            spans += [(first, worst), (worst, last)]
    return sorted(kept)
