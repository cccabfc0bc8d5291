"""Embeddings that grow in a work folder, and go on after a kill."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arcwise.align import align_faces
from arcwise.errors import DatasetError, ImageError, InputError
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos
from arcwise.evaluate.vectors.work import (
    LOCK_NAME,
    EmbeddedImages,
    Work,
    WorkFolder,
    gather_images,
    is_whole,
)
from arcwise.testing import FakeEmbedder, draw_photo
from arcwise.types import Crops, Embeddings, Image

N = 11
PHOTOS = [draw_photo([i % 4], size_wh_px=(90, 90), widths_px=[50], variation=i) for i in range(N)]
NAMES = [f"{i}.jpg" for i in range(N)]
POINTS = np.stack([photo.faces[0].points_px for photo in PHOTOS])
EMBEDDER = FakeEmbedder(16)
WORK = Work(
    model_digest=EMBEDDER.digest,
    images_digest="a" * 64,
    n_images=N,
    n_views=2,
    dimension=16,
    crop_size_px=112,
    block=4,
)


def read(name: str) -> Image:
    return PHOTOS[int(name.removesuffix(".jpg"))].image


def run(folder: Path, wanted: Work = WORK) -> EmbeddedImages:
    work = WorkFolder(folder, wanted)
    list(work.fill(NAMES, POINTS, EMBEDDER, read))
    return work.load(NAMES)


def test_rows_are_the_raw_embeddings_of_both_views(tmp_path: Path) -> None:
    rows = run(tmp_path / "work").rows
    assert (rows.shape, rows.dtype) == ((N, 2, 16), np.float32)
    assert isinstance(rows, np.memmap)
    for i in range(N):
        crop = align_faces(read(NAMES[i]), POINTS[i : i + 1])
        for view, pixels in enumerate((crop, crop[:, :, ::-1])):
            found = EMBEDDER.embed(pixels)
            assert np.allclose(rows[i, view], found.vectors[0] * found.norms[0], atol=1e-5)


def test_every_name_is_told_once_it_is_on_the_disk(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path, WORK)
    told = []
    for name in work.fill(NAMES, POINTS, EMBEDDER, read):
        told.append(name)
        assert json.loads((tmp_path / "progress.json").read_text())["n_done"] >= len(told)
    assert told == NAMES
    assert list(WorkFolder(tmp_path, WORK).fill(NAMES, POINTS, EMBEDDER, read)) == []


def test_only_the_owner_can_read_the_folder(tmp_path: Path) -> None:
    run(tmp_path / "work")
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    for path in (tmp_path / "work").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def stop_after(folder: Path, n_told: int) -> None:
    filling = WorkFolder(folder, WORK).fill(NAMES, POINTS, EMBEDDER, read)
    for _ in range(n_told):
        next(filling)
    filling.close()


@pytest.mark.parametrize("n_told", [1, 4, 5, 9])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, n_told: int) -> None:
    whole = run(tmp_path / "whole")
    stop_after(tmp_path / "stopped", n_told)
    assert 0 < WorkFolder(tmp_path / "stopped", WORK).n_done <= N
    assert run(tmp_path / "stopped").rows.tobytes() == whole.rows.tobytes()
    files = [(tmp_path / run_ / "images.npy").read_bytes() for run_ in ("whole", "stopped")]
    assert files[0] == files[1]


def test_what_a_kill_left_behind_the_marker_is_replaced(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    stop_after(tmp_path / "torn", 4)
    with (tmp_path / "torn" / "images.npy").open("ab") as file:
        file.write(b"\xff" * 50)  # part of a row
    (tmp_path / "torn" / ".0123.part").write_bytes(b"{")
    assert run(tmp_path / "torn").rows.tobytes() == whole.rows.tobytes()


_KILLED = """
import os, signal, sys
from arcwise.types import Crops
import tests.evaluate.vectors.test_work as test

class Deadly(type(test.EMBEDDER)):
    n_left = int(sys.argv[2])
    def embed(self, crops: Crops):
        Deadly.n_left -= 1
        if Deadly.n_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(crops)

work = test.WorkFolder(sys.argv[1], test.WORK)
list(work.fill(test.NAMES, test.POINTS, Deadly(16), test.read))
"""


@pytest.mark.fault
@pytest.mark.parametrize("n_calls", [1, 3])  # in the first block, and in the second
def test_kill_9_in_the_middle_loses_a_block_at_most(tmp_path: Path, n_calls: int) -> None:
    whole = run(tmp_path / "whole")
    folder = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), str(n_calls)], check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    assert WorkFolder(folder, WORK).n_done == 4 * (n_calls // 2)
    assert run(folder).rows.tobytes() == whole.rows.tobytes()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_digest": "b" * 64}, "its model_digest is"),
        ({"images_digest": "b" * 64}, "its images_digest is"),
        ({"n_images": 12}, "its n_images is 11, not 12"),
        ({"dimension": 8}, "its dimension is 16, not 8"),
        ({"crop_size_px": 224}, "its crop_size_px is"),
        ({"block": 8}, "its block is 4, not 8"),
    ],
)
def test_other_work_is_refused(tmp_path: Path, change: dict[str, object], match: str) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match=match):
        WorkFolder(tmp_path, replace(WORK, **change))


def test_two_views_serve_one_but_not_the_other_way_round(tmp_path: Path) -> None:
    one = replace(WORK, n_views=1)
    both = run(tmp_path / "two")
    assert WorkFolder(tmp_path / "two", one).load(NAMES).rows.shape == (N, 2, 16)
    assert np.allclose(run(tmp_path / "one", one).rows[:, 0], both.rows[:, 0], atol=1e-6)
    with pytest.raises(InputError, match="its n_views is 1, not 2"):
        WorkFolder(tmp_path / "one", WORK)


def test_images_that_cannot_be_read_are_failed_reads_for_good(tmp_path: Path) -> None:
    def read_most(name: str) -> Image:
        if name in ("2.jpg", "8.jpg"):
            raise ImageError(f"{name} is not a photo")
        return read(name)

    points = POINTS.copy()
    points[5] = 7.0  # they coincide
    work = WorkFolder(tmp_path, WORK)
    list(work.fill(NAMES, points, EMBEDDER, read_most))
    again = WorkFolder(tmp_path, WORK)
    for found in (work.load(NAMES), again.load(NAMES)):
        assert np.flatnonzero(found.is_failed).tolist() == [2, 5, 8]
        assert found.reasons["2.jpg"] == "2.jpg is not a photo"
        assert sorted(found.reasons) == ["2.jpg", "5.jpg", "8.jpg"]
        assert not found.rows[found.is_failed].any()
        assert found.rows[~found.is_failed].any(axis=(1, 2)).all()


@pytest.mark.parametrize("first_lost", [0, 4])
def test_a_block_without_any_image_stops_the_run_and_is_not_marked(
    tmp_path: Path, first_lost: int
) -> None:
    def read_some(name: str) -> Image:
        if int(name.removesuffix(".jpg")) >= first_lost:
            raise ImageError("the disk went away")
        return read(name)

    with pytest.raises(DatasetError, match=r"none of the 4 images .* the disk went away"):
        list(WorkFolder(tmp_path, WORK).fill(NAMES, POINTS, EMBEDDER, read_some))
    assert WorkFolder(tmp_path, WORK).n_done == first_lost
    assert not run(tmp_path).reasons


def test_a_model_that_mirrors_by_itself_is_refused(tmp_path: Path) -> None:
    class Mirroring(FakeEmbedder):
        flip = True

    with pytest.raises(InputError, match="embeds the mirror image by itself"):
        list(WorkFolder(tmp_path, WORK).fill(NAMES, POINTS, Mirroring(16), read))


def test_an_error_of_the_model_is_not_a_failed_read(tmp_path: Path) -> None:
    class Broken(FakeEmbedder):
        def embed(self, crops: Crops) -> Embeddings:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(WorkFolder(tmp_path, WORK).fill(NAMES, POINTS, Broken(16), read))
    assert WorkFolder(tmp_path, WORK).n_done == 0


def _break_progress(folder: Path) -> None:
    (folder / "progress.json").write_text("{")


def _strange_progress(folder: Path) -> None:
    path = folder / "progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_done": 12}))


def _cut_rows(folder: Path) -> None:
    path = folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _lose_rows(folder: Path) -> None:
    (folder / "images.npy").unlink()


@pytest.mark.parametrize("harm", [_break_progress, _strange_progress, _cut_rows, _lose_rows])
def test_a_damaged_folder_is_refused(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    run(tmp_path)
    harm(tmp_path)
    with pytest.raises(InputError, match=r"is damaged|holds less than") as caught:
        WorkFolder(tmp_path, WORK)
    assert "delete the work folder" in caught.value.hint


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="holds other files"):
        WorkFolder(tmp_path, WORK)


def test_the_lock_of_another_process_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("123")
    assert WorkFolder(tmp_path, WORK).n_done == 0


def test_only_finished_work_is_whole(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "work")
    stop_after(tmp_path / "work", 5)
    assert not is_whole(tmp_path / "work")
    run(tmp_path / "work")
    assert is_whole(tmp_path / "work")


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GB more in"):
        WorkFolder(tmp_path, replace(WORK, n_images=10**15))


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "work"):
        with pytest.raises(InputError, match="cannot make"):
            WorkFolder(place, WORK)


def test_embeddings_made_elsewhere_come_into_the_order_of_the_images() -> None:
    raw = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    embedded = EmbeddedPhotos(
        names=("c", "a", "x"),
        raw=raw,
        mirrored=-raw,
        digests=("", "", ""),
        reasons={"d": "no face"},
        model="",
        model_digest="",
    )
    found = gather_images(embedded, ["a", "b", "c", "d", "a"])
    assert found.is_failed.tolist() == [False, True, False, True, False]
    assert found.rows[:, 0].tolist() == [[3, 4], [0, 0], [1, 2], [0, 0], [3, 4]]
    assert np.array_equal(found.rows[:, 1], -found.rows[:, 0])
    assert found.reasons == {"b": "not among the embeddings", "d": "no face"}
    one = gather_images(replace(embedded, mirrored=None), ["a"])
    assert one.rows.shape == (1, 1, 2)
