"""A small run on drawn people, and one thread, so that it is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arcwise.nn import BACKBONES, Backbone
from arcwise.train.config import TrainConfig, load_config

torch.set_num_threads(1)


class TinyNet(nn.Module):
    """Fast enough for tests, with all that a run must keep: running statistics and dropout."""

    def __init__(self, dimension: int, dropout: float) -> None:
        super().__init__()
        self.cells = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.BatchNorm2d(8), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * 49, dimension)
        self.features = nn.BatchNorm1d(dimension)

    def forward(self, crops: Tensor) -> Tensor:
        vector = self.fc(self.dropout(self.cells(crops).flatten(1)))
        embedding: Tensor = self.features(vector.float())
        return embedding


Configure = Callable[..., TrainConfig]
SETTINGS = (
    "schedule.batch_size=8",
    "schedule.epochs=3",
    "schedule.warmup_epochs=0",
    "data.validation_share=0.4",
    "network.name=tiny",
    "network.dimension=16",
    "log_every_steps=1",
    "save_every_steps=2",
    "validate_every_epochs=2",
    "threads=1",
)


@pytest.fixture
def configure(drawn_crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Makes a config of a run on the drawn crops: 5 people to learn, 3 to validate, 9 steps."""
    monkeypatch.setitem(BACKBONES, "tiny", Backbone(TinyNet))

    def make(*words: str, run: str = "run") -> TrainConfig:
        return load_config(
            None, [f"run={tmp_path / run}", f"data.folder={drawn_crops}", *SETTINGS, *words]
        )

    return make
