"""Every measure of a search against a loop written from its definition, ties and lone ones too."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.retrieval import evaluate_retrieval, relevance
from arcwise.evaluate.retrieval.measures import list_kinds
from arcwise.evaluate.retrieval.relevance import Found, LabeledVectors

KS = (1, 3, 5)


def on_circle(degrees: list[float], labels: str, missing: str = "") -> LabeledVectors:
    """Items of one-letter classes, their embeddings by the angle."""
    angles = np.deg2rad(degrees)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    names = tuple(f"{label}{i}" for i, label in enumerate(labels))
    return LabeledVectors(names, tuple(labels), vectors, tuple(missing))


def measure_naively(ranked: list[int], n_relevant: int, k: int) -> dict[str, float]:
    """The numbers of one query: `ranked` says for each rank whether it is relevant."""
    precisions = [sum(ranked[: i + 1]) / (i + 1) for i in range(len(ranked))]
    halves = [
        (precisions[i] + (1.0 if i == 0 else precisions[i - 1])) / 2 for i in range(len(ranked))
    ]
    hits = [i for i, is_relevant in enumerate(ranked) if is_relevant]
    return {
        f"recall_at_{k}": float(any(ranked[:k])),
        f"precision_at_{k}": sum(ranked[:k]) / k,
        "r_precision": sum(ranked[:n_relevant]) / n_relevant,
        "map_at_r": sum(precisions[i] for i in hits if i < n_relevant) / n_relevant,
        "map": sum(precisions[i] for i in hits) / n_relevant,
        "mrr": 1 / (hits[0] + 1) if hits else 0.0,
        f"map_at_{k}_all": sum(precisions[i] for i in hits if i < k) / n_relevant,
        f"map_at_{k}_least": sum(precisions[i] for i in hits if i < k) / min(n_relevant, k),
        f"map_at_{k}_integrated": sum(halves[i] for i in hits if i < k) / n_relevant,
    }


def search_naively(
    queries: LabeledVectors, references: LabeledVectors | None, k: int
) -> dict[str, list[float]]:
    """Of every query that is not lone: all references in order, others before equals."""
    searched = queries if references is None else references
    values: dict[str, list[float]] = {}
    for i, label in enumerate(queries.labels):
        others = [j for j in range(len(searched)) if references is not None or i != j]
        scores = searched.vectors.astype(np.float64) @ queries.vectors[i].astype(np.float64)
        relevant = [j for j in others if searched.labels[j] == label]
        wrong = [j for j in others if searched.labels[j] != label]
        places = sorted(relevant, key=lambda j: -scores[j])
        ranked: list[int] = []
        for j in places:  # first all others that are as similar
            before = sum(scores[o] >= scores[j] - 1e-6 for o in wrong)
            ranked += [0] * (before - ranked.count(0)) + [1]
        ranked += [0] * (len(others) - len(ranked))
        n_relevant = sum(ranked) + searched.missing.count(label)
        if n_relevant:
            for key, value in measure_naively(ranked, n_relevant, k).items():
                values.setdefault(key, []).append(value)
    return values


def test_the_golden_example_has_its_published_numbers():
    """arcface-spec 5.5: ranked relevance 1, 0, 1, 1, 0."""
    query = on_circle([0], "a")
    report = evaluate_retrieval(query, on_circle([1, 2, 3, 4, 5], "abaab"), ranks=KS)
    numbers = {key: round(measure.value, 4) for key, measure in report.measures.items()}
    assert numbers["precision_at_1"] == 1
    assert numbers["r_precision"] == 0.6667
    assert numbers["map_at_r"] == 0.5556
    assert numbers["map"] == 0.8056
    assert numbers["map_at_3_all"] == 0.5556
    assert numbers["map_at_5_integrated"] == 0.7639
    assert numbers["mrr"] == 1


def test_the_two_denominators_differ_where_k_is_less_than_the_relevant():
    references = on_circle([1, 2, 3, 4], "aaab")
    measures = evaluate_retrieval(on_circle([0], "a"), references, ranks=[2]).measures
    assert measures["map_at_2_all"].value == pytest.approx(2 / 3)
    assert measures["map_at_2_least"].value == 1


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    n_queries=st.integers(2, 24),
    n_references=st.integers(5, 30),
    n_classes=st.integers(1, 6),
    n_angles=st.sampled_from([1, 3, 8, 360]),
    is_shared=st.booleans(),
    k=st.sampled_from(KS),
)
def test_every_measure_is_that_of_the_naive_loop(
    seed, n_queries, n_references, n_classes, n_angles, is_shared, k
):
    """With few angles nearly everything is tied."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> LabeledVectors:
        degrees = rng.integers(0, n_angles, n) * (360 / n_angles)
        labels = "".join(rng.choice(list("abcdef")[:n_classes], n))
        return on_circle(degrees.tolist(), labels, "".join(rng.choice(list("abz"), 2)))

    queries, references = draw(n_queries), None if is_shared else draw(n_references)
    queries = LabeledVectors(queries.names, queries.labels, queries.vectors)  # none missing
    expected = search_naively(queries, references, k)
    if not expected:
        with pytest.raises(DatasetError):
            evaluate_retrieval(queries, references)
        return
    report = evaluate_retrieval(queries, references, ranks=[k])
    assert report.n_queries == len(expected["map"])
    assert report.n_lone == n_queries - report.n_queries
    for key, values in expected.items():
        if key in report.measures and report.measures[key].value is not None:
            assert report.measures[key].value == pytest.approx(np.mean(values)), key


def test_without_ties_map_is_the_average_precision_of_scikit_learn():
    rng = np.random.default_rng(11)
    labels = tuple(rng.choice(list("abcde"), 80))
    vectors = rng.normal(size=(80, 24)).astype(np.float32)
    items = LabeledVectors(tuple(map(str, range(80))), labels, vectors)
    scores = items.vectors @ items.vectors.T
    expected = [
        average_precision_score(np.delete(labels, i) == labels[i], np.delete(scores[i], i))
        for i in range(80)
    ]
    assert evaluate_retrieval(items).measures["map"].value == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("is_shared", [True, False])
def test_blocks_do_not_change_a_number(monkeypatch: pytest.MonkeyPatch, is_shared: bool):
    rng = np.random.default_rng(5)
    items = on_circle(rng.uniform(0, 360, 60).tolist(), "".join(rng.choice(list("abcd"), 60)))
    references = None if is_shared else items
    whole = evaluate_retrieval(items, references).to_dict()
    monkeypatch.setattr(relevance, "_BLOCK_CELLS", 7 * 60)
    assert evaluate_retrieval(items, references).to_dict() == whole


def test_a_model_for_which_everything_is_alike_finds_nothing():
    report = evaluate_retrieval(on_circle([30] * 40, "a" * 2 + "b" * 38))
    first = next(one for one in report.classes if one.name == "a")
    assert first.recall_at_1 == 0
    assert first.average_precision == pytest.approx(1 / 39)


def test_equals_within_the_rounding_of_float32_are_ties():
    rng = np.random.default_rng(0)
    row = rng.normal(size=512)
    vectors = np.stack([row * scale for scale in rng.uniform(0.1, 9, 30)]).astype(np.float32)
    labels = tuple("ab" * 15)
    report = evaluate_retrieval(LabeledVectors(tuple(map(str, range(30))), labels, vectors))
    assert report.measures["recall_at_1"].value == 0
    assert report.measures["mrr"].value == pytest.approx(1 / 16)


def test_lone_queries_are_left_out_and_counted():
    report = evaluate_retrieval(on_circle([0, 1, 90], "aab"))
    assert (report.n_queries, report.n_lone, report.n_classes) == (2, 1, 1)
    assert report.measures["recall_at_1"].value == 1


def test_a_query_does_not_find_itself():
    report = evaluate_retrieval(on_circle([0, 90, 1, 91], "aabb"))
    assert report.measures["recall_at_1"].value == 0


def test_a_query_without_an_embedding_finds_nothing():
    report = evaluate_retrieval(on_circle([0, 1], "aa", missing="ab"))
    assert (report.n_queries, report.n_lone, report.n_missing_queries) == (3, 1, 2)
    assert report.measures["recall_at_1"].value == pytest.approx(2 / 3)
    assert report.measures["r_precision"].value == pytest.approx(2 / 3 / 2)


def test_a_reference_without_an_embedding_is_never_found():
    report = evaluate_retrieval(on_circle([0], "a"), on_circle([1, 2], "ab", missing="aa"))
    assert report.n_missing_references == 2
    assert report.measures["map"].value == pytest.approx(1 / 3)
    assert report.measures["recall_at_1"].value == 1


def test_a_class_of_one_query_weighs_as_much_as_any_in_the_mean_of_classes():
    queries = on_circle([0, 0, 0, 180], "aaab")
    report = evaluate_retrieval(queries, on_circle([0, 10, 90], "aab"), ranks=[1])
    recall = report.measures["recall_at_1"]
    assert (recall.value, recall.class_mean) == (1, 1)
    queries = on_circle([0, 0, 0, 5], "aaab")
    recall = evaluate_retrieval(queries, on_circle([0, 10, 90], "aab"), ranks=[1]).measures
    assert recall["recall_at_1"].value == 0.75
    assert recall["recall_at_1"].class_mean == 0.5


def test_classes_come_worst_first_and_misses_by_name():
    report = evaluate_retrieval(on_circle([0, 1, 100, 101, 90, 170], "aabbcc"))
    assert [one.name for one in report.classes] == ["c", "a", "b"]
    misses = [(miss.query, miss.nearest, miss.rank) for miss in report.misses]
    assert misses == [("c4", "b2", 3), ("c5", "b3", 3)]


def test_a_measure_that_needs_more_references_is_not_given():
    report = evaluate_retrieval(on_circle([0, 1, 9], "aab"), ranks=[1, 5])
    assert report.measures["recall_at_5"].value is None
    assert report.measures["recall_at_5"].text == "n/a: needs 5 references, has 2"
    assert report.measures["recall_at_1"].value == 1


def test_an_interval_needs_ten_classes_and_holds_the_value():
    rng = np.random.default_rng(1)
    labels = "".join(letter * 4 for letter in "abcdefghijkl")
    items = on_circle(rng.uniform(0, 360, len(labels)).tolist(), labels)
    one = evaluate_retrieval(items).measures["map"]
    assert one.low < one.value < one.high
    few = on_circle([0, 1, 90, 91], "aabb")
    assert evaluate_retrieval(few).measures["map"].low is None


def test_draws_that_are_all_equal_are_no_interval():
    labels = "".join(letter * 3 for letter in "abcdefghijkl")
    angles = [30 * (place // 3) + place % 3 for place in range(len(labels))]
    one = evaluate_retrieval(on_circle(angles, labels)).measures["recall_at_1"]
    assert (one.value, one.low, one.high) == (1, None, None)
    assert one.text == ("100.00% (no interval: all draws are equal); mean of the classes 100.00%")


def test_the_interval_is_about_that_of_the_textbook_where_classes_are_alike():
    """Classes of one size: drawing classes is drawing their means; normal for many of them."""
    rng = np.random.default_rng(2)
    n_classes, size = 60, 3
    vectors = rng.normal(size=(n_classes * size, 3)).astype(np.float32)
    labels = tuple(f"{i // size:02}" for i in range(len(vectors)))
    report = evaluate_retrieval(LabeledVectors(labels, labels, vectors))
    means = [one.average_precision for one in report.classes]
    half = 1.96 * np.std(means) / np.sqrt(n_classes)
    one = report.measures["map"]
    assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.15)


def test_a_report_is_plain_json_with_a_definition_beside_each_number():
    report = evaluate_retrieval(on_circle([0, 1, 90, 91], "aabb"), ranks=[1, 9])
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["measures"]["recall_at_1"]["value"] == 1
    assert plain["measures"]["recall_at_9"]["value"] is None
    assert all(row.definition and row.value for row in report.rows())


@pytest.mark.parametrize("vectors", [[[0.0, 0.0]], [[np.nan, 1.0]], [[np.inf, 1.0]]])
def test_a_vector_without_a_direction_is_refused_by_name(vectors: list[list[float]]):
    with pytest.raises(InputError, match="embedding of one has length"):
        LabeledVectors(("one",), ("a",), np.array(vectors, np.float32))


def test_names_classes_and_vectors_must_be_of_one_number():
    with pytest.raises(InputError, match="of one number"):
        LabeledVectors(("one",), ("a", "b"), np.ones((2, 3), np.float32))


def test_vectors_of_two_models_are_refused():
    left = LabeledVectors(("q",), ("a",), np.ones((1, 3), np.float32))
    right = LabeledVectors(("r",), ("a",), np.ones((1, 4), np.float32))
    with pytest.raises(InputError, match="of 3 among those of 4"):
        evaluate_retrieval(left, right)


@pytest.mark.parametrize("ranks", [[], [0], [-1, 5]])
def test_ranks_count_from_one(ranks: list[int]):
    with pytest.raises(InputError, match="ranks"):
        evaluate_retrieval(on_circle([0, 1], "aa"), ranks=ranks)


def test_queries_of_other_classes_alone_are_refused():
    with pytest.raises(DatasetError, match="none of the 2 queries"):
        evaluate_retrieval(on_circle([0, 1], "ab"), on_circle([0], "c"))


def test_collecting_joins_by_name_and_names_the_missing_by_class():
    labels = {"a/1": "a", "a/2": "a", "b/1": "b"}
    vectors = {"b/1": np.ones(2, np.float32), "a/2": np.zeros(2, np.float32), "x": np.ones(2)}
    items = LabeledVectors.collect(labels, vectors)
    assert (items.names, items.missing) == (("b/1",), ("a", "a"))
    assert LabeledVectors.collect(labels, vectors, skip_missing=True).missing == ()
    with pytest.raises(DatasetError, match="none of the 3 items"):
        LabeledVectors.collect(labels, {})
    with pytest.raises(InputError, match="several shapes"):
        LabeledVectors.collect(labels, vectors | {"a/1": np.ones(3, np.float32)})


def test_the_definitions_say_the_k_they_are_for():
    by_key = {kind.key: kind for kind in list_kinds({7})}
    assert "first 7" in by_key["recall_at_7"].definition
    found = Found(*(np.array(part) for part in ([0, 0], [1, 2], [1, 3], [2], [-1])))
    assert by_key["map"].measure(found) == pytest.approx([(1 + 2 / 3) / 2])
