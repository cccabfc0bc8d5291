"""Measuring a set in the layout of IJB-C as a person types it, with a tiny model."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.align import align_faces
from arcwise.cli.run import run
from arcwise.data.manifest import lock_folder
from arcwise.embed import ONNXEmbedder, to_raw
from arcwise.evaluate.vectors.embedded import EmbeddedPhotos, save_embeddings
from arcwise.evaluate.vectors.work import LOCK_NAME
from arcwise.image import read_image
from arcwise.settings import Settings
from arcwise.zoo.registry import find_model
from tests.ijb_set import N_PEOPLE, Row, build_set, pool_naively

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("ijb") / "IJBC"
    return root, build_set(root)


@pytest.fixture
def ijbc(built: tuple[Path, list[Row]], tmp_path: Path) -> Path:
    """The set, to change its meta files."""
    root = tmp_path / "IJBC"
    shutil.copytree(built[0] / "meta", root / "meta")
    (root / "loose_crop").symlink_to(built[0] / "loose_crop")
    return root


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> Call:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", "ijb", *map(str, arguments), "--model", str(tiny_model)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def raw(built: tuple[Path, list[Row]], tiny_model: Path) -> np.ndarray:
    """(N, 2, 192) of each image alone: aligned by its five points, original and mirrored."""
    root, rows = built
    embedder = ONNXEmbedder(find_model(tiny_model, Settings.from_environment()))
    found = []
    for row in rows:
        points = np.array(row.points, np.float32).reshape(1, 5, 2)
        crop = align_faces(read_image(root / "loose_crop" / row.name), points)
        both = np.concatenate([crop, crop[:, :, ::-1]])
        found.append(to_raw(embedder.embed(both)))
    return np.array(found)


def results_of(out: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(out)["results"]
    return plain


@pytest.mark.parametrize(
    ("options", "pooling"),
    [
        ((), {}),
        (("--views", "none"), {"views": "none"}),
        (("--views", "concat", "--no-norms"), {"views": "concat", "keep_norms": False}),
        (("--no-detector-scores",), {"weigh_scores": False}),
    ],
)
def test_both_tasks_give_what_loops_give(
    call: Call,
    built: tuple[Path, list[Row]],
    raw: np.ndarray,
    options: tuple[str, ...],
    pooling: dict[str, Any],
) -> None:
    root, rows = built
    code, out, err = call(root, "--json", *options)
    assert code == 0, err
    results = results_of(out)
    pooled = pool_naively(
        raw,
        np.array([row.template for row in rows]),
        np.array([row.media for row in rows]),
        np.array([row.score for row in rows]),
        **pooling,
    )
    pairs = [
        line.split()
        for line in (root / "meta" / "ijbc_template_pair_label.txt").read_text().splitlines()
    ]
    scores = np.array([pooled[int(a)] @ pooled[int(b)] for a, b, _ in pairs])
    is_same = np.array([label == "1" for *_, label in pairs])
    curve = results["1:1"]["curve"]
    assert curve["genuine"]["mean"] == pytest.approx(scores[is_same].mean(), abs=1e-5)
    assert curve["impostor"]["max"] == pytest.approx(scores[~is_same].max(), abs=1e-5)
    threshold = np.sort(scores[~is_same])[-19]  # 18 of 180 may pass
    wanted = float(np.mean(scores[is_same] > threshold))
    assert curve["tars"][0]["tar"] == pytest.approx(wanted)
    assert results["1:1"]["insightface"][0]["tar"] == pytest.approx(wanted)
    for name, people in (("G1", range(5)), ("G2", range(5, N_PEOPLE))):
        n_first = 0
        for person in people:
            for probe in (N_PEOPLE + 1 + person, 2 * N_PEOPLE + 1 + person):
                found = [float(pooled[probe] @ pooled[1 + other]) for other in people]
                n_first += int(np.argmax(found)) == person - people.start
        first = results["1:N"]["galleries"][name]["ranks"]["1"]
        assert (first["n_hits"], first["n"]) == (n_first, N_PEOPLE)


def test_the_tables_name_the_pooling_and_both_rules(
    call: Call, built: tuple[Path, list[Row]]
) -> None:
    code, out, _ = call(built[0])
    assert code == 0
    assert "N1D1F1" in out
    assert "original + mirror image" in out
    assert "TAR@FAR 1e-01 (insightface)" in out
    assert "n/a: needs 1/FAR = 1,000 impostors, has 180" in out
    assert "1:N, gallery G2" in out


def test_a_second_run_reads_no_image(call: Call, ijbc: Path, tmp_path: Path) -> None:
    first = call(ijbc, "--work", tmp_path / "work", "--json")
    (ijbc / "loose_crop").unlink()
    (ijbc / "loose_crop").mkdir()
    code, out, err = call(ijbc, "--work", tmp_path / "work", "--json", "--views", "none")
    assert code == 0
    assert "images are in" in err
    code, out, err = call(ijbc, "--work", tmp_path / "work", "--json")
    assert results_of(out) == results_of(first[1])


def test_the_default_work_folder_is_in_the_users_own(
    call: Call, ijbc: Path, own_home: Path
) -> None:
    call(ijbc, "--only", "1:1")
    (folder,) = (own_home / "ijb").iterdir()
    assert folder.name.startswith("ijbc-")
    assert sorted(path.name for path in folder.iterdir()) == ["images.npy", "progress.json"]


def test_finished_work_with_mirror_images_serves_a_run_without(
    call: Call, ijbc: Path, own_home: Path
) -> None:
    assert call(ijbc, "--only", "1:1")[0] == 0
    (ijbc / "loose_crop").unlink()
    (ijbc / "loose_crop").mkdir()
    code, _, err = call(ijbc, "--only", "1:1", "--views", "none")
    assert (code, "images are in" in err) == (0, True), err
    assert len(list((own_home / "ijb").iterdir())) == 1


def test_without_mirror_images_a_folder_of_its_own_takes_half_the_room(
    call: Call, ijbc: Path, own_home: Path
) -> None:
    assert call(ijbc, "--only", "1:1", "--views", "none")[0] == 0
    assert call(ijbc, "--only", "1:1")[0] == 0
    one, two = sorted((own_home / "ijb").iterdir())
    assert (one.name[-2:], two.name[-2:]) == ("-1", "-2")


_KILLED = """
import os, signal, sys
import arcwise.evaluate.vectors.work as work
from arcwise.cli.run import run
from arcwise.data.manifest import lock_folder

work.BLOCK_IMAGES = 16
mark, n_left = work.WorkFolder._mark, 2

def deadly_mark(self, n_done):
    global n_left
    n_left -= 1
    if n_left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(self, n_done)

work.WorkFolder._mark = deadly_mark
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.fault
def test_a_killed_command_goes_on_to_the_same_bits(
    call: Call, ijbc: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the vectors of the third block were written, before they were counted."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = ["evaluate", "ijb", ijbc, "--work", killed, "--model", tiny_model]
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, *map(str, command)],
        check=False,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert json.loads((killed / "progress.json").read_text())["n_done"] == 32
    assert (killed / LOCK_NAME).exists()  # of a process that is gone: it locks nothing
    monkeypatch.setattr("arcwise.evaluate.vectors.work.BLOCK_IMAGES", 16)
    code, out, err = call(ijbc, "--work", killed, "--json")
    assert code == 0, err
    assert "32 of" in err
    assert results_of(out) == results_of(call(ijbc, "--work", whole, "--json")[1])
    for name in ("images.npy", "progress.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


_HOLDING = """
import sys, time
from pathlib import Path
from arcwise.data.manifest import lock_folder
from arcwise.evaluate.vectors.work import LOCK_NAME

with lock_folder(Path(sys.argv[1]), name=LOCK_NAME, doing="embedding into"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.fault
def test_one_process_at_a_time_fills_a_work_folder(call: Call, ijbc: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        code, _, err = call(ijbc, "--work", folder)
        assert (code, f"another process ({holder.pid}) is embedding into" in err) == (3, True)
        assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
        holder.kill()
    assert call(ijbc, "--work", folder)[0] == 0
    assert not (folder / LOCK_NAME).exists()


def test_a_finished_folder_is_read_while_another_process_holds_it(
    call: Call, ijbc: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    assert call(ijbc, "--work", folder)[0] == 0
    with lock_folder(folder, name=LOCK_NAME, doing="embedding into"):
        assert call(ijbc, "--work", folder)[0] == 0


def test_a_work_folder_in_use_is_refused(call: Call, ijbc: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with lock_folder(tmp_path / "work", name=LOCK_NAME, doing="embedding into"):
        code, _, err = call(ijbc, "--work", tmp_path / "work")
    assert (code, "is embedding into" in err) == (3, True)


def test_images_that_are_missing_are_counted_and_told(
    call: Call, built: tuple[Path, list[Row]], ijbc: Path, tmp_path: Path
) -> None:
    root, rows = built
    lost = [row.name for row in rows if row.template == 11] + [rows[0].name]
    (ijbc / "loose_crop").unlink()
    (ijbc / "loose_crop").mkdir()
    for row in rows:
        if row.name not in lost:
            (ijbc / "loose_crop" / row.name).symlink_to(root / "loose_crop" / row.name)
    code, out, err = call(ijbc, "--json")
    assert code == 0, err
    assert f"{len(lost)} images gave no embedding, such as {rows[0].name}" in err
    results = results_of(out)
    assert results["failed_images"] == len(lost)
    assert results["1:1"]["n_failed_same"] == 1
    assert results["1:1"]["n_failed_different"] == N_PEOPLE - 1
    assert results["1:N"]["galleries"]["G1"]["n_failed_mated"] == 1


def test_saved_embeddings_instead_of_images(
    call: Call,
    built: tuple[Path, list[Row]],
    ijbc: Path,
    raw: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, rows = built
    (ijbc / "loose_crop").unlink()
    code, _, err = call(ijbc)
    assert (code, "--embeddings FILE" in err) == (3, True)
    embedded = EmbeddedPhotos(
        names=tuple(row.name for row in rows),
        raw=raw[:, 0].copy(),
        mirrored=raw[:, 1].copy(),
        digests=("",) * len(rows),
        reasons={},
        model="tiny",
        model_digest="",
    )
    path = save_embeddings(embedded, tmp_path / "images.npz")
    assert run(["evaluate", "ijb", str(ijbc), "--embeddings", str(path), "--json"]) == 0
    from_file = results_of(capsys.readouterr().out)
    code, out, _ = call(built[0], "--json")
    from_images = results_of(out)["1:1"]["curve"]["auc"]
    assert from_file["1:1"]["curve"]["auc"] == pytest.approx(from_images)


def test_embeddings_need_neither_images_nor_a_work_folder(
    call: Call, built: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    code, _, err = call(built[0], "--embeddings", "x.npz", "--work", tmp_path)
    assert (code, "vectors need neither" in err) == (2, True)


def test_images_in_a_zip_archive(call: Call, built: tuple[Path, list[Row]], ijbc: Path) -> None:
    (ijbc / "loose_crop").unlink()
    shutil.make_archive(str(ijbc / "loose_crop"), "zip", built[0], "loose_crop")
    code, out, err = call(ijbc, "--json", "--only", "1:1")
    assert code == 0, err
    assert results_of(out)["failed_images"] == 0


def test_a_set_without_1n_files_is_measured_1_to_1(call: Call, ijbc: Path) -> None:
    for path in (ijbc / "meta").glob("*.csv"):
        path.unlink()
    code, out, err = call(ijbc, "--json")
    assert code == 0
    assert "1:N is left out" in err
    assert "1:N" not in results_of(out)
    code, _, err = call(ijbc, "--only", "1:N")
    assert (code, "holds no ijbc_1N_gallery_*.csv" in err) == (3, True)


@pytest.mark.parametrize("suffix", [".json", ".md", ".html"])
def test_reports_and_the_gate(
    call: Call, built: tuple[Path, list[Row]], tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"report{suffix}"
    code, _, err = call(built[0], "--out", out)
    assert code == 0, err
    text = out.read_text()
    assert "N1D1F1" in text
    if suffix == ".html":
        assert text.count("<svg") >= 3
    if suffix == ".json":
        assert call(built[0], "--expected", out)[0] == 0
        wrong = {"results.1:1.curve.auc": 0.1}
        (tmp_path / "expected.json").write_text(json.dumps(wrong))
        code, _, err = call(built[0], "--expected", tmp_path / "expected.json")
        assert (code, "deviates" in err) == (1, True)


def test_a_folder_of_other_work_is_refused(
    call: Call, built: tuple[Path, list[Row]], ijbc: Path, tmp_path: Path
) -> None:
    assert call(built[0], "--work", tmp_path / "work", "--views", "none")[0] == 0
    code, _, err = call(built[0], "--work", tmp_path / "work")
    assert (code, "its n_views is 1, not 2" in err) == (3, True)
    path = ijbc / "meta" / "ijbc_name_5pts_score.txt"
    path.write_text(path.read_text().replace(" 0.5", " 0.6", 1))
    code, _, err = call(ijbc, "--work", tmp_path / "work", "--views", "none")
    assert (code, "its images_digest is" in err) == (3, True)


def test_the_wrong_folder_of_images_ends_the_run(
    call: Call, built: tuple[Path, list[Row]], drawn_crops: Path
) -> None:
    code, _, err = call(built[0], "--images", drawn_crops)
    assert code == 6
    assert "not among the images" in err
    assert "--images" in err
