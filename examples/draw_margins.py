"""Draw what a margin asks for between two classes: the pictures of docs/analysis.md.

    python examples/draw_margins.py docs/images

needs arcwise[train] for the margins themselves and arcwise[report] for the drawing. Both pictures
use the margins that training uses (arcwise.nn.margin), not formulae of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from arcwise.evaluate.report.maps import plot_boundaries, plot_sectors
from arcwise.files import write_atomically
from arcwise.nn.margin import Margin, apply_margin, arcface, cosface

RULES = {
    "Softmax (no margin)": Margin(),
    "SphereFace, m1 = 1.35": Margin(m1=1.35, beyond_pi="extend"),
    "CosFace, m3 = 0.35": cosface(0.35),
    "ArcFace, m2 = 0.5 rad": arcface(0.5),
}
CENTERS_DEG = 75.0  # between the two centers of the second picture


def least_angle(margin: Margin, first_deg: np.ndarray) -> np.ndarray:
    """The least angle to the other center at which a sample satisfies the rule.

    Args:
        margin: of the rule.
        first_deg: (N,) angles to the own center, degrees.

    Returns:
        (N,) degrees: where cos of it equals psi(first_deg); 180 where psi is below -1.
    """
    cosines = torch.from_numpy(np.cos(np.radians(first_deg)))
    psi = apply_margin(cosines, margin).numpy()
    return np.degrees(np.arccos(np.clip(psi, -1.0, 1.0)))


def half_sector(margin: Margin) -> float:
    """How far from its center a sample may lie on the way to the other center, degrees."""
    angles = np.linspace(0.0, CENTERS_DEG, 20_001)
    holds = least_angle(margin, angles) <= CENTERS_DEG - angles
    return float(angles[holds].max())


def main() -> None:
    """Write both pictures into the folder that was named."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    angles = np.linspace(0.0, 120.0, 121)
    boundaries = {name: (angles, least_angle(margin, angles)) for name, margin in RULES.items()}
    sectors = {name: half_sector(margin) for name, margin in RULES.items()}
    write_atomically(folder / "margin_boundaries.svg", plot_boundaries(boundaries).encode())
    drawn = plot_sectors(sectors, between_deg=CENTERS_DEG)
    write_atomically(folder / "margin_sectors.svg", drawn.encode())


if __name__ == "__main__":
    main()
