"""Photo -> detector -> alignment -> embedding -> evaluation, on weights we did not train.

MobileFaceNet y1 was published with 99.50 % on LFW. A wrong color order, template, flatten order
or fold rule costs percents, so this one number shows that the whole route is right. The full
6,000 pairs are measured by the command in docs/evaluate.md; here are 600 of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arcwise.cli.run import run

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_600_lfw_pairs_reach_98_percent_and_no_face_is_missed(
    real_data: Path, y1_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (real_data / "lfw" / "pairs_6000.txt").read_text().splitlines()
    same, different = lines[:3000], lines[3000:]
    chosen = [  # the first 30 of each class in each of the ten folds
        line
        for half in (same, different)
        for fold in range(10)
        for line in half[300 * fold : 300 * fold + 30]
    ]
    pairs = tmp_path / "pairs_600.txt"
    pairs.write_text("\n".join(chosen) + "\n")
    code = run(
        [
            *("evaluate", "verification", "--pairs", str(pairs)),
            *("--photos", str(real_data / "lfw" / "lfw-deepfunneled.zip")),
            *("--model", str(y1_model), "--protocol", "exact", "--protocol", "insightface"),
            *("--out", str(tmp_path / "report.md"), "--json"),
        ]
    )
    assert code == 0
    exact, insightface = json.loads(capsys.readouterr().out)["results"]
    assert exact["n_pairs"] == 600
    assert exact["failed_photos"] == []
    assert exact["accuracy"]["mean"] >= 0.98
    assert insightface["accuracy"]["mean"] >= 0.98
    assert exact["auc"] >= 0.998
    assert "n/a" in next(row["text"] for row in exact["tars"] if row["far"] == 1e-6)
    assert "insightface" in (tmp_path / "report.md").read_text()
