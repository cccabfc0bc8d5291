from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arcwise.data.folder import CropFolder
from arcwise.errors import DatasetError
from arcwise.train import validate
from arcwise.train.validate import InputCrops, Validation


class Cells(nn.Module):
    """The mean color of 7x7 cells, less their mean: tells drawn people apart rather well."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(16)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, crops: Tensor) -> Tensor:
        flat = self.pool(crops).flatten(1)
        return flat - flat.mean(dim=1, keepdim=True)


def make_validation(drawn_crops: Path) -> tuple[Validation, CropFolder]:
    folder = CropFolder(drawn_crops)
    persons = [sample.person for sample in folder.samples]
    return Validation(InputCrops(folder), np.arange(len(persons)), persons), folder


def test_the_score_is_that_of_all_pairs(drawn_crops: Path) -> None:
    validation, folder = make_validation(drawn_crops)
    network = Cells()
    score = validation.score(network)
    assert (score.n_genuine, score.n_impostor) == (8 * 15, 48 * 47 // 2 - 8 * 15)
    crops = np.stack([folder.read(i) for i in range(48)])
    values = torch.from_numpy(crops).permute(0, 3, 1, 2).float().sub(127.5).div(127.5)
    vectors = nn.functional.normalize(network(values)).detach().numpy()
    errors = []
    pairs = [(i, j) for i in range(48) for j in range(i)]
    scores = np.array([vectors[i] @ vectors[j] for i, j in pairs])
    same = np.array([i // 6 == j // 6 for i, j in pairs])
    for threshold in scores:
        errors.append((np.mean(scores[same] < threshold), np.mean(scores[~same] >= threshold)))
    fnmr, fmr = min(errors, key=lambda pair: abs(pair[0] - pair[1]))
    assert score.eer == pytest.approx((fnmr + fmr) / 2, abs=0.01)


def test_the_mode_of_the_network_stays(drawn_crops: Path) -> None:
    validation, _ = make_validation(drawn_crops)
    for is_training in (True, False):
        network = Cells().train(is_training)
        validation.score(network)
        assert network.training is is_training


@pytest.mark.parametrize("samples", [[0], [0, 1, 2], [0, 6, 12]])
def test_pairs_of_both_kinds_are_needed(drawn_crops: Path, samples: list[int]) -> None:
    folder = CropFolder(drawn_crops)
    persons = [folder.samples[i].person for i in samples]
    with pytest.raises(DatasetError, match="genuine and"):
        Validation(InputCrops(folder), np.array(samples), persons)


def test_of_very_many_photos_the_first_are_scored(
    drawn_crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "MOST_PHOTOS", 14)
    validation, _ = make_validation(drawn_crops)
    score = validation.score(Cells())
    assert validation.n_photos == 14
    assert score.n_genuine + score.n_impostor == 14 * 13 // 2
