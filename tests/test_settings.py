"""The environment becomes one frozen value, or an error that names the variable."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from arcwise.errors import SettingsError
from arcwise.settings import DESCRIPTIONS, LIMITS, PREFIX, Settings


def read(**given: str) -> Settings:
    return Settings.from_environment({PREFIX + name: value for name, value in given.items()})


def test_nothing_given_is_the_plain_default() -> None:
    settings = read()
    assert settings == Settings(home=settings.home, gallery=settings.home / "gallery.db")
    assert settings.home.is_absolute()
    assert not settings.home.exists() or settings.home.is_dir()


def test_everything_given_is_taken() -> None:
    settings = read(
        HOME="/h",
        MODEL="mine",
        GALLERY="/g/people.db",
        PROVIDER="CUDA",
        STRICT="yes",
        THREADS="2",
        MAX_MEGAPIXELS="0.5",
        MIN_FACE_PX="20",
        BATCH_SIZE="3",
    )
    assert settings == Settings(
        home=Path("/h"),
        gallery=Path("/g/people.db"),
        model="mine",
        provider="cuda",
        strict=True,
        threads=2,
        max_megapixels=0.5,
        min_face_px=20,
        batch_size=3,
    )
    assert settings.max_pixels == 500_000


def test_folders_lie_in_home() -> None:
    settings = read(HOME="/h")
    assert settings.gallery == Path("/h/gallery.db")
    assert settings.models_dir == Path("/h/models")
    assert settings.calibrations_dir == Path("/h/calibrations")
    assert settings.cache_dir == Path("/h/cache/embeddings")


def test_a_tilde_is_the_users_folder() -> None:
    assert read(HOME="~/faces").home == Path.home() / "faces"
    assert read(GALLERY="~/g.db").gallery == Path.home() / "g.db"


def test_the_environment_of_the_process_is_read(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCWISE_BATCH_SIZE", " 7 ")
    settings = Settings.from_environment()
    assert settings.home == own_home
    assert settings.batch_size == 7


def test_an_empty_value_counts_as_not_given() -> None:
    assert read(THREADS="  ", PROVIDER="", HOME="").provider == "auto"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVIDER", "gpu"),
        ("STRICT", "maybe"),
        ("THREADS", "-1"),
        ("THREADS", "two"),
        ("THREADS", "1.5"),
        ("THREADS", "1e12"),
        ("THREADS", "1025"),
        ("THREADS", "9" * 5000),
        ("MIN_FACE_PX", "10001"),
        ("BATCH_SIZE", "4097"),
        ("MAX_MEGAPIXELS", "inf"),
        ("MIN_FACE_PX", "11"),
        ("MIN_FACE_PX", "39.9"),
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "inf"),
        ("MAX_MEGAPIXELS", "0"),
        ("MAX_MEGAPIXELS", "nan"),
        ("HOME", "~nobody-of-that-name/faces"),
        ("GALLERY", "~nobody-of-that-name/g.db"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_try(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"ARCWISE_{name}.*{value}") as caught:
        read(**{name: value})
    assert caught.value.hint


def test_a_number_beyond_all_photos_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ARCWISE_MAX_MEGAPIXELS\) is 1e\+305") as caught:
        read(MAX_MEGAPIXELS="1e305")
    assert "10,000" in caught.value.hint


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_themselves_are_allowed(name: str) -> None:
    for value in LIMITS[name][1:]:
        assert getattr(read(**{name.upper(): str(value)}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_face_px", 5),
        ("min_face_px", 24.5),
        ("threads", "2"),
        ("batch_size", 0),
        ("max_megapixels", float("nan")),
        ("provider", "gpu"),
        ("strict", 1),
        ("home", "/h"),
        ("gallery", None),
    ],
)
def test_a_wrong_value_is_refused_wherever_it_comes_from(name: str, value: Any) -> None:
    settings = read(HOME="/h")
    with pytest.raises(SettingsError, match=f"{name}.*{value}") as caught:
        dataclasses.replace(settings, **{name: value})
    assert caught.value.hint


def test_a_misspelt_variable_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        read(MODLE="mine")
    (record,) = caplog.records
    assert "ARCWISE_MODLE is not a setting" in record.getMessage()
    assert "ARCWISE_MODEL?" in record.getMessage()


def test_a_variable_that_resembles_no_setting_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    read(TEST_DATA="/data", KUBERNETES_SERVICE="x")
    Settings.from_environment({"ARCWISE_MODLES": " ", "OTHER_MODLE": "x"})
    assert caplog.records == []


def test_every_setting_is_described() -> None:
    fields = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert set(DESCRIPTIONS) == fields


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().threads = 3  # type: ignore[misc]
