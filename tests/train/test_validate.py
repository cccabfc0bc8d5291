from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arcwise.data.folder import CropFolder
from arcwise.encode import write_image
from arcwise.errors import DatasetError
from arcwise.nn.losses import build_rule
from arcwise.nn.partial_fc import PartialHead
from arcwise.nn.rule import ELSEWHERE
from arcwise.train import validate
from arcwise.train.validate import InputCrops, KnownPeople, KnownScore, Validation, embed_crops
from tests.ranks.threads import join_threads, run_threads


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


def test_of_very_many_photos_those_of_some_people_are_scored(
    drawn_crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "MOST_PHOTOS", 14)
    validation, _ = make_validation(drawn_crops)
    score = validation.score(Cells())
    assert validation.n_photos == 14
    assert score.n_genuine + score.n_impostor == 14 * 13 // 2
    assert score.n_genuine == 15 + 15 + 1  # of six, six and two photos
    monkeypatch.setattr(validate, "_MOST_OF_ONE", 2)
    validation, _ = make_validation(drawn_crops)
    assert validation.score(Cells()).n_genuine == 7  # two photos of each of seven people


def test_the_score_of_the_first_rank_is_that_of_all(drawn_crops: Path) -> None:
    """Also a rate that is not known, and whatever the networks of the others say."""
    validation, folder = make_validation(drawn_crops)
    few = np.array([0, 1, 6])
    persons = [folder.samples[i].person for i in few]
    small = Validation(InputCrops(folder), few, persons)
    ranks = join_threads(2)
    for one in (validation, small):
        networks = [Cells(), nn.Sequential(Cells(), nn.Linear(147, 2))]
        alone = one.score(networks[0])
        assert run_threads(2, lambda r: one.score(networks[r], ranks[r])) == [alone] * 2  # noqa: B023
    assert alone.tar is None


# What a network takes


class Photos:
    """Crops of random pixels."""

    def __init__(self, n: int, side_px: int) -> None:
        rng = np.random.default_rng(side_px)
        self.pixels = rng.integers(0, 256, (n, side_px, side_px, 3), np.uint8)
        self.samples = ()
        self.side_px, self.border_px = side_px, 0

    def read(self, position: int) -> Any:
        return self.pixels[position]


@pytest.mark.parametrize(("size_px", "border_px"), [(112, 16), (128, 8), (144, 0)])
def test_a_network_gets_the_middle_of_its_size(size_px: int, border_px: int) -> None:
    photos = Photos(3, 144)
    found = InputCrops(photos, size_px=size_px).read(np.array([2, 0]))
    inner = slice(border_px, border_px + size_px)
    wanted = (photos.pixels[[2, 0], inner, inner].astype(np.float64) - 127.5) / 127.5
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-6)


def test_a_gray_network_gets_one_channel_of_luma() -> None:
    photos = Photos(2, 144)
    found = InputCrops(photos, size_px=128, color="gray").read(np.arange(2))
    assert found.shape == (2, 1, 128, 128)
    red, green, blue = photos.pixels[:, 8:-8, 8:-8].astype(np.float64).transpose(3, 0, 1, 2)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    assert np.abs(found[:, 0].numpy() * 127.5 + 127.5 - luma).max() <= 0.51


@pytest.mark.parametrize("side_px", [100, 113])
def test_crops_without_a_middle_of_that_size_are_refused(side_px: int) -> None:
    with pytest.raises(DatasetError, match=f"crops of {side_px}x{side_px} px for a network"):
        InputCrops(Photos(1, side_px)).read(np.array([0]))


def test_crops_of_another_size_are_cut_as_in_training(tmp_path: Path) -> None:
    """From a folder, whose crops of 144 px have a border of 8 around 128."""
    pixels = Photos(1, 144).pixels[0]
    write_image(tmp_path / "Ann" / "1.png", pixels)
    crops = InputCrops(CropFolder(tmp_path, size_px=128), size_px=128)
    found = crops.read(np.array([0]))[0].permute(1, 2, 0) * 127.5 + 127.5
    np.testing.assert_allclose(found.numpy(), pixels[8:-8, 8:-8], atol=1e-3)


def test_many_crops_are_embedded_as_one_by_one(drawn_crops: Path) -> None:
    """More than go through the network at once."""
    crops, network = InputCrops(CropFolder(drawn_crops)), Cells()
    places = np.arange(70) % 48
    found = embed_crops(network, crops, places)
    one = [network(crops.read(places[i : i + 1])).detach().numpy()[0] for i in (0, 63, 64, 69)]
    np.testing.assert_allclose(found[[0, 63, 64, 69]], one, atol=1e-6)
    assert found.dtype == np.float32


# New photos of known people


class Means(nn.Module):
    """The mean of each channel of 16 parts of a crop, with statistics that must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(28)
        self.features = nn.BatchNorm1d(48)

    def forward(self, crops: Tensor) -> Tensor:
        features: Tensor = self.features(100 * self.pool(crops).flatten(1))
        return features


def make_known(n: int, n_people: int = 5) -> KnownPeople:
    labels = np.random.default_rng(n).integers(0, n_people, n)
    return KnownPeople(InputCrops(Photos(n, 112)), np.arange(n), labels)


def make_head(n_people: int = 5, *, loss: str = "arcface", **options: Any) -> PartialHead:
    torch.manual_seed(1)
    return PartialHead(48, n_people, build_rule(loss, scale=8), seed=3, **options)


def find_naively(known: KnownPeople, network: nn.Module, head: PartialHead) -> list[float]:
    """Accuracy and ArcFace's loss with and without margin, one photo after the other, float64."""
    vectors = embed_crops(network, known._crops, known._samples).astype(np.float64)
    weight = head.weight.detach().double().numpy().reshape(-1, head.subcenters, 48)
    rows = []
    for x, label in zip(vectors, known._labels, strict=True):
        cosines = [
            max(x @ w / (np.linalg.norm(x) * np.linalg.norm(w)) for w in own) for own in weight
        ]
        losses = []
        for margin in (0.5, 0.0):
            logits = [8 * c for c in cosines]
            logits[label] = 8 * math.cos(math.acos(cosines[label]) + margin)
            losses.append(math.log(sum(math.exp(z) for z in logits)) - logits[label])
        rows.append([float(np.argmax(cosines) == label), *losses])
    return [float(value) for value in np.mean(rows, axis=0)]


def values_of(score: KnownScore) -> list[float]:
    return [score.accuracy, score.loss_with_margin, score.loss_without_margin]


@pytest.mark.parametrize("n", [1, 7, 64, 65, 130])
@pytest.mark.parametrize("subcenters", [1, 2])
def test_known_people_are_scored_as_in_a_naive_loop(n: int, subcenters: int) -> None:
    """Whatever number of photos is left for the last part."""
    known, network, head = make_known(n), Means().eval(), make_head(subcenters=subcenters)
    found = known.score(network, head)
    assert found.n_known == n
    assert values_of(found) == pytest.approx(find_naively(known, network, head), rel=1e-5)


def test_all_centers_are_looked_at_though_training_draws_some() -> None:
    known, network = make_known(9), Means().eval()
    some, every = make_head(sample_rate=0.4), make_head()
    assert known.score(network, some) == known.score(network, every)
    assert int(some.n_draws) == 0


@pytest.mark.parametrize("loss", ["curricularface", "adaface", "elasticface", "magface"])
def test_looking_at_known_people_changes_nothing(loss: str) -> None:
    known, network, head = make_known(9), Means(), make_head(loss=loss)
    state = {name: value.clone() for name, value in head.state_dict().items()}
    state |= {name: value.clone() for name, value in network.state_dict().items()}
    for is_training in (True, False):
        network.train(is_training)
        head.train(is_training)
        first, second = (known.score(network, head) for _ in range(2))
        assert first == second
        assert network.training is head.training is head.rule.training is is_training
    for name, value in {**head.state_dict(), **network.state_dict()}.items():
        assert torch.equal(value, state[name])
    assert head.weight.grad is None


@pytest.mark.parametrize("n", [1, 2, 3, 129, 131])
@pytest.mark.parametrize("size", [2, 3])
def test_several_ranks_score_known_people_as_one_does(n: int, size: int) -> None:
    """Also where there are fewer photos than ranks, and where the last part is uneven."""
    known, network, alone = make_known(n), Means().eval(), make_head()
    ranks = join_threads(size)
    heads = [make_head(ranks=each) for each in ranks]
    found = run_threads(size, lambda r: known.score(network, heads[r]))
    assert found == [found[0]] * size
    assert values_of(found[0]) == pytest.approx(values_of(known.score(network, alone)), rel=1e-5)
    assert found[0].n_known == n


def test_who_is_elsewhere_does_not_count() -> None:
    """What fills up the last step of a rank: as if it was not there."""
    head, rows = make_head().eval(), torch.randn(4, 48)
    labels = torch.tensor([1, 3, ELSEWHERE, ELSEWHERE])
    few, padded = head(rows[:2], labels[:2]), head(rows, labels)
    assert padded.loss.item() == pytest.approx(few.loss.item())
    assert padded.accuracy == few.accuracy
