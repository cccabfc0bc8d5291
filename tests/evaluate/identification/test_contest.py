"""Models side by side: which sections there are and what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from arcwise.evaluate.identification import evaluate_gallery
from arcwise.evaluate.identification.contest import Entrant, make_sections
from arcwise.evaluate.identification.lineup import Lineup, Side
from arcwise.evaluate.identification.scope import Scope


@pytest.fixture(scope="module")
def report():
    vectors = {"g": np.ones(2, np.float32), "q": np.ones(2, np.float32)}
    lineup = Lineup.gather(Side({"g": "a"}, vectors, {}), Side({"q": "a"}, vectors, {}))
    return evaluate_gallery(lineup, Scope(n_replicates=2))


def test_a_model_alone_is_not_in_the_title_so_that_reports_stand_side_by_side(report):
    for name in ("small", "large"):
        alone = make_sections([Entrant(name, report)])
        assert [section.title for section in alone] == ["Side by side", "Identification"]
    baseline = Entrant("PCA + SVM", report, is_baseline=True)
    both = make_sections([Entrant("small", report), baseline])
    assert [section.title for section in both] == ["Side by side", "Identification", "PCA + SVM"]


def test_several_models_have_sections_of_their_names(report):
    sections = make_sections([Entrant("small", report), Entrant("large", report)])
    assert [section.title for section in sections] == ["Side by side", "small", "large"]
