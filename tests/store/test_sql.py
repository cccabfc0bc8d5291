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
from arcwise.store import NewTemplate, Revision, SQLStore, Stamp
from arcwise.types import Floats

D = 8
STAMP = Stamp("a" * 64, "small", D, "boxes", "b" * 64)
OTHER_STAMP = Stamp("c" * 64, "large", D, "boxes", "b" * 64)


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
    return SQLStore.open(path)


def test_people_and_vectors_are_there_after_reopening(store: SQLStore, path: Path) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)], STAMP)
    store.close()
    reopened = SQLStore.open(path)
    assert reopened.people() == [ann]
    assert (ann.name, ann.n_templates) == ("Ann", 2)
    changes = reopened.changes_since(None)
    np.testing.assert_array_equal(changes.vectors, np.stack([vector(1), vector(2)]))
    assert changes.person_ids.tolist() == [ann.id, ann.id]


def test_a_gallery_file_is_for_its_owner_alone(store: SQLStore, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    SQLStore.open("~/people.db")
    assert (tmp_path / "people.db").is_file()


def test_the_home_of_somebody_unknown_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="~no-such-user"):
        SQLStore.open("~no-such-user/people.db")


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert SQLStore.open(tmp_path / "a" / "b" / "people.db").people() == []


def test_a_path_with_signs_that_mean_something_in_a_uri_is_just_a_path(tmp_path: Path) -> None:
    strange = tmp_path / "a?mode=ro#b%41 ü.db"
    ann = SQLStore.open(strange).add_templates("Ann", [template(1)], STAMP)
    assert strange.stat().st_size > 0
    assert SQLStore.open(strange).people() == [ann]


def test_people_come_by_name(store: SQLStore) -> None:
    for seed, name in enumerate(["Cleo", "Ann", "Bob"]):
        store.add_templates(name, [template(seed)], STAMP)
    assert [person.name for person in store.people()] == ["Ann", "Bob", "Cleo"]


def test_a_photo_the_person_has_is_passed_over(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    before = store.revision()
    assert store.add_templates("Ann", [template(1)], STAMP).n_templates == 1
    assert store.revision() == before
    assert (
        store.add_templates("Ann", [template(1), template(2), template(2)], STAMP).n_templates == 2
    )


def test_every_change_counts_the_revision_up(store: SQLStore) -> None:
    revisions = [store.revision()]
    for change in (
        lambda: store.add_templates("Ann", [template(1)], STAMP),
        lambda: store.add_templates("Bob", [template(2)], STAMP),
        lambda: store.rename("Bob", "Bert"),
        lambda: store.merge("Ann", "Bert"),
        lambda: store.forget("Ann"),
    ):
        change()
        revisions.append(store.revision())
    assert np.diff([revision.number for revision in revisions]).tolist() == [1] * 5
    assert len({revision.token for revision in revisions}) == 6


def test_a_failed_change_changes_nothing(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
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
    first = store.add_templates("Ann", [template(1)], STAMP)
    before = store.changes_since(None).ids.tolist()
    store.forget("Ann")
    assert store.add_templates("Ann", [template(1)], STAMP).id > first.id
    assert store.changes_since(None).ids.min() > max(before)


def test_forget_returns_who_was_forgotten(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)], STAMP)
    assert store.forget("Ann") == ann
    assert store.find_person("Ann") is None


def test_forget_leaves_no_byte_of_name_vector_or_photo_in_any_file(
    store: SQLStore, path: Path
) -> None:
    names = {seed: f"Somebody with a long name {seed:03d}" for seed in range(60)}
    for seed, name in names.items():  # enough people to split and join pages of the file
        store.add_templates(name, [template(2 * seed), template(2 * seed + 1)], STAMP)
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


def test_several_are_forgotten_by_one_change(store: SQLStore) -> None:
    ann, bob, _ = (
        store.add_templates(name, [template(seed)], STAMP)
        for seed, name in enumerate(["Ann", "Bob", "Cleo"])
    )
    before = store.revision()
    assert store.forget_many(["Bob", "Ann", "Bob"]) == [bob, ann]
    assert [person.name for person in store.people()] == ["Cleo"]
    assert store.revision().number == before.number + 1
    assert len(store.changes_since(before).removed) == 2


def test_nobody_is_forgotten_when_one_name_is_unknown(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)], STAMP)
    before = store.revision()
    with pytest.raises(UnknownPersonError, match="'Bob'"):
        store.forget_many(["Ann", "Bob"])
    assert (store.people(), store.revision()) == ([ann], before)


def test_to_forget_no_one_is_no_change(store: SQLStore) -> None:
    before = store.revision()
    assert store.forget_many([]) == []
    assert store.revision() == before


def test_rename_keeps_the_person(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)], STAMP)
    renamed = store.rename("Ann", "Anna")
    assert (renamed.id, renamed.name, renamed.n_templates) == (ann.id, "Anna", 1)


def test_rename_to_the_same_name_is_no_change(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)], STAMP)
    before = store.revision()
    assert store.rename("Ann", "Ann") == ann
    assert store.revision() == before


def test_rename_to_the_name_of_another_is_refused(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    store.add_templates("Bob", [template(2)], STAMP)
    with pytest.raises(DuplicatePersonError, match="'Bob'") as caught:
        store.rename("Ann", "Bob")
    assert "merge" in caught.value.hint


def test_merge_moves_every_template_and_keeps_one_of_a_shared_photo(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1), template(2)], STAMP)
    store.add_templates("Anna", [template(2), template(3)], STAMP)
    assert store.merge("Ann", "Anna").n_templates == 3
    assert [person.name for person in store.people()] == ["Ann"]
    assert set(store.changes_since(None).person_ids.tolist()) == {ann.id}


def test_merge_with_oneself_is_refused(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    with pytest.raises(InputError, match="itself"):
        store.merge("Ann", "Ann")


def test_photo_owners_names_who_has_which_photo(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    store.add_templates("Bob", [template(2)], STAMP)
    one, two, three = (template(seed).photo_digest for seed in (1, 2, 3))
    assert store.photo_owners([one, two, three]) == {one: "Ann", two: "Bob"}


def test_thousands_of_photos_and_ids_can_be_asked_for_at_once(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(seed) for seed in range(2000)], STAMP)
    digests = [template(seed).photo_digest for seed in range(3000)]
    assert len(store.photo_owners(digests)) == 2000
    assert store.names(range(5000), store.revision()) == {ann.id: "Ann"}


def test_an_index_that_applies_the_differences_holds_what_the_store_holds(
    store: SQLStore,
) -> None:
    owners: dict[int, int] = {}
    revision = store.revision()
    for change in (
        lambda: store.add_templates("Ann", [template(1), template(2)], STAMP),
        lambda: store.add_templates("Bob", [template(2), template(3)], STAMP),
        lambda: store.merge("Ann", "Bob"),
        lambda: store.add_templates("Bob", [template(4)], STAMP),
        lambda: store.forget("Ann"),
        lambda: store.add_templates("Ann", [template(1)], STAMP),
    ):
        change()
        changes = store.changes_since(revision)
        assert not changes.is_everything
        for number in changes.removed.tolist():
            owners.pop(number, None)
        owners.update(zip(changes.ids.tolist(), changes.person_ids.tolist(), strict=True))
        revision = changes.revision
        everything = store.changes_since(None)
        assert owners == dict(
            zip(everything.ids.tolist(), everything.person_ids.tolist(), strict=True)
        )


def test_no_change_is_an_empty_difference(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    changes = store.changes_since(store.revision())
    assert changes.vectors.shape == (0, D)
    assert len(changes.ids) == len(changes.removed) == 0


def test_a_revision_of_another_gallery_is_answered_with_everything_and_no_name(
    store: SQLStore, tmp_path: Path
) -> None:
    other = SQLStore.open(tmp_path / "other.db")
    assert other.revision() != store.revision()  # not even two empty ones are taken for another
    for place in (store, other):
        place.add_templates("Ann", [template(1)], STAMP)
    here, there = store.revision(), other.revision()
    assert here.number == there.number
    for unknown in (there, Revision(99, here.token), None):
        changes = store.changes_since(unknown)
        assert changes.is_everything
        assert (changes.revision, len(changes.ids)) == (here, 1)
    assert store.names([1], here) == {1: "Ann"}
    assert store.names([1], there) == {}


def test_the_past_of_a_copy_is_known_up_to_where_it_was_made(store: SQLStore, path: Path) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    shared, copy = store.revision(), path.read_bytes()
    store.add_templates("Bob", [template(2)], STAMP)
    lost = store.revision()
    path.write_bytes(copy)
    store.add_templates("Cleo", [template(3)], STAMP)
    store.add_templates("Dora", [template(4)], STAMP)
    assert lost.number < store.revision().number
    assert store.changes_since(lost).is_everything
    since = store.changes_since(shared)
    assert (since.is_everything, len(since.ids)) == (False, 2)


def test_a_gallery_remembers_its_model(path: Path) -> None:
    store = SQLStore.open(path)
    assert store.stamp() is None
    store.add_templates("Ann", [template(1)], STAMP)
    assert SQLStore.open(path).stamp() == STAMP
    assert store.changes_since(None).stamp == STAMP


def test_another_model_is_refused_with_both_names_and_digests(store: SQLStore) -> None:
    ann = store.add_templates("Ann", [template(1)], STAMP)
    for photo in (template(1), template(2)):  # known or not
        with pytest.raises(ModelMismatchError) as caught:
            store.add_templates("Ann", [photo], OTHER_STAMP)
        for part in ("small", "large", "a" * 12, "c" * 12):
            assert part in str(caught.value)
    assert store.stamp() == STAMP
    assert store.people() == [ann]


def test_a_gallery_whose_people_were_all_forgotten_is_free_for_another_model(
    store: SQLStore,
) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    store.add_templates("Bob", [template(2)], STAMP)
    store.forget("Ann")
    assert store.stamp() == STAMP
    store.forget("Bob")
    assert store.stamp() is None
    store.add_templates("Cleo", [template(3)], OTHER_STAMP)
    assert store.stamp() == OTHER_STAMP


def test_a_person_who_could_not_be_added_does_not_bind_the_gallery(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.revision()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arcwise.store.sql._insert_templates", stop)
        with pytest.raises(KeyboardInterrupt):
            store.add_templates("Ann", [template(1)], STAMP)
    assert (store.stamp(), store.people(), store.revision()) == (None, [], before)
    store.add_templates("Ann", [template(1)], OTHER_STAMP)
    assert store.stamp() == OTHER_STAMP


def test_the_first_detector_is_kept_on_record(store: SQLStore) -> None:
    store.add_templates("Ann", [template(1)], STAMP)
    later = Stamp("a" * 64, "small", D, "other boxes", "d" * 64)
    store.add_templates("Ann", [template(2)], later)
    assert store.stamp() == STAMP


def test_a_vector_of_another_dimension_is_refused(store: SQLStore) -> None:
    short = NewTemplate(np.float32([1, 0]), 1.0, "e" * 64)
    with pytest.raises(InputError, match="'Ann' has 2 dimensions, model small gives 8"):
        store.add_templates("Ann", [short], STAMP)
    assert store.people() == []


def test_nobody_is_made_without_templates(store: SQLStore) -> None:
    with pytest.raises(InputError, match="no templates"):
        store.add_templates("Ann", [], STAMP)


@pytest.mark.parametrize("values", [[1.0, 1.0], [np.nan, 0.0], [[1.0, 0.0]], [0.0, 0.0]])
def test_a_template_must_be_one_vector_of_norm_one(values: list[float]) -> None:
    with pytest.raises(InputError, match="norm 1"):
        NewTemplate(np.float32(values), 1.0, "e" * 64)


def test_a_template_needs_its_photo() -> None:
    with pytest.raises(InputError, match="photo"):
        NewTemplate(np.float32([1, 0]), 1.0, "")


def test_text_that_looks_like_sql_is_only_text(store: SQLStore) -> None:
    name = "Robert'); DROP TABLE people;--"
    store.add_templates(name, [template(1)], STAMP)
    assert store.forget(name).name == name
    assert store.people() == []


def test_damage_in_the_middle_of_the_file_is_found(store: SQLStore, path: Path) -> None:
    for number in range(40):
        store.add_templates(f"Person {number}", [template(number)], STAMP)
    store.check()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = b"\x55" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(GalleryError, match="damaged"):
        SQLStore.open(path).check()
