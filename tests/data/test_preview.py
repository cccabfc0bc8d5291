"""The sheet: originals on the left, what a recipe makes of them beside; the same for a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from arcwise.cli.preview import preview
from arcwise.data.augment import Augmentation
from arcwise.data.folder import CropFolder
from arcwise.data.preview import choose_crops, draw_preview
from arcwise.errors import ArcwiseError, DatasetError, InputError, SettingsError
from arcwise.image import read_image, resize_image

CELL_PX, GAP_PX = 160, 5  # of arcwise.draw
MIRRORED = replace(Augmentation.none(), mirror=1)


@pytest.fixture
def folder(drawn_crops: Path) -> CropFolder:
    return CropFolder(drawn_crops)


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    text_px = (sheet.shape[0] - GAP_PX) // 2 - CELL_PX - GAP_PX  # of sheets of two rows
    top = GAP_PX + row * (CELL_PX + text_px + GAP_PX)
    left = GAP_PX + column * (CELL_PX + GAP_PX)
    return sheet[top : top + CELL_PX, left : left + CELL_PX]


def test_each_row_is_a_crop_and_its_versions(folder: CropFolder) -> None:
    sheet = draw_preview(folder, MIRRORED, n_crops=2, n_versions=2)
    assert sheet.shape[1] == 3 * (CELL_PX + GAP_PX) + GAP_PX
    middle = slice(folder.border_px, folder.border_px + 112)
    for row, position in enumerate(choose_crops(folder, 2, seed=1)):
        crop = np.ascontiguousarray(folder.read(position)[middle, middle])
        wanted = [crop, *[np.ascontiguousarray(crop[:, ::-1])] * 2]
        for column, image in enumerate(wanted):
            found = cell(sheet, row, column)
            np.testing.assert_array_equal(found, resize_image(image, (CELL_PX, CELL_PX)))


def test_a_sheet_is_the_same_for_the_same_seed_and_another_for_another(folder: CropFolder) -> None:
    first, again, other = (
        draw_preview(folder, Augmentation(), n_crops=2, n_versions=2, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_more_versions_change_none_of_the_others(folder: CropFolder) -> None:
    few, many = (
        draw_preview(folder, Augmentation(), n_crops=2, n_versions=n_versions)
        for n_versions in (2, 4)
    )
    for row in range(2):
        for column in range(3):
            np.testing.assert_array_equal(cell(few, row, column), cell(many, row, column))


def test_versions_of_a_crop_differ(folder: CropFolder) -> None:
    sheet = draw_preview(folder, Augmentation(), n_crops=2, n_versions=4)
    assert (
        len({cell(sheet, row, column).tobytes() for row in range(2) for column in range(5)}) == 10
    )


def test_what_was_done_stands_under_each_version(folder: CropFolder) -> None:
    plain, hidden = (
        draw_preview(folder, replace(MIRRORED, erase=erase), n_crops=2, n_versions=1)
        for erase in (0, 1)
    )
    strips = [
        sheet[GAP_PX + CELL_PX : sheet.shape[0] // 2, GAP_PX + CELL_PX :]
        for sheet in (plain, hidden)
    ]
    assert (strips[0] > 200).all()  # paper
    assert (strips[1] < 100).any()  # letters


def test_as_many_people_as_there_are_are_shown(folder: CropFolder) -> None:
    eight = choose_crops(folder, 8, seed=3)
    assert len({folder.samples[position].person for position in eight}) == 8
    assert choose_crops(folder, 3, seed=3) == eight[:3]
    everything = choose_crops(folder, 1000, seed=3)
    assert sorted(everything) == list(range(len(folder.samples)))
    assert everything[:8] == eight


@pytest.mark.parametrize("wrong", [{"n_crops": 0}, {"n_versions": 0}])
def test_a_sheet_of_nothing_is_refused(folder: CropFolder, wrong: dict[str, int]) -> None:
    with pytest.raises(DatasetError, match="preview of"):
        draw_preview(folder, MIRRORED, **wrong)


def test_a_size_beyond_the_crops_is_refused(folder: CropFolder) -> None:
    with pytest.raises(InputError, match="got "):
        draw_preview(folder, MIRRORED, size_px=folder.side_px + 2)


# ── the command ──


@pytest.fixture
def call(drawn_crops: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs the command; the picture."""
    app = typer.Typer()
    app.command()(preview)

    def run(*words: str, out: str = "sheet.png") -> Path:
        place = tmp_path / out
        app([str(drawn_crops), *words, "--out", str(place)], standalone_mode=False)
        return place

    return run


def test_the_command_takes_strengths_of_a_recipe_and_of_words(
    call: Callable[..., Path],
    folder: CropFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("augment:\n  gray: 1\n  erase: 1\n")
    place = call(str(recipe), "augment.erase=0", "--rows", "2", "--versions", "3", "--seed", "5")
    wanted = draw_preview(folder, Augmentation(gray=1, erase=0), n_crops=2, n_versions=3, seed=5)
    np.testing.assert_array_equal(read_image(place), wanted)
    assert f"2 crops with 3 versions each in {place}" in capsys.readouterr().err


def test_the_command_without_a_recipe_shows_the_defaults(
    call: Callable[..., Path], folder: CropFolder
) -> None:
    np.testing.assert_array_equal(read_image(call()), draw_preview(folder, Augmentation()))


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["augment.erasing=1"], SettingsError, "did you mean augment.erase"),
        (["augment.erase=2"], SettingsError, "erase"),
        (["schedule.epochs=3"], SettingsError, "schedule.epochs=3 does not change"),
        (["a.yaml", "b.yaml"], SettingsError, "several recipes are named: a.yaml, b.yaml"),
        (["missing.yaml"], InputError, "missing.yaml"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    call: Callable[..., Path], words: list[str], error: type[ArcwiseError], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(*words)


def test_a_picture_of_an_unknown_kind_is_refused_before_the_work(call: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"cannot write sheet\.txt"):
        call(out="sheet.txt")
