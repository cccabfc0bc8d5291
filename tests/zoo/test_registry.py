"""Models are found by name or path, added with a card, and never mistaken for one another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from arcwise.errors import ChecksumError, InputError, ModelError, UnknownModelError
from arcwise.files import sha256_of_file
from arcwise.settings import Settings
from arcwise.zoo import registry
from arcwise.zoo.card import (
    InputContract,
    License,
    PublishedThreshold,
    load_card,
    save_card,
)
from arcwise.zoo.registry import (
    CardFault,
    Claims,
    add_model,
    default_model,
    find_model,
    list_models,
    remove_model,
    survey_models,
    write_card,
)
from tests.tiny_models import averaging, build_graph, flattening, normalizing, write

MIT = License(name="MIT", commercial_use=True)
RAW = InputContract(mean=0, std=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of its own, and nothing that comes with arcwise."""
    monkeypatch.setattr(registry, "SHIPPED_DIR", tmp_path / "shipped")
    return Settings(home=tmp_path / "home", gallery=tmp_path / "gallery.db")


def claims(**changes: Any) -> Claims:
    return Claims(**({"license": MIT, "contract": RAW} | changes))


def ship(folder: Path, name: str, content: bytes) -> None:
    path = write(folder / f"{name}.onnx", content)
    save_card(write_card(path, claims(grade="demo")), path)


# Cards of the user's own models


def test_a_card_holds_what_graph_and_owner_say(tmp_path: Path) -> None:
    path = write(tmp_path / "My Model (v2).onnx", averaging(scale=2))
    card = write_card(path, claims(source="a page", grade="good"))
    assert card.name == "my-model-v2-"
    assert card.file == "my-model-v2-.onnx"
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.dimension == 3
    assert card.input == InputContract(size_px=112, color="rgb", mean=0, std=1, layout="nchw")
    assert (card.license, card.source, card.grade) == (MIT, "a page", "good")


def test_layout_channels_and_size_come_from_the_graph(tmp_path: Path) -> None:
    graph = flattening(size_px=128, channels=1, layout="nhwc")
    card = write_card(write(tmp_path / "a.onnx", graph), claims())
    assert card.input == InputContract(size_px=128, color="gray", mean=0, std=1, layout="nhwc")
    assert card.dimension == 128 * 128


def test_a_size_that_contradicts_the_graph_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", averaging(size_px=128))
    stated = InputContract(size_px=112, mean=0, std=1)
    with pytest.raises(InputError, match="128 px, not of 112"):
        write_card(path, claims(contract=stated))


def test_nobody_guesses_how_to_normalize(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nobody said how to") as caught:
        write_card(write(tmp_path / "a.onnx", averaging()), claims(contract=None))
    assert "--input" in caught.value.hint
    card = write_card(write(tmp_path / "b.onnx", normalizing()), claims(contract=None))
    assert (card.input.mean, card.input.std) == (0, 1)


def test_nobody_normalizes_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", normalizing())
    with pytest.raises(ModelError, match=r"mean 127\.5 and std 128 would do it twice") as caught:
        write_card(path, claims(contract=InputContract(color="bgr", mean=127.5, std=128)))
    assert "--input bgr,0,1" in caught.value.hint
    card = write_card(path, claims(contract=InputContract(color="bgr", mean=0, std=1)))
    assert card.input.color == "bgr"


def test_a_card_needs_a_license(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nobody said what .* may be used for"):
        write_card(write(tmp_path / "a.onnx", averaging()), claims(license=None))


def test_a_graph_that_does_not_say_its_dimension_is_refused(tmp_path: Path) -> None:
    flatten = helper.make_node("Flatten", ["input"], ["output"], axis=1)
    graph = build_graph([flatten], takes=("N", 3, "S", "S"), gives=("N", "D"))
    with pytest.raises(ModelError, match="does not say how long its embedding is") as caught:
        write_card(write(tmp_path / "a.onnx", graph), claims())
    assert caught.value.hint


@pytest.mark.parametrize("name", ["Ann", "a b", "-a", "模型"])
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", averaging())
    with pytest.raises(ModelError, match=f"no model can be called '{name}'"):
        write_card(path, claims(name=name))


# Adding


def test_an_added_model_is_listed_found_and_whole(tmp_path: Path, settings: Settings) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    added = add_model(source, settings, claims())
    assert added.path == settings.models_dir / "mine.onnx"
    assert added.path.read_bytes() == source.read_bytes()
    assert list_models(settings) == [added]
    assert find_model("mine", settings) == added
    assert added.origin == "own"
    added.verify()


def test_a_model_with_a_card_beside_it_needs_no_claims(tmp_path: Path, settings: Settings) -> None:
    source = write(tmp_path / "file.onnx", averaging())
    card = write_card(source, claims(name="mine")).model_copy(update={"file": "file.onnx"})
    save_card(card, source)
    added = add_model(source, settings)
    assert added.path == settings.models_dir / "mine.onnx"
    assert added.card.digest == card.digest
    assert find_model("mine", settings) == added


def test_claims_replace_what_the_card_beside_the_model_says(
    tmp_path: Path, settings: Settings
) -> None:
    source = write(tmp_path / "file.onnx", averaging())
    stated = PublishedThreshold(similarity=0.3, source="a page")
    card = write_card(source, claims(name="mine", threshold=stated, grade="good"))
    save_card(card.model_copy(update={"note": "n", "metrics": {"lfw": 0.99}}), source)
    added = add_model(source, settings, Claims(name="other", contract=InputContract(color="bgr")))
    assert (added.card.name, added.path.name) == ("other", "other.onnx")
    assert (added.card.input.color, added.card.input.mean) == ("bgr", 127.5)
    assert added.card.threshold == stated
    assert (added.card.license, added.card.grade) == (MIT, "good")
    assert (added.card.note, added.card.metrics) == ("n", {"lfw": 0.99})


def test_a_card_of_another_file_is_refused(tmp_path: Path, settings: Settings) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    save_card(write_card(source, claims()), source)
    write(source, averaging(scale=2))
    with pytest.raises(ChecksumError, match=r"mine\.onnx has SHA-256"):
        add_model(source, settings)
    with pytest.raises(UnknownModelError, match="no model card"):
        add_model(write(tmp_path / "bare.onnx", averaging()), settings)
    assert list_models(settings) == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path, settings: Settings) -> None:
    first = add_model(write(tmp_path / "a.onnx", averaging()), settings, claims(name="mine"))
    other = write(tmp_path / "b.onnx", averaging(scale=2))
    with pytest.raises(ModelError, match="another model is called 'mine'") as caught:
        add_model(other, settings, claims(name="mine"))
    assert "--name" in caught.value.hint
    assert find_model("mine", settings) == first
    find_model("mine", settings).verify()


def test_a_name_that_an_unreadable_card_has_is_taken(tmp_path: Path, settings: Settings) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    write(settings.models_dir / "mine.json", b"{}")
    with pytest.raises(ModelError, match="'mine' is taken by a card that cannot be read") as caught:
        add_model(source, settings, claims())
    assert "`arcwise models remove mine`" in caught.value.hint
    assert "--name" in caught.value.hint
    remove_model("mine", settings)
    assert add_model(source, settings, claims()) == find_model("mine", settings)


def test_a_card_is_not_added_for_its_model(tmp_path: Path, settings: Settings) -> None:
    ship(tmp_path, "y1", averaging())
    for said in (None, claims()):
        with pytest.raises(InputError, match=r"y1\.json is a card") as caught:
            add_model(tmp_path / "y1.json", settings, said)
        assert caught.value.hint == f"give {tmp_path / 'y1.onnx'}"


def test_the_same_file_with_another_input_is_another_model(
    tmp_path: Path, settings: Settings
) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    first = add_model(source, settings, claims())
    with pytest.raises(ModelError, match=r"another model is called 'mine'.*input differs"):
        add_model(source, settings, claims(contract=InputContract(mean=127.5, std=128)))
    assert find_model("mine", settings) == first


def test_the_license_of_a_model_is_not_replaced_in_passing(
    tmp_path: Path, settings: Settings
) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    research = License(name="research", commercial_use=False)
    first = add_model(source, settings, claims(license=research))
    with pytest.raises(ModelError, match=r"under another license: research.* MIT") as caught:
        add_model(source, settings, claims())
    assert "--name" in caught.value.hint
    assert "models remove" in caught.value.hint
    assert find_model("mine", settings) == first
    remove_model("mine", settings)
    assert add_model(source, settings, claims()).card.license == MIT


def test_the_name_of_a_shipped_model_is_taken(tmp_path: Path, settings: Settings) -> None:
    ship(tmp_path / "shipped", "house", averaging())
    with pytest.raises(ModelError, match="another model is called 'house'"):
        add_model(write(tmp_path / "a.onnx", averaging(scale=2)), settings, claims(name="house"))


def test_the_same_model_can_be_added_again_with_better_words(
    tmp_path: Path, settings: Settings
) -> None:
    source = write(tmp_path / "mine.onnx", averaging())
    first = add_model(source, settings, claims())
    again = add_model(source, settings, claims(source="a better page"))
    assert find_model("mine", settings).card.source == "a better page"
    assert again.card.digest == first.card.digest


# Finding


def test_a_model_is_found_by_the_path_of_its_file_or_card(
    tmp_path: Path, settings: Settings
) -> None:
    path = write(tmp_path / "mine.onnx", averaging())
    save_card(write_card(path, claims()), path)
    found = find_model(path, settings)
    assert (found.path, found.origin) == (path, "file")
    assert find_model(str(path.with_suffix(".json")), settings) == found


def test_a_card_without_its_file_is_said(tmp_path: Path, settings: Settings) -> None:
    path = write(tmp_path / "mine.onnx", averaging())
    card_file = save_card(write_card(path, claims()), path)
    path.unlink()
    with pytest.raises(UnknownModelError, match=r"names mine\.onnx, which is not beside it"):
        find_model(card_file, settings)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("min", "did you mean mine?"),
        ("xyz", "there are: mine"),
        ("nowhere.onnx", "arcwise models add"),
        ("~nobody-of-that-name/a.onnx", "arcwise models add"),
        ("", "there are: mine"),
    ],
)
def test_an_unknown_model_is_answered_with_a_proposal(
    name: str, hint: str, tmp_path: Path, settings: Settings
) -> None:
    add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    with pytest.raises(UnknownModelError) as caught:
        find_model(name, settings)
    assert hint in caught.value.hint


def test_without_any_model_the_way_to_one_is_said(settings: Settings) -> None:
    assert list_models(settings) == []
    for ask in (lambda: find_model("mine", settings), lambda: default_model(settings)):
        with pytest.raises(UnknownModelError) as caught:
            ask()
        assert "arcwise models add" in caught.value.hint


def test_a_calibration_beside_a_model_is_no_card(tmp_path: Path, settings: Settings) -> None:
    added = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    write(settings.models_dir / "mine.calibration.json", b'{"version": 1}')
    shelf = survey_models(settings)
    assert (shelf.models, shelf.faults) == ((added,), ())
    assert find_model("mine", settings) == added


def test_one_bad_card_does_not_hide_the_good_ones(tmp_path: Path, settings: Settings) -> None:
    good = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    write(settings.models_dir / "bad.json", good.card.to_json().replace("file", "fiel").encode())
    write(settings.models_dir / "stray.json", b"[1, 2]")
    shelf = survey_models(settings)
    assert shelf.models == (good,)
    assert [fault.name for fault in shelf.faults] == ["bad", "stray"]
    assert shelf.faults[0].path == settings.models_dir / "bad.json"
    assert "fiel" in str(shelf.faults[0].error)
    assert list_models(settings) == [good]
    assert find_model("mine", settings) == good
    default = default_model(settings)
    assert default.model == good
    assert default.why == "the only one in your models folder that can be used"
    assert remove_model("mine", settings) == good


def test_a_bad_card_is_not_passed_over_when_it_is_asked_for(settings: Settings) -> None:
    write(settings.models_dir / "mine.json", b"{}")
    with pytest.raises(ModelError, match=r"mine\.json is not a model card"):
        find_model("mine", settings)
    with pytest.raises(UnknownModelError, match=r"can be used: .*mine\.json is not a model card"):
        default_model(settings)
    assert (settings.models_dir / "mine.json").is_file()


def test_a_card_whose_file_is_gone_is_a_fault(tmp_path: Path, settings: Settings) -> None:
    model = add_model(write(tmp_path / "a.onnx", averaging()), settings, claims(name="mine"))
    model.path.unlink()
    (fault,) = survey_models(settings).faults
    assert (fault.name, fault.path) == ("mine", model.path.with_suffix(".json"))
    with pytest.raises(UnknownModelError, match=r"names mine\.onnx, which is not beside it"):
        find_model("mine", settings)
    assert add_model(tmp_path / "a.onnx", settings, claims(name="mine")) == model


def test_a_card_that_cannot_be_read_is_a_fault(settings: Settings) -> None:
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "loop.json").symlink_to("loop.json")
    assert [fault.name for fault in survey_models(settings).faults] == ["loop"]


def test_a_folder_is_no_card(settings: Settings) -> None:
    (settings.models_dir / "dir.json").mkdir(parents=True)
    shelf = survey_models(settings)
    assert (shelf.models, shelf.faults) == ((), ())


@pytest.mark.parametrize("place", ["shipped", "home/models"])
def test_a_second_card_of_a_file_is_a_fault(place: str, tmp_path: Path, settings: Settings) -> None:
    ship(tmp_path / place, "y1", averaging())
    card = load_card(tmp_path / place / "y1.onnx").model_copy(update={"name": "twin"})
    twin = write(tmp_path / place / "twin.json", card.to_json().encode())
    shelf = survey_models(settings)
    assert [model.card.name for model in shelf.models] == ["y1"]
    assert [(fault.name, fault.path) for fault in shelf.faults] == [("twin", twin)]
    for asked in ("twin", twin, twin.with_suffix(".onnx")):
        with pytest.raises(ModelError, match=r"twin\.json belongs to y1\.onnx") as caught:
            find_model(asked, settings)
        assert "rename it to y1.json" in caught.value.hint


def test_a_changed_file_is_noticed(tmp_path: Path, settings: Settings) -> None:
    model = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    write(model.path, averaging(scale=2))
    with pytest.raises(ChecksumError, match=sha256_of_file(model.path)):
        find_model("mine", settings).verify()


# The default


def test_the_default_is_the_named_then_the_shipped_then_the_only_own_one(
    tmp_path: Path, settings: Settings
) -> None:
    add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    only = default_model(settings)
    assert (only.model.card.name, only.why) == ("mine", "the only one in your models folder")
    add_model(write(tmp_path / "other.onnx", averaging(scale=2)), settings, claims())
    with pytest.raises(UnknownModelError, match="several embedding models are there: mine, other"):
        default_model(settings)
    ship(tmp_path / "shipped", "house", averaging(scale=3))
    shipped = default_model(settings)
    assert (shipped.model.card.name, shipped.why) == ("house", "comes with arcwise")
    names = [model.card.name for model in list_models(settings)]
    assert names == ["house", "mine", "other"]
    wish = Settings(home=settings.home, gallery=settings.gallery, model="other")
    assert default_model(wish).model.card.name == "other"
    assert default_model(wish).why == "named by ARCWISE_MODEL"


def test_a_detector_is_no_default(tmp_path: Path, settings: Settings) -> None:
    model = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    save_card(model.card.model_copy(update={"task": "detect"}), model.path)
    with pytest.raises(UnknownModelError, match="no embedding model is installed"):
        default_model(settings)


# Removing


def test_a_removed_model_leaves_nothing(tmp_path: Path, settings: Settings) -> None:
    added = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    assert remove_model("mine", settings) == added
    assert list(settings.models_dir.iterdir()) == []
    with pytest.raises(UnknownModelError):
        remove_model("mine", settings)


def test_a_second_card_is_removed_without_the_model_of_the_first(
    tmp_path: Path, settings: Settings
) -> None:
    model = add_model(write(tmp_path / "y1.onnx", averaging()), settings, claims())
    for name in ("twin", "y1"):  # with a name of its own, or just copied
        twin = model.card.model_copy(update={"name": name}).to_json().encode()
        card_file = write(settings.models_dir / "twin.json", twin)
        removed = remove_model("twin", settings)
        assert isinstance(removed, CardFault)
        assert removed.path == card_file
        assert list_models(settings) == [model]
        model.verify()
        assert not card_file.exists()


def test_a_card_that_cannot_be_read_is_removed_and_its_file_stays(
    tmp_path: Path, settings: Settings
) -> None:
    model = add_model(write(tmp_path / "mine.onnx", averaging()), settings, claims())
    write(settings.models_dir / "mine.json", b"{}")
    assert isinstance(remove_model("mine", settings), CardFault)
    assert list(settings.models_dir.iterdir()) == [model.path]


def test_a_card_that_comes_with_arcwise_is_not_removed(tmp_path: Path, settings: Settings) -> None:
    card_file = write(tmp_path / "shipped" / "house.json", b"{}")
    with pytest.raises(ModelError, match=r"house\.json is not a model card"):
        remove_model("house", settings)
    assert card_file.is_file()


def test_only_the_users_own_models_can_be_removed(tmp_path: Path, settings: Settings) -> None:
    ship(tmp_path / "shipped", "house", averaging())
    path = write(tmp_path / "file.onnx", averaging())
    save_card(write_card(path, claims()), path)
    for name in ("house", str(path)):
        with pytest.raises(ModelError, match="not in your models folder"):
            remove_model(name, settings)
    assert load_card(path).name == "file"
    assert find_model("house", settings).path.is_file()
