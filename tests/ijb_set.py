"""A small set in the exact file layout of IJB-C, with drawn people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcwise.encode import write_image
from arcwise.testing import draw_photo

N_PEOPLE = 10
"""The first five are in gallery G1, the others in G2; each has two probes."""


@dataclass(frozen=True)
class Row:
    """One image: its file, template, media, points and detector score."""

    name: str
    template: int
    media: int
    points: tuple[float, ...]
    score: float


def build_set(root: Path, *, name: str = "ijbc", n_people: int = N_PEOPLE) -> list[Row]:
    """Write meta/ and loose_crop/; templates 1 to n are the galleries', the rest are probes."""
    rows: list[Row] = []
    probes: list[tuple[int, int]] = []
    number, template = 0, 0
    for round_of_person in range(3):  # 0: gallery, 1 and 2: probes
        for person in range(n_people):
            template += 1
            if round_of_person:
                probes.append((template, person))
            n_frames = 1 + (person + round_of_person) % 3  # a video of some frames, and a photo
            for frame in range(n_frames + 1):
                number += 1
                photo = draw_photo(
                    [person],
                    size_wh_px=(120, 130),
                    widths_px=[70],
                    variation=4 * round_of_person + frame,
                )
                write_image(root / "loose_crop" / f"{number}.png", photo.image)
                points = tuple(round(float(v), 3) for v in photo.faces[0].points_px.ravel())
                media = 9000 + (template if frame else 500 + template)
                score = round(0.5 + 0.49 * ((7 * number) % 10) / 10, 3)
                rows.append(Row(f"{number}.png", template, media, points, score))
    galleries = {
        "G1": [(person + 1, person) for person in range(n_people // 2)],
        "G2": [(person + 1, person) for person in range(n_people // 2, n_people)],
    }
    write_meta(root / "meta", name, rows, galleries, probes)
    return rows


def write_meta(
    meta: Path,
    name: str,
    rows: list[Row],
    galleries: dict[str, list[tuple[int, int]]],
    probes: list[tuple[int, int]],
) -> None:
    """The published files, line by line."""
    meta.mkdir(parents=True, exist_ok=True)
    lines = [f"{row.name} {row.template} {row.media}" for row in rows]
    (meta / f"{name}_face_tid_mid.txt").write_text("\n".join(lines) + "\n")
    lines = [
        " ".join([row.name, *(f"{value:.3f}" for value in row.points), f"{row.score:.3f}"])
        for row in rows
    ]
    (meta / f"{name}_name_5pts_score.txt").write_text("\n".join(lines) + "\n")
    files = {row.template: row.name for row in rows}
    for gallery, people in galleries.items():
        _write_people(meta / f"{name}_1N_gallery_{gallery}.csv", people, files)
    _write_people(meta / f"{name}_1N_probe_mixed.csv", probes, files)
    enrolled = [pair for people in galleries.values() for pair in people]
    lines = [
        f"{template} {probe} {int(person == other)}"
        for template, person in enrolled
        for probe, other in probes
    ]
    (meta / f"{name}_template_pair_label.txt").write_text("\n".join(lines) + "\n")


def _write_people(path: Path, people: list[tuple[int, int]], files: dict[int, str]) -> None:
    lines = [f"{template},{1000 + person},{files[template]},1" for template, person in people]
    path.write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n" + "\n".join(lines) + "\n")


def pool_naively(
    images: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray,
    scores: np.ndarray,
    *,
    views: str = "sum",
    keep_norms: bool = True,
    weigh_scores: bool = True,
    is_failed: np.ndarray | None = None,
) -> dict[int, np.ndarray]:
    """Loops over templates, media and images, from the definition; (N, V, D) images."""
    found = {}
    for template in sorted(set(templates.tolist())):
        total = 0.0
        of_template = [i for i in range(len(images)) if templates[i] == template]
        if is_failed is not None:
            of_template = [i for i in of_template if not is_failed[i]]
        for medium in sorted({int(media[i]) for i in of_template}):
            frames = []
            for i in of_template:
                if media[i] != medium:
                    continue
                views_of = images[i].astype(np.float64)
                if views == "sum":
                    vector = views_of[0] + views_of[1]
                elif views == "concat":
                    vector = np.concatenate([views_of[0], views_of[1]])
                else:
                    vector = views_of[0]
                if not keep_norms:
                    vector = vector / np.sqrt((vector**2).sum())
                frames.append(vector * scores[i] if weigh_scores else vector)
            total = total + sum(frames) / len(frames)
        if np.ndim(total):
            found[template] = total / np.sqrt((total**2).sum())
    return found
