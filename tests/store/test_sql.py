from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import numpy as np
import pytest

from arcwise.errors import (
    DuplicatePersonError,
    GalleryError,
    InputError,
    ModelMismatchError,
    UnknownPersonError,
)
from arcwise.store import NewTemplate, SQLStore, Stamp
from arcwise.types import Floats

D = 8
STAMP = Stamp("a" * 64, "small", D, "boxes", "b" * 64)


def vector(seed: int) -> Floats:
    values = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    return values / np.linalg.norm(values)


def template(seed: int) -> NewTemplate:
    digest = hashlib.sha256(str(seed).encode()).hexdigest()
    return NewTemplate(vector(seed), 20.0, digest, {"sharpness": 100.0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.db"


@pytest.fixture
def store(path: Path) -> SQLStore:
    store = SQLStore.open(path)
    store.claim(STAMP)
    return store


def test_people_and_vectors_are_there_after_reopening(store: SQLStore, path: Path) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)])
    store.close()
    reopened = SQLStore.open(path)
    assert reopened.people() == [ann]
    assert (ann.name, ann.n_templates) == ("Ann", 2)
    changes = reopened.changes_since(0)
    np.testing.assert_array_equal(changes.vectors, np.stack([vector(1), vector(2)]))
    assert changes.person_ids.tolist() == [ann.id, ann.id]


def test_a_gallery_file_is_for_its_owner_alone(store: SQLStore, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert SQLStore.open(tmp_path / "a" / "b" / "people.db").people() == []


def test_a_path_with_signs_that_mean_something_in_a_uri_is_just_a_path(tmp_path: Path) -> None:
    strange = tmp_path / "a?mode=ro#b%41 ü.db"
    SQLStore.open(strange).claim(STAMP)
    assert strange.stat().st_size > 0
    assert SQLStore.open(strange).stamp() == STAMP


def test_people_come_by_name(store: SQLStore) -> None:
    for seed, name in enumerate(["Cleo", "Ann", "Bob"]):
        store.add_templates(name, [template(seed)])
    assert [person.name for person in store.people()] == ["Ann", "Bob", "Cleo"]


def test_a_photo_the_person_has_is_passed_over(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    before = store.revision()
    assert store.add_templates("Ann", [template(1)]).n_templates == 1
    assert store.revision() == before
    assert store.add_templates("Ann", [template(1), template(2), template(2)]).n_templates == 2


def test_every_change_counts_the_revision_up(store: SQLStore) -> None:
    revisions = [store.revision()]
    for change in (
        lambda: store.add_templates("Ann", [template(1)]),
        lambda: store.add_templates("Bob", [template(2)]),
        lambda: store.rename("Bob", "Bert"),
        lambda: store.merge("Ann", "Bert"),
        lambda: store.forget("Ann"),
    ):
        change()
        revisions.append(store.revision())
    assert np.diff(revisions).tolist() == [1] * 5


def test_a_failed_change_changes_nothing(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    before = store.revision()
    for failing in (
        lambda: store.forget("Bob"),
        lambda: store.rename("Bob", "Bert"),
        lambda: store.merge("Ann", "Bob"),
    ):
        with pytest.raises(UnknownPersonError, match="'Bob'"):
            failing()
    assert store.revision() == before


def test_the_id_of_somebody_forgotten_is_never_used_again(store: SQLStore) -> None:
    first = store.add_templates("Ann", [template(1)])
    before = store.changes_since(0).ids.tolist()
    store.forget("Ann")
    assert store.add_templates("Ann", [template(1)]).id > first.id
    assert store.changes_since(0).ids.min() > max(before)


def test_forget_returns_who_was_forgotten(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)])
    assert store.forget("Ann") == ann
    assert store.find_person("Ann") is None


def test_forget_leaves_no_byte_of_name_vector_or_photo_in_any_file(
    store: SQLStore, path: Path
) -> None:
    names = {seed: f"Somebody with a long name {seed:03d}" for seed in range(60)}
    for seed, name in names.items():  # enough people to split and join pages of the file
        store.add_templates(name, [template(2 * seed), template(2 * seed + 1)])
    for seed in range(0, 60, 2):
        traces = [names[seed].encode()]
        for given in (template(2 * seed), template(2 * seed + 1)):
            traces += [given.to_bytes(), given.photo_digest.encode()]
        content = path.read_bytes()
        assert all(trace in content for trace in traces)
        store.forget(names[seed])
        left = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
        assert not any(trace in left for trace in traces)
    assert len(store.people()) == 30


def test_rename_keeps_the_person(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)])
    renamed = store.rename("Ann", "Anna")
    assert (renamed.id, renamed.name, renamed.n_templates) == (ann.id, "Anna", 1)


def test_rename_to_the_same_name_is_no_change(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)])
    before = store.revision()
    assert store.rename("Ann", "Ann") == ann
    assert store.revision() == before


def test_rename_to_the_name_of_another_is_refused(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    store.add_templates("Bob", [template(2)])
    with pytest.raises(DuplicatePersonError, match="'Bob'") as caught:
        store.rename("Ann", "Bob")
    assert "merge" in caught.value.hint


def test_merge_moves_every_template_and_keeps_one_of_a_shared_photo(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)])
    store.add_templates("Anna", [template(2), template(3)])
    assert store.merge("Ann", "Anna").n_templates == 3
    assert [person.name for person in store.people()] == ["Ann"]
    assert set(store.changes_since(0).person_ids.tolist()) == {ann.id}


def test_merge_with_oneself_is_refused(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    with pytest.raises(InputError, match="itself"):
        store.merge("Ann", "Ann")


def test_photo_owners_names_who_has_which_photo(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    store.add_templates("Bob", [template(2)])
    one, two, three = (template(seed).photo_digest for seed in (1, 2, 3))
    assert store.photo_owners([one, two, three]) == {one: "Ann", two: "Bob"}


def test_thousands_of_photos_and_ids_can_be_asked_for_at_once(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(seed) for seed in range(2000)])
    digests = [template(seed).photo_digest for seed in range(3000)]
    assert len(store.photo_owners(digests)) == 2000
    assert store.names(range(5000)) == {ann.id: "Ann"}


def test_an_index_that_applies_the_differences_holds_what_the_store_holds(
    store: SQLStore,
) -> None:
    owners: dict[int, int] = {}
    revision = 0
    for change in (
        lambda: store.add_templates("Ann", [template(1), template(2)]),
        lambda: store.add_templates("Bob", [template(2), template(3)]),
        lambda: store.merge("Ann", "Bob"),
        lambda: store.add_templates("Bob", [template(4)]),
        lambda: store.forget("Ann"),
        lambda: store.add_templates("Ann", [template(1)]),
    ):
        change()
        changes = store.changes_since(revision)
        for number in changes.removed.tolist():
            owners.pop(number, None)
        owners.update(zip(changes.ids.tolist(), changes.person_ids.tolist(), strict=True))
        revision = changes.revision
        everything = store.changes_since(0)
        assert owners == dict(
            zip(everything.ids.tolist(), everything.person_ids.tolist(), strict=True)
        )


def test_no_change_is_an_empty_difference(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)])
    changes = store.changes_since(store.revision())
    assert changes.vectors.shape == (0, D)
    assert len(changes.ids) == len(changes.removed) == 0


def test_a_gallery_remembers_its_model(path: Path) -> None:
    store = SQLStore.open(path)
    assert store.stamp() is None
    store.claim(STAMP)
    assert SQLStore.open(path).stamp() == STAMP


def test_another_model_is_refused_with_both_names_and_digests(store: SQLStore) -> None:
    other = Stamp("c" * 64, "large", 512, "boxes", "b" * 64)
    with pytest.raises(ModelMismatchError) as caught:
        store.claim(other)
    for part in ("small", "large", "a" * 12, "c" * 12):
        assert part in str(caught.value)
    assert store.stamp() == STAMP


def test_the_first_detector_is_kept_on_record(store: SQLStore) -> None:
    store.claim(Stamp("a" * 64, "small", D, "other boxes", "d" * 64))
    assert store.stamp() == STAMP


def test_templates_before_a_claim_are_refused(path: Path) -> None:
    with pytest.raises(GalleryError, match="no model"):
        SQLStore.open(path).add_templates("Ann", [template(1)])


def test_a_vector_of_another_dimension_is_refused(store: SQLStore) -> None:
    short = NewTemplate(np.float32([1, 0]), 1.0, "e" * 64)
    with pytest.raises(InputError, match="2 dimensions, the gallery has 8"):
        store.add_templates("Ann", [short])
    assert store.people() == []


def test_nobody_is_made_without_templates(store: SQLStore) -> None:
    with pytest.raises(InputError, match="no templates"):
        store.add_templates("Ann", [])


@pytest.mark.parametrize("values", [[1.0, 1.0], [np.nan, 0.0], [[1.0, 0.0]], [0.0, 0.0]])
def test_a_template_must_be_one_vector_of_norm_one(values: list[float]) -> None:
    with pytest.raises(InputError, match="norm 1"):
        NewTemplate(np.float32(values), 1.0, "e" * 64)


def test_a_template_needs_its_photo() -> None:
    with pytest.raises(InputError, match="photo"):
        NewTemplate(np.float32([1, 0]), 1.0, "")


def test_text_that_looks_like_sql_is_only_text(store: SQLStore) -> None:
    name = "Robert'); DROP TABLE people;--"
    store.add_templates(name, [template(1)])
    assert store.forget(name).name == name
    assert store.people() == []
