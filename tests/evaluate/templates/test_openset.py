"""1:N over templates, against loops from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.ijb import TemplatePeople
from arcwise.evaluate.templates import Templates
from arcwise.evaluate.templates.openset import FPIRS, RANKS, search_galleries

N_PEOPLE, N_PROBES = 60, 4


def people_of(pairs: list[tuple[int, int]]) -> TemplatePeople:
    return TemplatePeople(
        np.array([template for template, _ in pairs]), tuple(str(person) for _, person in pairs), ""
    )


def draw_set(
    seed: int, *, n_empty: int = 0
) -> tuple[Templates, dict[str, TemplatePeople], TemplatePeople]:
    """One template of everybody in one of two galleries, and four probes of everybody."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((N_PEOPLE, 6))
    people = np.concatenate([np.arange(N_PEOPLE), np.repeat(np.arange(N_PEOPLE), N_PROBES)])
    vectors = directions[people] + 0.7 * rng.standard_normal((len(people), 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.round(vectors, 1)  # ties
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    has_vector = np.ones(len(people), np.bool_)
    has_vector[rng.choice(len(people), n_empty, replace=False)] = False
    vectors[~has_vector] = 0
    numbers = 1 + np.arange(len(people))
    pairs = list(zip(numbers.tolist(), people.tolist(), strict=True))
    half = N_PEOPLE // 2
    galleries = {"G1": people_of(pairs[:half]), "G2": people_of(pairs[half:N_PEOPLE])}
    templates = Templates(numbers, vectors.astype(np.float32), has_vector)
    return templates, galleries, people_of(pairs[N_PEOPLE:])


def search_naively(
    templates: Templates, gallery: TemplatePeople, probes: TemplatePeople
) -> tuple[list[float], list[int], list[float]]:
    """Mate scores and ranks (-inf and 0 for a failed search), and the best of the non-mated."""
    mates, ranks, highest = [], [], []
    for probe, person in zip(probes.templates, probes.people, strict=True):
        scores = {}
        for template, other in zip(gallery.templates, gallery.people, strict=True):
            if templates.has_vector[template - 1]:
                product = templates.vectors[probe - 1] @ templates.vectors[template - 1]
                scores[other] = float(product)
        if not templates.has_vector[probe - 1]:
            scores = {}
        if person not in gallery.people:
            if scores:
                highest.append(max(scores.values()))
        elif person not in scores:
            mates.append(-np.inf)
            ranks.append(0)
        else:
            mate = scores[person]
            better = sum(score > mate - 1e-6 for other, score in scores.items() if other != person)
            mates.append(mate)
            ranks.append(1 + better)
    return mates, ranks, highest


@pytest.mark.parametrize("n_empty", [0, 30])
@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_and_the_published_open_set_rule(seed: int, n_empty: int) -> None:
    templates, galleries, probes = draw_set(seed, n_empty=n_empty)
    report = search_galleries(templates, galleries, probes)
    hits = np.zeros(len(RANKS))
    shares = []
    for found, (name, gallery) in zip(report.galleries, galleries.items(), strict=True):
        mates, ranks, highest = search_naively(templates, gallery, probes)
        assert (found.name, found.n_mated) == (name, len(mates))
        assert found.n_failed_mated == ranks.count(0)
        assert found.n_non_mated == len(highest)
        assert found.n_mated + found.n_non_mated + found.n_failed_non_mated == len(probes.people)
        right = [sum(0 < rank <= most for rank in ranks) for most in RANKS]
        assert [at.n_hits for at in found.ranks] == right
        hits += right
        shares.append([n / len(mates) for n in right])
        falling = sorted(highest, reverse=True)
        for at in found.tpirs:
            threshold = falling[max(int(len(falling) * at.fpir) - 1, 0)]
            n_right = sum(
                rank == 1 and mate > threshold + 1e-6
                for mate, rank in zip(mates, ranks, strict=True)
            )
            assert at.tpir is not None
            assert at.tpir.n_hits == n_right
            assert at.similarity == pytest.approx(threshold, abs=1e-6)
    assert [at.n_hits for at in report.ranks] == hits.tolist()
    assert report.ranks[0].n == len(probes.people)
    assert report.mean_ranks == pytest.approx(np.mean(shares, axis=0))
    for column, mean in enumerate(report.mean_tpirs):
        each = [gallery.tpirs[column].tpir for gallery in report.galleries]
        assert mean == pytest.approx(np.mean([at.share for at in each if at]))


def test_too_few_strangers_are_said_and_not_extrapolated() -> None:
    templates, galleries, probes = draw_set(2)
    few = TemplatePeople(probes.templates[:150], probes.people[:150], "")  # 30 of people of G2
    report = search_galleries(templates, {"G1": galleries["G1"]}, few)
    (gallery,) = report.galleries
    assert gallery.tpirs[0].text == "n/a: needs 1/FPIR = 100 non-mated searches, has 30"
    assert gallery.tpirs[1].tpir is not None
    assert gallery.fnirs[0].text.startswith("n/a: needs")
    assert report.mean_tpirs[0] is None
    assert report.to_dict()["mean_tpirs"]["0.01"] is None
    assert any(row.value.startswith("n/a: a gallery") for row in report.rows())


def test_without_strangers_there_are_ranks_only() -> None:
    templates, galleries, probes = draw_set(3)
    half = len(probes.people) // 2
    own = TemplatePeople(probes.templates[:half], probes.people[:half], "")
    (gallery,) = search_galleries(templates, {"G1": galleries["G1"]}, own).galleries
    assert gallery.det is None
    assert gallery.n_non_mated == 0
    assert all(at.tpir is None for at in gallery.tpirs)


def test_a_person_with_several_templates_scores_as_the_best_of_them() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], np.float32)
    templates = Templates(np.arange(1, 5), vectors, np.ones(4, np.bool_))
    gallery = people_of([(1, 7), (2, 7), (3, 8)])
    (found,) = search_galleries(templates, {"G": gallery}, people_of([(4, 7)])).galleries
    assert (found.n_people, found.n_templates, found.ranks[0].n_hits) == (2, 3, 1)


def test_every_number_has_a_definition() -> None:
    report = search_galleries(*draw_set(4))
    rows = [row for gallery in report.galleries for row in gallery.rows()] + report.rows()
    assert all(row.definition for row in rows)
    names = [row.name for row in report.galleries[0].rows()]
    assert [f"TPIR@FPIR {fpir:g} (insightface)" for fpir in FPIRS] == [
        name for name in names if name.startswith("TPIR")
    ]
    plain = report.to_dict()["galleries"]["G1"]
    assert plain["ranks"]["1"]["n_hits"] == report.galleries[0].ranks[0].n_hits
    assert len(plain["cmc"]) == 20


def test_sets_that_do_not_fit_are_refused() -> None:
    templates, galleries, probes = draw_set(5)
    with pytest.raises(DatasetError, match="there is no gallery"):
        search_galleries(templates, {}, probes)
    strangers = TemplatePeople(probes.templates, ("nobody",) * len(probes.people), "")
    with pytest.raises(DatasetError, match="gallery G1: none of 240 probes"):
        search_galleries(templates, galleries, strangers)
    unknown = TemplatePeople(np.array([999]), ("1",), "")
    with pytest.raises(InputError, match="template 999 has no images"):
        search_galleries(templates, galleries, unknown)
    empty = Templates(templates.numbers, templates.vectors * 0, np.zeros(300, np.bool_))
    with pytest.raises(DatasetError, match="both with a vector"):
        search_galleries(empty, galleries, probes)
