"""A card says what a model eats and gives; its digest says what can be compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from arcwise.errors import ChecksumError, ModelError, UnknownModelError
from arcwise.files import sha256_of_file
from arcwise.zoo.card import (
    InputContract,
    License,
    ModelCard,
    PublishedThreshold,
    card_path_of,
    check_file,
    load_card,
    save_card,
)

CARD = ModelCard(
    name="tiny",
    file="tiny.onnx",
    sha256="a" * 64,
    input=InputContract(),
    dimension=128,
    license=License(name="MIT", commercial_use=True),
    source="made for a test",
)


def changed(**changes: Any) -> str:
    plain = json.loads(CARD.to_json())
    for key, value in changes.items():
        if value is None:
            del plain[key]
        else:
            plain[key] = value
    return json.dumps(plain)


# Digest


def test_the_digest_of_a_card_does_not_change_between_versions() -> None:
    """Galleries are stamped with it."""
    text = (
        '{"dimension":128,"input":{"color":"rgb","layout":"nchw","mean":127.5,"size_px":112,'
        '"std":127.5},"template":"arcface","weights":"' + "a" * 64 + '"}'
    )
    assert CARD.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "b" * 64},
        {"dimension": 512},
        {"input": InputContract(size_px=128)},
        {"input": InputContract(color="bgr")},
        {"input": InputContract(mean=0)},
        {"input": InputContract(std=128)},
        {"input": InputContract(layout="nhwc")},
        {"template": "another"},
    ],
    ids=str,
)
def test_what_changes_embeddings_changes_the_digest(changes: dict[str, Any]) -> None:
    assert CARD.model_copy(update=changes).digest != CARD.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"file": "another.onnx"},
        {"grade": "demo"},
        {"license": License(name="unknown")},
        {"source": "elsewhere"},
        {"trained_on": "nobody"},
        {"threshold": PublishedThreshold(similarity=0.3, source="a page")},
        {"metrics": {"lfw": 0.99}},
        {"note": "words"},
    ],
    ids=str,
)
def test_what_only_describes_a_model_never_changes_the_digest(changes: dict[str, Any]) -> None:
    assert CARD.model_copy(update=changes).digest == CARD.digest


def test_a_whole_number_is_the_same_number() -> None:
    text = changed(input={"size_px": 112, "mean": 127.5, "std": 128})
    same = changed(input={"size_px": 112, "mean": 127.5, "std": 128.0})
    assert ModelCard.from_json(text).digest == ModelCard.from_json(same).digest


# Reading and writing


def test_a_written_card_is_read(tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    path = save_card(CARD, model)
    assert path == card_path_of(model) == tmp_path / "tiny.json"
    assert load_card(model) == load_card(path) == CARD
    assert path.read_text().endswith("}\n")


def test_a_card_that_is_missing_is_said_with_the_way_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"no model card at .*tiny\.json") as caught:
        load_card(tmp_path / "tiny.onnx")
    assert "arcwise models add" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file: Invalid JSON"),
        ("{", "the file: Invalid JSON"),
        ("[]", "the file"),
        (changed(licence={"name": "MIT"}), "licence: Extra inputs are not permitted"),
        (changed(license=None), "license: Field required"),
        (changed(license={"name": ""}), "license.name"),
        (changed(sha256="A" * 64), "sha256"),
        (changed(sha256="a" * 63), "sha256"),
        (changed(name="Über"), "name"),
        (changed(name=".hidden"), "name"),
        (changed(file="../tiny.onnx"), "file"),
        (changed(dimension=0), "dimension"),
        (changed(grade="best"), "grade"),
        (changed(task="translate"), "task"),
        (changed(template="another"), "template"),
        (changed(version=2), "version"),
        (changed(input={"colour": "rgb"}), "input.colour"),
        (changed(input={"color": "cmyk"}), "input.color"),
        (changed(input={"std": 0}), "input.std"),
        (changed(input={"mean": float("nan")}), "input.mean"),
        (changed(input={"size_px": 8}), "input.size_px"),
        (changed(threshold={"similarity": 2, "source": "x"}), "threshold.similarity"),
        (changed(threshold={"similarity": 0.3, "fmr": 0, "source": "x"}), "threshold.fmr"),
    ],
)
def test_a_wrong_card_is_refused_with_the_field_that_is_wrong(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"tiny\.json is not a model card") as caught:
        load_card(path)
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_card_that_is_no_text_is_refused() -> None:
    with pytest.raises(ModelError, match="not a model card"):
        ModelCard.from_json(b"\xff\xfe\x00")


def test_a_card_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CARD.dimension = 3  # type: ignore[misc]


# The file


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"weights")
    card = CARD.model_copy(update={"sha256": sha256_of_file(path)})
    check_file(card, path)
    path.write_bytes(b"weighty")
    with pytest.raises(ChecksumError, match=f"its card says {card.sha256}") as caught:
        check_file(card, path)
    assert sha256_of_file(path) in str(caught.value)
    assert caught.value.hint
