"""`arcwise enroll` as a real process: Ctrl-C and kill -9 in its middle, then once more."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from arcwise.encode import write_image
from arcwise.image import read_image

pytestmark = pytest.mark.fault

N_PEOPLE = 40
PHOTOS_EACH = 2


@pytest.fixture(scope="module")
def people(portraits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty folders with two photos each: the portraits in ever other light."""
    folder = tmp_path_factory.mktemp("crowd")
    images = [read_image(path) for path in portraits.values()]
    for number in range(N_PEOPLE):
        for photo in range(PHOTOS_EACH):
            image = images[photo].astype(np.int16) + number - 20
            shade = np.clip(image, 0, 255).astype(np.uint8)
            write_image(folder / f"Person {number:02d}" / f"{photo}.png", shade)
    return folder


def start(people: Path, gallery: Path, model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "arcwise", "enroll", str(people)),
            *("--gallery", str(gallery), "--model", str(model)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count_templates(gallery: Path) -> dict[str, int]:
    """Templates of each person, read without any code of ours."""
    if not gallery.exists():
        return {}
    address = f"file:{gallery}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
        try:
            rows = connection.execute(
                "SELECT name, count(*) FROM people JOIN templates ON person_id = people.id"
                " GROUP BY name"
            ).fetchall()
        except sqlite3.OperationalError:  # its tables are not made yet
            return {}
    return dict(rows)


def wait_for_people(process: subprocess.Popen[str], gallery: Path, n_people: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(count_templates(gallery)) >= n_people:
            return
        time.sleep(0.01)
    pytest.fail(f"the process ended or hung before {n_people} people were enrolled")


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_enroll_goes_on_after_a_blow(
    blow: signal.Signals, people: Path, tiny_model: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "people.db"
    process = start(people, gallery, tiny_model)
    wait_for_people(process, gallery, 3)
    process.send_signal(blow)
    _, complaint = process.communicate(timeout=60)
    if blow == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted" in complaint
        assert "Traceback" not in complaint

    kept = count_templates(gallery)
    assert 3 <= len(kept) < N_PEOPLE, "the blow came too late to show anything"
    assert set(kept.values()) == {PHOTOS_EACH}, "somebody is enrolled by half"

    again = start(people, gallery, tiny_model)
    out, complaint = again.communicate(timeout=120)
    assert again.returncode == 0, complaint
    assert "already enrolled" in out
    assert count_templates(gallery) == {
        f"Person {number:02d}": PHOTOS_EACH for number in range(N_PEOPLE)
    }
