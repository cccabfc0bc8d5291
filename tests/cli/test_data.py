"""`arcwise data` as a person types it: output, exit codes, bad input, blows in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arcwise.cli.run import run
from arcwise.data.known import KNOWN
from arcwise.data.lists import read_list, write_list
from arcwise.encode import write_image
from arcwise.image import read_image

ROOT = Path(__file__).resolve().parents[2]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["data", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


@pytest.fixture
def photos(drawn_crops: Path, tmp_path: Path) -> Path:
    """Eight people, six photos each."""
    return Path(shutil.copytree(drawn_crops, tmp_path / "photos"))


def rows_of(out: str) -> dict[str, str]:
    table = out.split("\n\n")[0]
    return dict(line.split("  ", 1) for line in table.splitlines()[1:])


# ── make-list ──


def test_make_list_tells_its_steps_and_writes_what_it_says(
    capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    out = photos / "train.txt"
    code, text, err = call(
        capsys, "make-list", photos, "--out", out,
        "--min-photos", 6, "--people", 5, "--max-photos", 4, "--seed", 3,
    )  # fmt: skip
    assert code == 0, err
    assert err.splitlines() == [
        f"[1/5] scanning {photos}",
        "      8 people, 48 photos",
        "[2/5] choosing people: 8 have 6 photos or more, the first 5 by name",
        "[3/5] taking 20 photos, at most 4 of one person",
        "[4/5] shuffling with seed 3",
        f"[5/5] writing {out}",
    ]
    assert {name: value.strip() for name, value in rows_of(text).items()} == {
        "people": "5",
        "photos": "20",
        "photos per person": "4.0, from 4 to 4",
    }
    listed = read_list(out).photos
    assert {(photo.path.split("/")[0], photo.person) for photo in listed} == {
        (f"person{i}", f"{i:07d}") for i in range(5)
    }
    assert [photo.person for photo in listed] != sorted(photo.person for photo in listed)


def test_the_same_seed_gives_the_same_list_and_another_seed_another(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    texts = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"{number}.txt"
        assert call(capsys, "make-list", photos, "--out", out, "--seed", seed)[0] == 0
        texts.append(out.read_text())
    assert texts[0] == texts[1] != texts[2]
    code, _, err = call(capsys, "make-list", photos, "--out", tmp_path / "3.txt", "--no-shuffle")
    assert code == 0
    assert "[4/5] keeping the order" in err
    assert (tmp_path / "3.txt").read_text().splitlines() == sorted(texts[0].splitlines())
    assert f"note: paths begin at {photos}" in err


def test_a_list_is_replaced_when_asked_only(
    capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    out = photos / "train.txt"
    out.write_text("mine\n")
    code, _, err = call(capsys, "make-list", photos, "--out", out)
    assert (code, out.read_text()) == (3, "mine\n")
    assert f"{out} exists already" in err
    assert "--overwrite replaces it" in err
    assert call(capsys, "make-list", photos, "--out", out, "--overwrite")[0] == 0
    assert len(out.read_text().splitlines()) == 48


def test_make_list_answers_in_json(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    out = photos / "train.txt"
    code, text, _ = call(capsys, "make-list", photos, "--out", out, "--people", 2, "--json")
    plain = json.loads(text)
    assert code == 0
    assert (plain["n_people"], plain["n_photos"], plain["n_people_there"]) == (2, 12, 8)
    assert (plain["n_photos_there"], plain["n_qualified"], plain["out"]) == (48, 8, str(out))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--people", "9"), 6, "9 people were asked for, 8 of 8 have"),
        (("--min-photos", "7"), 6, "none of 8 people has 7 photos, the most are 6"),
        (("--min-photos", "0"), 2, "Invalid value"),
        (("--by", "size"), 2, "Invalid value"),
    ],
)
def test_a_choice_that_cannot_be_made_writes_nothing(
    capsys: pytest.CaptureFixture[str],
    photos: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    found, _, err = call(capsys, "make-list", photos, "--out", photos / "train.txt", *arguments)
    assert found == code
    assert message in err
    assert not (photos / "train.txt").exists()


def test_bad_places_are_one_line_and_a_hint(
    capsys: pytest.CaptureFixture[str], drawn_crops: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    flat = tmp_path / "flat"
    shutil.copytree(drawn_crops / "person0", flat)
    for arguments, code, message in (
        (("stats", tmp_path / "nowhere"), 3, "does not exist"),
        (("stats", tmp_path / "empty"), 3, "holds no photos"),
        (("stats", flat), 6, "none of 0 people has a photo"),
        (("make-list", flat, "--out", tmp_path / "a.txt"), 6, "none of 0 people"),
        (("make-list", drawn_crops, "--out", tmp_path / "a.csv"), 3, "cannot write a.csv"),
        (("make-list", drawn_crops, "--out", tmp_path), 3, "is a folder"),
        (("subset", drawn_crops, "--out", flat), 3, "exists already"),
        (("pack", flat, "--out", tmp_path / "rec"), 6, "holds no crops"),
        (("unpack", drawn_crops, "--out", tmp_path / "un"), 3, "holds no record file"),
        (("check", drawn_crops, "--folds", "1"), 2, "--folds belongs to a list"),
        (("known", "lwf"), 3, "did you mean lfw?"),
    ):
        found, out, err = call(capsys, *arguments)
        assert (found, out) == (code, ""), err
        assert message in err
        assert err.splitlines()[-1].startswith("  try: ")


def test_a_name_that_is_no_text_is_refused_in_a_list_and_kept_in_a_copy(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    (photos / "person0").rename(photos / b"J\xf6rg".decode(errors="surrogateescape"))
    code, _, err = call(capsys, "make-list", photos, "--out", photos / "train.txt")
    assert code == 3
    assert "no text" in err
    assert call(capsys, "stats", photos, "--json")[0] == 0
    assert call(capsys, "check", photos)[0] == 0
    assert call(capsys, "subset", photos, "--out", tmp_path / "copy")[0] == 0
    assert sorted(os.listdir(tmp_path / "copy")) == sorted(os.listdir(photos))  # noqa: PTH208


# ── stats, subset ──


def test_stats_counts_and_draws(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    shutil.rmtree(photos / "person1")
    (photos / "person2" / "0.png").rename(photos / "stray.png")
    code, out, err = call(capsys, "stats", photos, "--min-photos", 6)
    assert code == 0
    rows = {name: value.strip() for name, value in rows_of(out).items()}
    assert (rows["people"], rows["photos"], rows["fewest"]) == ("7", "41", "5")
    assert (rows["most"], rows["people with fewer than 6"]) == ("6 (person0)", "1")
    assert out.splitlines()[-1].split() == ["5-9", "7", "#" * 40]
    assert "in no folder of a person: 1 photo" in err
    plain = json.loads(call(capsys, "stats", photos, "--json")[1])
    assert (plain["n_homeless"], plain["people"]["person2"]) == (1, 5)


def test_subset_writes_a_list_or_copies(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    rules = ("--people", 3, "--by", "count", "--max-photos", 2, "--seed", 7)
    (photos / "person5" / "more.png").write_bytes((photos / "person5" / "0.png").read_bytes())
    assert call(capsys, "subset", photos, "--out", photos / "small.txt", *rules)[0] == 0
    listed = [photo.path for photo in read_list(photos / "small.txt").photos]
    assert {path.split("/")[0] for path in listed} == {"person0", "person1", "person5"}
    assert call(capsys, "subset", photos, "--out", tmp_path / "small", *rules)[0] == 0
    copied = [
        path.relative_to(tmp_path / "small").as_posix() for path in tmp_path.glob("small/*/*")
    ]
    assert sorted(copied) == sorted(listed)
    of_list = tmp_path / "of-list"
    assert call(capsys, "subset", photos / "small.txt", "--people", 1, "--out", of_list)[0] == 0
    assert len(list(of_list.glob("*/*"))) == 2
    code, _, err = call(capsys, "subset", photos, "--out", photos / "inside")
    assert (code, "lies among the photos" in err) == (3, True)


# ── check ──


def test_check_exits_with_1_when_something_is_found_and_json_names_all(
    capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    code, out, _ = call(capsys, "check", photos)
    assert (code, out) == (0, "nothing found: 8 people, 48 photos\n")
    for number in range(12):
        (photos / "person0" / f"broken{number:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (photos / "nobody").mkdir()
    code, out, err = call(capsys, "check", photos)
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["empty", "1"], ["broken", "12"]]
    assert "arcwise: empty: nobody has no photo" in err
    assert err.count("arcwise: broken: person0/broken") == 10
    assert "arcwise: broken: 2 more; --json names all" in err
    code, out, _ = call(capsys, "check", photos, "--json")
    plain = json.loads(out)
    assert (code, plain["is_fine"], plain["counts"]) == (1, False, {"empty": 1, "broken": 12})
    assert len(plain["findings"]) == 13


def test_check_finds_who_will_be_scored(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.txt"
    same, other = "person3/0.png person3/1.png 1\n", "person3/0.png Zoe/1.png 0\n"
    pairs.write_text(same * 2 + other * 2)
    code, _, err = call(capsys, "check", photos, "--pairs", pairs, "--photos", photos / "person1")
    assert code == 1
    assert "arcwise: overlap: person3 will be scored" in err
    assert "arcwise: seen: person1/0.png will be scored as 0.png" in err
    assert "[3/3] comparing" in err


def test_a_list_that_names_a_missing_file_is_one_finding(
    capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    lines = [(f"person{i}/0.png", i) for i in range(3)] + [("person3/gone.png", 3)]
    code, out, err = call(capsys, "check", write_list(photos / "train.txt", lines))
    assert code == 1
    assert out.splitlines()[1].split()[:2] == ["missing", "1"]
    assert "person3/gone.png" in err


# ── pack, unpack, known ──


def test_pack_and_unpack_there_and_back(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    code, out, err = call(capsys, "pack", photos, "--out", tmp_path / "packed")
    assert code == 0, err
    assert "48 crops of 8 people, 112 px, 48 copied as they were" in out
    code, out, err = call(
        capsys, "unpack", tmp_path / "packed", "--out", tmp_path / "back", "--json"
    )
    assert code == 0, err
    assert json.loads(out) == {
        "root": str(tmp_path / "back"), "n_photos": 48, "n_people": 8, "n_done_before": 0,
    }  # fmt: skip
    there = sorted(path.read_bytes() for path in photos.glob("*/*.png"))
    assert sorted(path.read_bytes() for path in tmp_path.glob("back/*/*.png")) == there
    assert call(capsys, "check", tmp_path / "packed")[0] == 0
    code, _, err = call(capsys, "pack", photos, "--out", tmp_path / "packed")
    assert (code, "exists already" in err) == (3, True)


def test_known_lists_all_sets_and_tells_more_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "known")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(KNOWN)
    code, out, _ = call(capsys, "known", "WebFace600K")
    assert code == 0
    assert "617,970" in out
    assert "www.face-benchmark.org" in out
    plain = json.loads(call(capsys, "known", "lfw", "--json")[1])
    assert [(row["name"], row["n_people"], row["n_photos"]) for row in plain] == [
        ("lfw", 5749, 13233)
    ]


# ── blows ──


@pytest.mark.fault
def test_ctrl_c_in_pack_leaves_nothing_and_a_second_run_is_whole(
    drawn_crops: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    image = read_image(drawn_crops / "person0" / "0.png")
    for person in range(2):
        write_image(crops / f"{person}" / "0000.png", image)
        content = (crops / f"{person}" / "0000.png").read_bytes()
        for number in range(1, 800):
            (crops / f"{person}" / f"{number:04d}.png").write_bytes(content)
    out = tmp_path / "out" / "packed"
    out.parent.mkdir()
    command = [sys.executable, "-m", "arcwise", "data", "pack", str(crops), "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.parent.glob(".packed.*.part/.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.rstrip().endswith("arcwise: interrupted")
    assert list(out.parent.iterdir()) == []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "property").read_text() == "2,112,112\n"


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_one_line_and_leaves_nothing_half(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        for arguments in (
            ("pack", photos, "--out", disk / "packed"),
            ("subset", photos, "--out", disk / "copy"),
        ):
            code, _, err = call(capsys, *arguments)
            assert code == 3
            assert "No space left on device" in err
            assert "the disk is full" in err
            assert list(disk.iterdir()) == []
        packed = tmp_path / "packed"
        assert call(capsys, "pack", photos, "--out", packed)[0] == 0
        code, _, err = call(capsys, "unpack", packed, "--out", disk / "back")
        assert code == 3
        assert "the disk is full" in err
        assert (disk / "back" / ".unpacking.json").is_file()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
