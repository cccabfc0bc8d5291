"""`arcwise prepare` as a person types it: output, exit codes, processes, blows in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcwise.cli.run import run
from arcwise.data.manifest import LOCK_NAME, MANIFEST_NAME, read_manifest
from arcwise.detect import build_detector
from arcwise.encode import write_image
from arcwise.image import read_image, resize_image
from arcwise.settings import Settings

N_PEOPLE, PHOTOS_EACH = 20, 10
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def people(portraits: dict[str, Path], tmp_path: Path) -> Path:
    """Two people, two photos that cannot be used and one that belongs to nobody."""
    folder = tmp_path / "people"
    for name, path in portraits.items():
        (folder / name).mkdir(parents=True)
        shutil.copy(path, folder / name)
    write_image(folder / "Nobody" / "wall.png", np.full((90, 90, 3), 200, np.uint8))
    (folder / "Grace Hopper" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    shutil.copy(portraits["Grace Hopper"], folder)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_prepare_counts_and_names_what_gave_no_crop(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path
) -> None:
    arguments = ("prepare", people, "--out", tmp_path / "out", "--workers", "1")
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
    assert (rows["photos"], rows["crops"], rows["without a crop"]) == ("5", "2", "3")
    assert (rows["people"], rows["people without a crop"]) == ("2", "1")
    assert "Grace Hopper/broken.jpg: " in err
    assert "Nobody/wall.png: no face was found" in err
    assert "grace_hopper.jpg: it lies in no folder of a person" in err
    assert "no crop of Nobody" in err
    assert read_image(tmp_path / "out/crops/Eileen Collins/astronaut.png.jpg").shape == (
        144,
        144,
        3,
    )
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    plain = json.loads(out)
    assert (plain["n_photos"], plain["n_crops"], plain["n_done_before"]) == (5, 2, 5)
    assert plain["people"] == {"Eileen Collins": 1, "Grace Hopper": 1, "Nobody": 0}
    assert [failure["photo"] for failure in plain["failures"]] == [
        "Grace Hopper/broken.jpg",
        "Nobody/wall.png",
        "grace_hopper.jpg",
    ]
    assert (plain["people_without_crop"], plain["equal_photos"]) == (["Nobody"], [])


def test_only_the_first_ten_failures_are_named(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path
) -> None:
    for number in range(12):
        (people / "Nobody" / f"{number:02d}.jpg").write_text("no photo")
    code, _, err = call(capsys, "prepare", people, "-o", tmp_path / "out", "--workers", "1")
    assert code == 0
    assert "Nobody/08.jpg" in err
    assert "Nobody/09.jpg" not in err
    assert "5 more photos without a crop; --json names all" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 6, "none of the 2 photos gave a crop"),
        (["--border", "-1"], 3, "border_px"),
        (["--detector", "mtcn"], 4, "did you mean mtcnn?"),
        (["--select", "middle"], 2, "middle"),
        (["--min-face", "3"], 2, "min_face_px"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    wall = np.full((30, 30, 3), 200, np.uint8)
    for name in ("1.png", "2.png"):
        write_image(tmp_path / "people" / "Nobody" / name, wall)
    found, out, err = call(
        capsys, "prepare", tmp_path / "people", "-o", tmp_path / "out", *arguments
    )
    assert (found, out) == (code, "")
    assert words in err


def test_another_way_to_cut_needs_another_folder(
    capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path
) -> None:
    arguments = ("prepare", people, "--out", tmp_path / "out", "--workers", "1")
    assert call(capsys, *arguments)[0] == 0
    code, _, err = call(capsys, *arguments, "--border", "0")
    assert code == 3
    assert "border_px 16, now 0" in err
    assert "another folder" in err


# Real processes


@pytest.fixture(scope="module")
def crowd(portraits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty folders of ten small photos: the portraits in ever other light."""
    folder = tmp_path_factory.mktemp("crowd") / "people"
    hopper, collins = (read_image(path) for path in portraits.values())
    images = [resize_image(hopper, (200, 236)), resize_image(collins, (200, 200))]
    for number in range(N_PEOPLE * PHOTOS_EACH):
        image = images[number % 2].astype(np.int16) + number // 2 - 50
        place = f"Person {number // PHOTOS_EACH:02d}/{number % PHOTOS_EACH}.jpg"
        write_image(folder / place, np.clip(image, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def expected(crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run makes of the crowd, in one process."""
    out = tmp_path_factory.mktemp("expected") / "out"
    assert run(["prepare", str(crowd), "--out", str(out), "--workers", "1"]) == 0
    return content(out)


def content(out: Path) -> dict[str, bytes]:
    """Every file; the lines of the manifest in a fixed order."""
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    lines = files[MANIFEST_NAME].splitlines(keepends=True)
    return files | {MANIFEST_NAME: b"".join(sorted(lines))}


def start(crowd: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "arcwise", "prepare", str(crowd), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--workers", "2", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("the process ended or hung before it came to the point")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc with lists of children")
    pids = [int(pid) for pid in children.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def has_lines(out: Path) -> bool:
    path = out / MANIFEST_NAME
    return path.exists() and path.stat().st_size > 0


def check_whole(out: Path) -> int:
    """Each line of the manifest has its crop, whole; how many there are."""
    lines = read_manifest(out)
    for line in lines:
        assert line.crop is not None
        assert read_image(out / line.crop).shape == (144, 144, 3)
    return len(lines)


@pytest.mark.slow
def test_many_processes_make_exactly_what_one_makes(
    crowd: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(crowd, tmp_path / "out")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.endswith(f"200 crops in {tmp_path / 'out'}\n")
    assert content(tmp_path / "out") == expected


@pytest.mark.fault
def test_after_a_kill_it_goes_on_to_the_same_end_and_no_worker_stays(
    crowd: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(crowd, out)
    wait_for(lambda: has_lines(out), process)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    n_done = check_whole(out)
    assert 0 < n_done < N_PEOPLE * PHOTOS_EACH, "the kill came too late to show anything"
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.01)
    again = start(crowd, out, "--json")
    printed, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert json.loads(printed)["n_done_before"] == n_done
    assert content(out) == expected


@pytest.mark.fault
@pytest.mark.parametrize("when", ["workers start", "lines are there"])
def test_control_c_stops_soon_says_how_to_go_on_and_loses_nothing(
    crowd: Path, expected: dict[str, bytes], tmp_path: Path, when: str
) -> None:
    out = tmp_path / "out"
    process = start(crowd, out)
    if when == "workers start":
        wait_for(lambda: bool(workers_of(process)), process)
    else:
        wait_for(lambda: has_lines(out), process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert err.split("\n") == [
        "what was finished is kept; run the same again to go on",
        "arcwise: interrupted",
        "",
    ]
    assert not (out / LOCK_NAME).exists()
    assert check_whole(out) < N_PEOPLE * PHOTOS_EACH, "Ctrl-C came too late to show anything"
    again = start(crowd, out)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert content(out) == expected


@pytest.mark.fault
def test_a_killed_worker_is_told_and_the_next_run_goes_on(
    crowd: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(crowd, out)
    wait_for(lambda: has_lines(out), process)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "a worker process ended all of a sudden" in err
    assert "--workers" in err
    assert "Traceback" not in err
    check_whole(out)
    again = start(crowd, out)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert content(out) == expected


@pytest.mark.fault
def test_two_runs_on_one_folder_do_not_mix(
    crowd: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = start(crowd, out)
    wait_for((out / LOCK_NAME).exists, first)
    second = start(crowd, out)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 3
    assert f"another process ({first.pid}) is preparing" in err
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert content(out) == expected


@pytest.mark.fault
def test_a_full_disk_is_told_and_what_is_done_stays(crowd: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=12m tmpfs '{disk}' && exec \"$@\""
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    can_mount = (
        shutil.which("unshare")
        and not subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode
    )
    if not can_mount:
        pytest.skip("no mount namespace: needs Linux, util-linux and the right to mount")
    script = """
import json, sys
from pathlib import Path
from arcwise.cli.run import run
from tests.cli.test_prepare import check_whole
photos, out = sys.argv[1], Path(sys.argv[2])
ballast = out.with_name("ballast")
ballast.write_bytes(bytes(8 << 20))
arguments = ["prepare", photos, "--out", str(out), "--format", "png", "--workers", "2"]
code, n_done = run(arguments), check_whole(out)
leftovers = [str(path) for path in out.rglob("*.part")]
ballast.unlink()
print(json.dumps([code, n_done, leftovers, run([*arguments, "--json"])]))
"""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", script, str(crowd), str(disk / "out")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the disk is full: free some room" in done.stderr
    assert "Traceback" not in done.stderr
    report, end = done.stdout[: done.stdout.index("}\n[")] + "}", done.stdout.splitlines()[-1]
    code, n_done, leftovers, code_again = json.loads(end)
    assert (code, leftovers, code_again) == (3, [], 0)
    assert 0 < n_done < N_PEOPLE * PHOTOS_EACH
    assert json.loads(report)["n_done_before"] == n_done
    assert json.loads(report)["n_crops"] == N_PEOPLE * PHOTOS_EACH


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_photos_of_forty_megapixels_take_one_at_a_time(
    portraits: dict[str, Path], tmp_path: Path
) -> None:
    """One takes 0.6 GB, most of it while it is decoded; four held at once would take 1 GB."""
    image = resize_image(read_image(portraits["Eileen Collins"]), (6400, 6400))
    for number in range(4):
        write_image(tmp_path / "people" / "Eileen" / f"{number}.jpg", image)
    command = ["prepare", str(tmp_path / "people"), "--out", str(tmp_path / "out")]
    # Not getrusage: its peak starts at that of the process that started this one.
    script = f"""
import re
from pathlib import Path
from arcwise.cli.run import run
assert run({command!r} + ["--workers", "1"]) == 0
print(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text()).group(1))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    held_mb = int(done.stdout.splitlines()[-1]) / 1024
    assert held_mb < 750


def test_the_detector_takes_no_photos() -> None:
    """A chunk of which nothing can be read is no special case."""
    assert build_detector("mtcnn", Settings.from_environment()).detect([]) == []
