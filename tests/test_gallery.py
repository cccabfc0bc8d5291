from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arcwise.compare import Calibration, CalibrationPoint
from arcwise.convert import convert_model
from arcwise.errors import (
    DuplicatePersonError,
    GalleryError,
    GalleryLockedError,
    ImageError,
    InputError,
    ModelMismatchError,
    UnknownPersonError,
)
from arcwise.gallery import Gallery, clean_name
from arcwise.recognizer import Recognizer
from arcwise.store import SQLStore
from arcwise.types import Enrollment, Floats
from arcwise.zoo.card import License
from tests.fake_recognizer import DIMENSION, FakeRecognizer, unit, vector_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.db"


@pytest.fixture
def gallery(path: Path) -> Gallery:
    return Gallery(path, recognizer=FakeRecognizer())


def codes(enrollment: Enrollment) -> list[str]:
    return [rejection.code for rejection in enrollment.rejected]


def at_angle(similarity: float, *, axis: int = 1) -> Floats:
    """A vector with this cosine to the first axis."""
    values = np.zeros(DIMENSION)
    values[0], values[axis] = similarity, np.sqrt(1 - similarity**2)
    return unit(values)


# ── enroll ──


def test_who_was_enrolled_is_found_in_another_photo(gallery: Gallery) -> None:
    enrollment = gallery.enroll("Ann", ["ann/1", "ann/2"])
    assert enrollment.accepted == ("ann/1", "ann/2")
    assert enrollment.person is not None
    assert enrollment.person.n_templates == 2
    [(face, match)] = gallery.identify("ann/3")
    assert (match.status, match.person) == ("match", "Ann")
    assert match.similarity == pytest.approx(
        max(float(vector_of(one) @ face.embedding) for one in ("ann/1", "ann/2")), abs=1e-6
    )


def test_a_gallery_is_as_long_as_it_has_people(gallery: Gallery) -> None:
    assert len(gallery) == 0
    gallery.enroll("Ann", ["ann/1", "ann/2"])
    gallery.enroll("Bob", ["bob/1"])
    assert len(gallery) == 2
    assert [person.name for person in gallery.people()] == ["Ann", "Bob"]


def test_every_photo_is_accepted_or_rejected_with_a_code_and_a_sentence(gallery: Gallery) -> None:
    photos = ["ann/1", "broken/1", "nobody/1", "ann/2 blurred", "ann/3 soft", "ann/1"]
    enrollment = gallery.enroll("Ann", photos)
    assert enrollment.accepted == ("ann/1",)
    assert codes(enrollment) == [
        "unreadable",
        "no_face",
        "low_quality",
        "low_quality",
        "duplicate",
    ]
    assert [rejection.source for rejection in enrollment.rejected] == photos[1:]
    texts = [rejection.text for rejection in enrollment.rejected]
    assert texts[0] == "broken/1 is not a photo"
    assert "no face" in texts[1]
    assert "blurred" in texts[2]
    assert texts[4] == "already enrolled"


def test_an_empty_embedding_is_a_rejection_that_stops_nobody_else(gallery: Gallery) -> None:
    ann, bob = gallery.enroll_many({"Ann": ["ann/1 empty", "ann/2"], "Bob": ["bob/1"]})
    assert (ann.accepted, codes(ann)) == (("ann/2",), ["low_quality"])
    assert "the model gave an empty embedding" in ann.rejected[0].text
    assert bob.accepted == ("bob/1",)


def test_several_faces_are_rejected_when_one_is_demanded(gallery: Gallery) -> None:
    assert codes(gallery.enroll("Ann", ["ann/1+bob/1"], select="only")) == ["many_faces"]


def test_the_largest_face_is_meant_by_default(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1+bob/1"])
    assert gallery.identify("ann/2")[0][1].person == "Ann"
    assert gallery.identify("bob/2")[0][1].status == "unknown"


def test_the_center_face_is_meant_on_demand(gallery: Gallery) -> None:
    gallery.enroll("Bob", ["ann/1+bob/1"], select="center")
    assert gallery.identify("bob/2")[0][1].person == "Bob"


def test_nobody_is_made_of_rejected_photos_alone(gallery: Gallery) -> None:
    enrollment = gallery.enroll("Ann", ["nobody/1"])
    assert enrollment.person is None
    assert gallery.people() == []


def test_the_same_photo_again_is_a_duplicate_and_the_person_is_returned(gallery: Gallery) -> None:
    first = gallery.enroll("Ann", ["ann/1"])
    again = gallery.enroll("Ann", ["ann/1"])
    assert (again.person, again.accepted, codes(again)) == (first.person, (), ["duplicate"])


def test_the_photo_of_another_person_is_refused_by_name(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    enrollment = gallery.enroll("Bob", ["ann/1"])
    assert codes(enrollment) == ["duplicate"]
    assert enrollment.rejected[0].text == "already enrolled as Ann"


def test_somebody_who_looks_like_another_person_is_reported(gallery: Gallery) -> None:
    gallery.enroll("Cleo", ["cleo/1"])
    assert gallery.enroll("Ann", ["ann/1"]).look_alike is None
    twin = gallery.enroll("Anna", ["anna/1", "ann/2"])
    assert twin.look_alike == "Ann"
    assert twin.accepted == ("anna/1", "ann/2")


def test_one_does_not_look_like_oneself(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    assert gallery.enroll("Ann", ["ann/2", "ann/3"]).look_alike is None


def test_many_people_are_enrolled_as_one_stream(gallery: Gallery) -> None:
    done = list(gallery.enroll_many({"Ann": ["ann/1", "nobody/1"], "Bob": ["bob/1"]}))
    assert [one.accepted for one in done] == [("ann/1",), ("bob/1",)]
    assert [person.n_templates for person in gallery.people()] == [1, 1]


def test_each_person_is_kept_as_soon_as_they_are_done(gallery: Gallery, path: Path) -> None:
    stream = gallery.enroll_many({"Ann": ["ann/1"], "Bob": ["bob/1"]})
    assert len(gallery) == 0
    next(stream)
    assert [person.name for person in SQLStore.open(path).people()] == ["Ann"]


def test_enrolling_again_goes_on_where_it_stopped(gallery: Gallery) -> None:
    everybody = {"Ann": ["ann/1", "ann/2"], "Bob": ["bob/1"]}
    next(gallery.enroll_many(everybody))
    ann, bob = gallery.enroll_many(everybody)
    assert codes(ann) == ["duplicate", "duplicate"]
    assert bob.accepted == ("bob/1",)


@pytest.mark.parametrize("photos", [[], "ann/1", b"ann/1", 7])
def test_photos_must_be_a_list_of_at_least_one(gallery: Gallery, photos: object) -> None:
    with pytest.raises(InputError, match="must be a list of at least one"):
        gallery.enroll("Ann", photos)  # type: ignore[arg-type]


def test_two_spellings_of_one_name_are_refused_before_any_work(gallery: Gallery) -> None:
    with pytest.raises(InputError, match="twice"):
        gallery.enroll_many({"Ann": ["ann/1"], " Ann": ["ann/2"]})


@pytest.mark.parametrize("name", ["", "B\nob", "Bob" * 100])
def test_a_name_that_stops_a_roster_is_told(gallery: Gallery, name: str) -> None:
    with pytest.raises(InputError) as caught:
        gallery.enroll_many({"Ann": ["ann/1"], name: ["bob/1"]})
    assert repr(name)[:60] in str(caught.value)


def test_an_analyzer_that_drops_a_photo_is_caught(path: Path) -> None:
    class Dropping(FakeRecognizer):
        def analyze_many(self, photos, /):
            return super().analyze_many(list(photos)[1:])

    with pytest.raises(AssertionError, match="each photo"):
        list(Gallery(path, recognizer=Dropping()).enroll_many({"Ann": ["ann/1", "ann/2"]}))


# ── names ──


def test_names_are_stripped_and_composed() -> None:
    assert clean_name("  Zoe\u0308 \n") == unicodedata.normalize("NFC", "Zoë")


@pytest.mark.parametrize(
    "name", ["", "  ", "A\nnn", "A\x00nn", "A\u2028nn", "\ud800", "x" * 201], ids=ascii
)
def test_what_cannot_be_a_name_is_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        gallery.enroll(name, ["ann/1"])


@pytest.mark.parametrize("name", ["李小龍", "O'Brien", "مریم‌السادات", "x" * 200])
def test_names_of_the_world_work(gallery: Gallery, name: str) -> None:
    gallery.enroll(name, ["ann/1"])
    assert gallery.identify("ann/2")[0][1].person == name
    assert gallery.forget(f" {name}").name == name


# ── identify ──


def test_an_empty_gallery_knows_nobody_and_says_so(gallery: Gallery) -> None:
    [(_, match)] = gallery.identify("ann/1")
    assert (match.status, match.person, match.similarity) == ("unknown", None, None)
    assert match.candidate is None
    assert "empty" in match.why


def test_a_photo_without_faces_has_no_answers(gallery: Gallery) -> None:
    assert gallery.identify("nobody/1") == []


def test_a_photo_that_cannot_be_read_is_an_error_alone_and_an_answer_among_many(
    gallery: Gallery,
) -> None:
    with pytest.raises(ImageError, match="broken/1"):
        gallery.identify("broken/1")
    broken, fine = gallery.identify_many(["broken/1", "ann/1"])
    assert isinstance(broken.error, ImageError)
    assert broken.matches == ()
    assert (fine.error, len(fine.matches), fine.size_wh_px) == (None, 1, (1000, 400))


def test_every_face_of_a_group_gets_its_answer(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.enroll("Bob", ["bob/1"])
    answers = [match.person for _, match in gallery.identify("bob/2+stranger/1+ann/2")]
    assert answers == ["Bob", None, "Ann"]


def test_a_stranger_is_unknown_with_numbers(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    [(_, match)] = gallery.identify("stranger/1")
    assert (match.status, match.person, match.candidate) == ("unknown", None, "Ann")
    assert f"{match.similarity:.3f}" in match.why
    assert "0.500" in match.why


def test_the_similarity_of_a_person_is_that_of_their_nearest_template(path: Path) -> None:
    vectors = {
        "far": at_angle(0.1),
        "near": at_angle(0.9),
        "other": at_angle(0.7, axis=2),
        "probe": at_angle(1.0),
    }
    gallery = Gallery(path, recognizer=FakeRecognizer(vectors=vectors))
    gallery.enroll("Ann", ["far", "near"])
    gallery.enroll("Bob", ["other"])
    [(_, match)] = gallery.identify("probe")
    assert (match.person, match.runner_up) == ("Ann", "Bob")
    assert match.similarity == pytest.approx(0.9, abs=1e-5)
    assert match.margin == pytest.approx(0.2, abs=1e-5)


def test_the_runner_up_is_found_behind_any_number_of_templates_of_the_best(path: Path) -> None:
    vectors = {f"a{i}": at_angle(0.9 + 0.001 * i, axis=3 + i) for i in range(30)}
    vectors |= {"b": at_angle(0.6), "probe": at_angle(1.0)}
    gallery = Gallery(path, recognizer=FakeRecognizer(vectors=vectors))
    gallery.enroll("Ann", [f"a{i}" for i in range(30)])
    gallery.enroll("Bob", ["b"])
    [(_, match)] = gallery.identify("probe")
    assert match.runner_up == "Bob"
    assert match.margin == pytest.approx(0.329, abs=1e-4)


@pytest.mark.parametrize(
    ("best", "second", "status"),
    [
        (0.80, 0.74, "match"),
        (0.80, 0.76, "ambiguous"),
        (0.51, 0.49, "ambiguous"),
        (0.49, 0.48, "unknown"),
        (0.50001, 0.2, "match"),
    ],
)
def test_a_match_needs_the_threshold_and_a_margin(
    path: Path, best: float, second: float, status: str
) -> None:
    vectors = {"a": at_angle(best), "b": at_angle(second, axis=2), "probe": at_angle(1.0)}
    gallery = Gallery(path, recognizer=FakeRecognizer(vectors=vectors))
    gallery.enroll("Ann", ["a"])
    gallery.enroll("Bob", ["b"])
    [(_, match)] = gallery.identify("probe")
    assert match.status == status
    assert match.person == ("Ann" if status == "match" else None)
    assert match.candidate == "Ann"
    if status == "ambiguous":
        assert "Ann" in match.why
        assert "Bob" in match.why


def test_a_blurred_face_is_not_decided_though_the_candidate_is_told(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    [(_, match)] = gallery.identify("ann/2 blurred")
    assert (match.status, match.person, match.candidate) == ("low_quality", None, "Ann")
    assert "blurred" in match.why


def test_an_empty_embedding_is_not_decided_and_has_no_candidate(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    empty, fine = (match for _, match in gallery.identify("bob/1 empty+ann/2"))
    assert (empty.status, empty.person) == ("low_quality", None)
    assert (empty.candidate, empty.similarity) == (None, None)
    assert "the model gave an empty embedding" in empty.why
    assert fine.person == "Ann"


def test_identify_is_laxer_than_enroll(gallery: Gallery) -> None:
    assert codes(gallery.enroll("Ann", ["ann/1 soft", "ann/2"])) == ["low_quality"]
    assert gallery.identify("ann/3 soft")[0][1].person == "Ann"


def test_a_face_without_embedding_is_refused(gallery: Gallery) -> None:
    face = next(FakeRecognizer().analyze_many(["ann/1"])).faces[0]
    bare = type(face)(face.box_xyxy_px, face.score, face.points_px)
    with pytest.raises(InputError, match="embedding"):
        gallery.identify_faces([bare])


def test_no_faces_are_no_work(gallery: Gallery) -> None:
    assert gallery.identify_faces([]) == []


# ── thresholds ──


def calibration_of(recognizer: FakeRecognizer) -> Calibration:
    points = (
        CalibrationPoint(fmr=1e-2, similarity=0.3, low=0.29, high=0.31),
        CalibrationPoint(fmr=1e-3, similarity=0.6, low=0.59, high=0.61),
    )
    return Calibration(recognizer.embedder.digest, points, 10_000, 100, "0" * 64, "2025-01-01")


def test_an_uncalibrated_answer_says_so(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    [(_, match)] = gallery.identify("ann/2")
    assert not match.calibrated
    assert "uncalibrated" in match.why


def test_the_threshold_rises_with_the_number_of_people(path: Path) -> None:
    recognizer = FakeRecognizer()
    gallery = Gallery(path, recognizer=recognizer, calibration=calibration_of(recognizer))
    gallery.enroll("Ann", ["ann/1", "ann/2", "ann/3"])
    alone = gallery.identify("ann/4")[0][1]
    assert alone.threshold == pytest.approx(0.3)
    assert alone.calibrated
    list(gallery.enroll_many({f"P{i}": [f"p{i}/1"] for i in range(9)}))
    among_ten = gallery.identify("ann/4")[0][1]
    assert among_ten.threshold == pytest.approx(0.6, abs=0.002)
    assert "among 10 people" in among_ten.why


def test_the_calibration_of_the_recognizer_is_used_by_default(path: Path) -> None:
    recognizer = FakeRecognizer()
    recognizer.calibration = calibration_of(recognizer)
    gallery = Gallery(path, recognizer=recognizer)
    assert gallery.identify("ann/1")[0][1].threshold == pytest.approx(0.3)


def test_the_calibration_of_another_model_is_refused(path: Path) -> None:
    calibration = calibration_of(FakeRecognizer(model="other"))
    with pytest.raises(ModelMismatchError, match="calibration"):
        Gallery(path, recognizer=FakeRecognizer(), calibration=calibration)


def test_the_calibration_beside_the_gallery_goes_before_the_recognizers(path: Path) -> None:
    recognizer = FakeRecognizer()
    recognizer.calibration = calibration_of(recognizer)
    stricter = (CalibrationPoint(fmr=1e-2, similarity=0.45, low=0.4, high=0.5),)
    replace(recognizer.calibration, points=stricter).save(path.with_suffix(".calibration.json"))
    gallery = Gallery(path, recognizer=recognizer)
    assert gallery.identify("ann/1")[0][1].threshold == pytest.approx(0.45)
    given = Gallery(path, recognizer=recognizer, calibration=calibration_of(recognizer))
    assert given.identify("ann/1")[0][1].threshold == pytest.approx(0.3)


def test_a_calibration_beside_the_gallery_of_another_model_is_named(path: Path) -> None:
    beside = calibration_of(FakeRecognizer(model="other")).save(
        path.parent / "people.calibration.json"
    )
    with pytest.raises(ModelMismatchError, match=f"the calibration {beside} belongs to"):
        Gallery(path, recognizer=FakeRecognizer())


# ── change ──


def test_who_was_forgotten_is_unknown(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.enroll("Bob", ["bob/1"])
    assert gallery.identify("ann/2")[0][1].person == "Ann"
    assert gallery.forget("Ann").n_templates == 1
    match = gallery.identify("ann/2")[0][1]
    assert (match.status, match.candidate) == ("unknown", "Bob")


def test_nobody_of_that_name_can_be_forgotten(gallery: Gallery) -> None:
    with pytest.raises(UnknownPersonError, match="'Ann'"):
        gallery.forget("Ann")


def test_a_new_name_is_told_from_then_on(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.identify("ann/2")
    gallery.rename("Ann", "Anna")
    assert gallery.identify("ann/2")[0][1].person == "Anna"


def test_a_name_that_is_taken_is_refused(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.enroll("Bob", ["bob/1"])
    with pytest.raises(DuplicatePersonError):
        gallery.rename("Ann", " Bob ")


def test_merged_people_are_one_also_for_an_index_that_knew_both(gallery: Gallery) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.enroll("Anna", ["ann/2"])
    before = gallery.identify("ann/3")[0][1]
    assert before.status == "ambiguous"
    assert gallery.merge("Ann", "Anna").n_templates == 2
    after = gallery.identify("ann/3")[0][1]
    assert (after.person, after.runner_up) == ("Ann", None)


def test_a_change_through_another_gallery_object_is_seen_at_the_next_search(
    gallery: Gallery, path: Path
) -> None:
    other = Gallery(path, recognizer=FakeRecognizer())
    assert other.identify("ann/2")[0][1].status == "unknown"
    gallery.enroll("Ann", ["ann/1"])
    assert other.identify("ann/2")[0][1].person == "Ann"
    gallery.forget("Ann")
    assert other.identify("ann/2")[0][1].status == "unknown"


def test_who_is_forgotten_during_a_search_is_not_told(
    gallery: Gallery, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll("Ann", ["ann/1"])
    gallery.enroll("Bob", ["bob/1"])
    read_names, forgotten = SQLStore.names, []

    def forget_first(store, ids, revision):
        if not forgotten:
            forgotten.append(SQLStore.open(path).forget("Ann"))
        return read_names(store, ids, revision)

    monkeypatch.setattr(SQLStore, "names", forget_first)
    match = gallery.identify("ann/2")[0][1]
    assert forgotten
    assert (match.status, match.candidate) == ("unknown", "Bob")


def test_an_older_copy_of_the_file_that_was_put_back_is_followed(
    gallery: Gallery, path: Path
) -> None:
    gallery.enroll("Ann", ["ann/1"])
    copy = path.read_bytes()
    gallery.enroll("Bob", ["bob/1"])
    assert gallery.identify("bob/2")[0][1].person == "Bob"
    path.write_bytes(copy)
    assert gallery.identify("bob/2")[0][1].status == "unknown"
    assert gallery.identify("ann/2")[0][1].person == "Ann"


# ── the file is replaced ──


def fill(path: Path, people: dict[str, list[str]]) -> Gallery:
    gallery = Gallery(path, recognizer=FakeRecognizer())
    list(gallery.enroll_many(people))
    return gallery


def people_in(gallery: Gallery, photo: str) -> list[str | None]:
    return [match.person for _, match in gallery.identify(photo)]


def test_another_gallery_with_the_same_ids_and_revision_is_not_taken_for_the_first(
    path: Path, tmp_path: Path
) -> None:
    gallery = fill(path, {"Ann": ["ann/1"], "Bob": ["bob/1"]})
    assert people_in(gallery, "ann/2+bob/2+cleo/2") == ["Ann", "Bob", None]
    other = fill(tmp_path / "other.db", {"Cleo": ["cleo/1"], "Ann": ["ann/1"]})
    assert [one.id for one in gallery.people()] == sorted(one.id for one in other.people())
    (tmp_path / "other.db").replace(path)
    assert people_in(gallery, "ann/2+bob/2+cleo/2") == ["Ann", None, "Cleo"]


def test_another_gallery_with_the_same_revision_and_other_ids_is_followed(
    path: Path, tmp_path: Path
) -> None:
    gallery = fill(path, {"Ann": ["ann/1"], "Bob": ["bob/1"], "Cleo": ["cleo/1"]})
    assert people_in(gallery, "bob/2+cleo/2") == ["Bob", "Cleo"]
    other = fill(tmp_path / "other.db", {"Bob": ["bob/1"], "Dora": ["dora/1"]})
    other.forget("Bob")
    (tmp_path / "other.db").replace(path)
    assert people_in(gallery, "bob/2+cleo/2+dora/2") == [None, None, "Dora"]


def test_a_gallery_that_was_deleted_and_made_anew_is_followed(path: Path) -> None:
    gallery = fill(path, {"Ann": ["ann/1"]})
    assert people_in(gallery, "ann/2+bob/2") == ["Ann", None]
    path.unlink()
    fill(path, {"Bob": ["bob/1"], "Cleo": ["cleo/1"]})
    assert people_in(gallery, "ann/2+bob/2+cleo/2") == [None, "Bob", "Cleo"]


def test_an_older_copy_that_was_put_back_and_written_past_the_index_is_followed(
    path: Path,
) -> None:
    gallery = fill(path, {"Ann": ["ann/1"]})
    copy = path.read_bytes()
    gallery.enroll("Bob", ["bob/1"])
    assert people_in(gallery, "bob/2+cleo/2") == ["Bob", None]
    path.write_bytes(copy)
    fill(path, {"Cleo": ["cleo/1"], "Dora": ["dora/1"]})
    assert people_in(gallery, "ann/2+bob/2+cleo/2+dora/2") == ["Ann", None, "Cleo", "Dora"]


def before_each_names(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> list[int]:
    """Let something happen between each search and the reading of names; counts them."""
    read_names, times = SQLStore.names, []

    def act_first(store, ids, revision):
        times.append(len(times))
        action()
        return read_names(store, ids, revision)

    monkeypatch.setattr(SQLStore, "names", act_first)
    return times


def test_a_gallery_replaced_during_a_search_lends_no_names(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = fill(path, {"Ann": ["ann/1"]})
    fill(tmp_path / "other.db", {"Cleo": ["cleo/1"]})

    def replace_once() -> None:
        if (tmp_path / "other.db").exists():
            (tmp_path / "other.db").replace(path)

    times = before_each_names(monkeypatch, replace_once)
    assert people_in(gallery, "ann/2+cleo/2") == [None, "Cleo"]
    assert len(times) == 2


def test_a_change_that_takes_nobody_away_does_not_repeat_a_search(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = fill(path, {"Ann": ["ann/1"]})
    store = SQLStore.open(path)
    times = before_each_names(monkeypatch, lambda: store.rename("Ann", "Anna"))
    assert people_in(gallery, "ann/2") == ["Anna"]
    assert len(times) == 1


def test_a_gallery_that_changes_during_every_search_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = fill(path, {f"P{i}": [f"p{i}/1"] for i in range(6)})
    store = SQLStore.open(path)
    times = before_each_names(monkeypatch, lambda: store.forget(store.people()[0].name))
    with pytest.raises(GalleryLockedError, match="changing too fast") as caught:
        gallery.identify("+".join(f"p{i}/2" for i in range(6)))
    assert len(times) == 5
    assert "try again" in caught.value.hint


# ── models ──


def test_forgetting_everybody_frees_a_gallery_for_another_model(
    gallery: Gallery, path: Path
) -> None:
    gallery.enroll("Ann", ["ann/1"])
    assert people_in(gallery, "ann/2") == ["Ann"]
    gallery.forget("Ann")
    other = Gallery(path, recognizer=FakeRecognizer(model="other"))
    other.enroll("Ann", ["ann/1"])
    assert people_in(other, "ann/2") == ["Ann"]
    with pytest.raises(ModelMismatchError, match=r"other .* fake"):
        gallery.identify("ann/2")


def test_another_model_may_neither_enroll_nor_identify(gallery: Gallery, path: Path) -> None:
    gallery.enroll("Ann", ["ann/1"])
    other = Gallery(path, recognizer=FakeRecognizer(model="other"))
    face = next(FakeRecognizer().analyze_many(["ann/1"])).faces[0]
    for action in (
        lambda: other.enroll("Bob", ["bob/1"]),
        lambda: other.identify("ann/1"),
        lambda: other.identify_faces([face]),
    ):
        with pytest.raises(ModelMismatchError, match=r"fake .* other") as caught:
            action()
        assert "use model fake" in caught.value.hint


def test_identifying_does_not_bind_a_gallery_to_a_model(gallery: Gallery, path: Path) -> None:
    gallery.identify("ann/1")
    gallery.enroll("Ann", ["nobody/1"])
    assert SQLStore.open(path).stamp() is None


def test_another_detector_is_warned_about_once(
    gallery: Gallery, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery.enroll("Ann", ["ann/1"])
    other = Gallery(path, recognizer=FakeRecognizer(detector="other boxes"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert other.identify("ann/2")[0][1].person == "Ann"
            other.enroll("Bob", ["bob/1"])
    [record] = caplog.records
    assert "other boxes" in record.getMessage()


def test_a_gallery_closes_at_the_end_of_with(path: Path) -> None:
    with Gallery(path, recognizer=FakeRecognizer()) as gallery:
        gallery.enroll("Ann", ["ann/1"])
    assert Gallery(path, recognizer=FakeRecognizer()).identify("ann/2")[0][1].person == "Ann"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_missing_or_empty_gallery_is_refused_when_none_shall_be_made(
    path: Path, is_there: bool
) -> None:
    if is_there:
        path.touch()
    with pytest.raises(GalleryError, match="is empty" if is_there else "no gallery at") as caught:
        Gallery(path, recognizer=FakeRecognizer(), create=False)
    assert caught.value.hint == "enroll somebody first"
    assert path.exists() == is_there
    assert not is_there or path.stat().st_size == 0


def test_a_gallery_that_exists_opens_when_none_shall_be_made(path: Path) -> None:
    fill(path, {"Ann": ["ann/1"]})
    gallery = Gallery(path, recognizer=FakeRecognizer(), create=False)
    assert people_in(gallery, "ann/2") == ["Ann"]


def test_a_gallery_may_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # Windows
    fill(Path("~/people.db"), {"Ann": ["ann/1"]})
    assert (tmp_path / "people.db").stat().st_size > 0


def test_an_open_gallery_whose_file_was_emptied_says_so(path: Path) -> None:
    gallery = fill(path, {"Ann": ["ann/1"]})
    assert people_in(gallery, "ann/2") == ["Ann"]
    path.unlink()
    path.touch()
    for operation in (lambda: gallery.identify("ann/2"), lambda: gallery.enroll("B", ["bob/1"])):
        with pytest.raises(GalleryError, match="is empty"):
            operation()


@pytest.mark.real
def test_a_real_family_is_enrolled_found_and_forgotten(real_data: Path, tmp_path: Path) -> None:
    photos, model = real_data / "photos", tmp_path / "mobilefacenet.onnx"
    terms = License(name="Apache-2.0", commercial_use=True)
    convert_model(real_data / "models" / "mobilefacenet_y1", model, license=terms)
    family = {"Dad": 2, "Mom": 1, "Daughter": 2, "Son": 1}
    with Gallery(tmp_path / "people.db", recognizer=Recognizer(model=model)) as gallery:
        for enrollment in gallery.enroll_many(
            {
                name: [photos / f"Family1-{name}{i}.jpg" for i in range(1, n + 1)]
                for name, n in family.items()
            }
        ):
            assert enrollment.rejected == ()
            assert enrollment.look_alike is None
        for name, n in family.items():
            [(_, match)] = gallery.identify(photos / f"Family1-{name}{n + 1}.jpg")
            assert match.person == name
        group = gallery.identify(photos / "identification1.jpg")
        assert sorted(match.person for _, match in group) == sorted(family)
        [(_, stranger)] = gallery.identify(photos / "Family3-Man1.jpg")
        assert stranger.status == "unknown"
        gallery.forget("Dad")
        [(_, forgotten)] = gallery.identify(photos / "Family1-Dad3.jpg")
        assert forgotten.status == "unknown"
