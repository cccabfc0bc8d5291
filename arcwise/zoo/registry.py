"""Where models are found: the shipped ones, the user's own folder, or a file that is named.

It does not run models and never goes to the network.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from arcwise.errors import ArcwiseError, InputError, ModelError, UnknownModelError
from arcwise.files import read_bytes, sha256_of_file, translate_os_errors, write_atomically
from arcwise.settings import Settings
from arcwise.zoo.card import (
    Grade,
    InputContract,
    License,
    ModelCard,
    PublishedThreshold,
    card_path_of,
    check_file,
    load_card,
    save_card,
)
from arcwise.zoo.graph import GraphFacts, check_size, inspect_graph

Origin = Literal["shipped", "own", "file"]
SHIPPED_DIR = Path(__file__).parent / "shipped"
_CALIBRATION_SUFFIX = ".calibration.json"  # may lie beside a model and is no card


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is there.

    Attributes:
        card: what is known of it.
        path: of the model file.
        origin: shipped with arcwise, in the user's own folder, or a file named by path.
    """

    card: ModelCard
    path: Path
    origin: Origin

    def verify(self) -> None:
        """Compare the file with its card.

        Raises:
            ChecksumError: it is another file.
        """
        check_file(self.card, self.path)


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model that is used when none is named, and why this one."""

    model: Model
    why: str


@dataclass(frozen=True, slots=True)
class CardFault:
    """A card that leads to no model.

    Attributes:
        name: of the card's file, without .json; of the model when the card can be read.
        path: of the card.
        error: what is wrong with it.
    """

    name: str
    path: Path
    error: ArcwiseError

    def answers_to(self, name: str) -> bool:
        """Whether the card is meant by a name: the model's, or that of the card's file."""
        return name in (self.name, self.path.stem)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What lies in the folders of models.

    Attributes:
        models: shipped ones first, each kind by the names of the cards' files.
        faults: the cards that cannot be used, in the same order.
    """

    models: tuple[Model, ...]
    faults: tuple[CardFault, ...]


def survey_models(settings: Settings) -> Shelf:
    """Everything in the folders of models. One bad card does not hide the good ones."""
    folders: tuple[tuple[Path, Origin], ...] = (
        (SHIPPED_DIR, "shipped"),
        (settings.models_dir, "own"),
    )
    models: list[Model] = []
    faults: list[CardFault] = []
    for folder, origin in folders:
        for card_file in sorted(folder.glob("*.json")):
            if card_file.name.endswith(_CALIBRATION_SUFFIX) or card_file.is_dir():
                continue
            name = card_file.stem
            try:
                card = load_card(card_file)
                name = card.name
                models.append(Model(card, _find_file(card, card_file), origin))
            except (ModelError, InputError) as exc:
                faults.append(CardFault(name, card_file, exc))
    return Shelf(tuple(models), tuple(faults))


def list_models(settings: Settings) -> list[Model]:
    """The models that can be used, in the order of `survey_models`, which also tells the faults."""
    return list(survey_models(settings).models)


def _find_file(card: ModelCard, beside: Path) -> Path:
    """The model file of a card: beside it, and with its name, so that it has no second card."""
    card_file = card_path_of(beside)
    stem = Path(card.file).stem
    if stem != card_file.stem:
        raise ModelError(
            f"the card {card_file} belongs to {card.file}",
            hint=f"rename it to {stem}.json, or delete it if {card.file} has another card",
        )
    path = beside.parent / card.file
    if not path.is_file():
        raise UnknownModelError(
            f"the card {card_file} names {card.file}, which is not beside it",
            hint="put the file back, or delete the card",
        )
    return path


def find_model(name_or_path: str | Path, settings: Settings) -> Model:
    """The model of a name, or the model file at a path with its card beside it.

    Raises:
        UnknownModelError: there is none, or its file is gone.
        ModelError: its card is none, or that of another file.
        InputError: its card cannot be read.
    """
    text = str(name_or_path)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser fails for "~nobody"
    if path.suffix in (".onnx", ".json") or path.is_file():
        card = load_card(path)
        return Model(card, _find_file(card, path), "file")
    shelf = survey_models(settings)
    for model in shelf.models:
        if model.card.name == text:
            return model
    for fault in shelf.faults:
        if fault.answers_to(text):
            raise fault.error
    names = [model.card.name for model in shelf.models]
    close = get_close_matches(text, names, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif names:
        hint = f"there are: {', '.join(names)}; or give the path of an .onnx file"
    else:
        hint = "add your own with `arcwise models add FILE.onnx`, or give the path of an .onnx file"
    raise UnknownModelError(f"no model is called {text!r}", hint=hint)


def default_model(settings: Settings) -> DefaultModel:
    """The embedding model to use when none is named.

    ARCWISE_MODEL decides; else the shipped one; else the user's own if there is exactly one.

    Raises:
        UnknownModelError: there is none, or several and none is preferred.
    """
    if settings.model:
        return DefaultModel(find_model(settings.model, settings), "named by ARCWISE_MODEL")
    shelf = survey_models(settings)
    models = [model for model in shelf.models if model.card.task == "embed"]
    shipped = [model for model in models if model.origin == "shipped"]
    if shipped:
        return DefaultModel(shipped[0], "comes with arcwise")
    if len(models) == 1:
        usable = " that can be used" if shelf.faults else ""
        return DefaultModel(models[0], f"the only one in your models folder{usable}")
    if models:
        names = ", ".join(model.card.name for model in models)
        raise UnknownModelError(
            f"several embedding models are there: {names}",
            hint="choose one with --model NAME or ARCWISE_MODEL",
        )
    if shelf.faults:
        error = shelf.faults[0].error
        raise UnknownModelError(f"no embedding model can be used: {error}", hint=error.hint)
    raise UnknownModelError(
        "no embedding model is installed; detection and alignment work without one",
        hint="add your own ArcFace model: `arcwise models add FILE.onnx --input rgb,127.5,127.5 "
        "--license WORDS`, or make one with `arcwise convert`",
    )


@dataclass(frozen=True, slots=True)
class Claims:
    """What only its owner can say of a model.

    Attributes:
        license: what it may be used for; None takes the card that lies beside the file, in which
            the other claims replace what it says.
        contract: color order, mean and std; None when the graph normalizes by itself.
        name: the name to ask for; None takes it from the file's name.
        source: where the model comes from.
        threshold: the publisher's, when there is one.
        grade: how far to trust it.
    """

    license: License | None = None
    contract: InputContract | None = None
    name: str | None = None
    source: str = ""
    threshold: PublishedThreshold | None = None
    grade: Grade = "unknown"


def write_card(source: Path, claims: Claims) -> ModelCard:
    """The card of an embedding model, from what its graph and its owner say; writes nothing.

    Raises:
        ModelError: no embedding model; no license; or the input contract is needed and missing,
            or would be applied in addition to the graph's own.
        InputError: graph and owner contradict each other.
    """
    if claims.license is None:
        raise ModelError(
            f"nobody said what {source} may be used for",
            hint="say --license WORDS: an SPDX identifier or the publisher's words",
        )
    facts = inspect_graph(source)
    contract = _choose_contract(source, facts, claims.contract)
    if facts.dimension is None:
        raise ModelError(
            f"{source} does not say how long its embedding is",
            hint="export it with a fixed output dimension",
        )
    stated_px = contract.size_px if "size_px" in contract.model_fields_set else None
    size_px = check_size(facts, stated_px, source)
    color = "gray" if facts.channels == 1 else contract.color
    name = claims.name or re.sub(r"[^a-z0-9._-]+", "-", source.stem.lower()).lstrip("._-")
    plain = contract.model_dump() | {"layout": facts.layout, "size_px": size_px, "color": color}
    try:
        return ModelCard(
            name=name,
            file=f"{name}.onnx",
            sha256=sha256_of_file(source),
            input=InputContract(**plain),
            dimension=facts.dimension,
            grade=claims.grade,
            license=claims.license,
            source=claims.source or f"added from {source.name}",
            threshold=claims.threshold,
        )
    except ValidationError as exc:
        raise ModelError(
            f"no model can be called {name!r}",
            hint="use lowercase letters, digits, '-', '_' and '.'",
        ) from exc


def _choose_contract(source: Path, facts: GraphFacts, given: InputContract | None) -> InputContract:
    if given is None and not facts.normalizes:
        raise ModelError(
            f"{source} does not normalize its input by itself, and nobody said how to",
            hint="say it: --input rgb,127.5,127.5 (InsightFace), --input bgr,127.5,127.5 "
            "(AdaFace), --input rgb,0,1 (raw pixels)",
        )
    if given is None:
        return InputContract(size_px=facts.size_px or 112, mean=0.0, std=1.0)
    if facts.normalizes and (given.mean, given.std) != (0.0, 1.0):
        raise ModelError(
            f"{source} normalizes its input by itself, mean {given.mean:g} and std {given.std:g} "
            "would do it twice",
            hint=f"say --input {given.color},0,1 or leave --input out",
        )
    return given


def add_model(source: Path, settings: Settings, claims: Claims | None = None) -> Model:
    """Copy the user's own embedding model into the models folder, with its card.

    Args:
        source: the .onnx file.
        settings: say where the folder is.
        claims: what only the owner can say; None when a card beside the file says it all.

    Raises:
        ModelError: see `write_card`; or that name is taken by another model, or by this one
            under another license.
        ChecksumError: the card beside the file belongs to another file.
        UnknownModelError: no license claimed, and no card beside the file.
        InputError: `source` is a card, or the folder cannot be written.
    """
    if source.suffix == ".json":
        raise InputError(f"{source} is a card", hint=f"give {source.with_suffix('.onnx')}")
    if claims is None or claims.license is None:
        card = load_card(source)
        check_file(card, source)
        if claims is not None and claims != Claims():
            card = _revise_card(card, source, claims)
        card = card.model_copy(update={"file": f"{card.name}.onnx"})
    else:
        card = write_card(source, claims)
    target = settings.models_dir / card.file
    for taken in (card_path_of(SHIPPED_DIR / card.file), card_path_of(target)):
        if taken.is_file():
            _check_same(_load_taken(taken, card.name), card)
    write_atomically(target, read_bytes(source))
    save_card(card, target)
    return Model(card, target, "own")


def _revise_card(card: ModelCard, source: Path, claims: Claims) -> ModelCard:
    whole = replace(
        claims,
        license=card.license,
        contract=claims.contract or card.input,
        name=claims.name or card.name,
        source=claims.source or card.source,
        threshold=claims.threshold or card.threshold,
        grade=card.grade if claims.grade == "unknown" else claims.grade,
    )
    kept = {"trained_on": card.trained_on, "metrics": card.metrics, "note": card.note}
    return write_card(source, whole).model_copy(update=kept)


def _load_taken(card_file: Path, name: str) -> ModelCard:
    try:
        return load_card(card_file)
    except (ModelError, InputError) as exc:
        raise ModelError(
            f"the name {name!r} is taken by a card that cannot be read: {exc}",
            hint=f"remove it with `arcwise models remove {name}`, or choose another with --name",
        ) from exc


def _check_same(known: ModelCard, card: ModelCard) -> None:
    """Make sure that a name which is taken is taken by this very model, under this license."""
    hint = "choose another name with --name, or remove it with `arcwise models remove`"
    if known.digest != card.digest:
        raise ModelError(
            f"another model is called {card.name!r}: its file or its input differs", hint=hint
        )
    if known.license != card.license:
        raise ModelError(
            f"{card.name!r} is there under another license: {known.license.name}, commercial use "
            f"{known.license.commercial_use}; this one: {card.license.name}, commercial use "
            f"{card.license.commercial_use}",
            hint=hint,
        )


def remove_model(name: str, settings: Settings) -> Model | CardFault:
    """Delete a model and its card from the user's own folder.

    Of a card that leads to no model only the card goes: whose the file beside it is, is unknown.

    Raises:
        UnknownModelError: there is none of that name.
        ModelError: it is not one of the user's own.
        InputError: the files cannot be removed.
    """
    shelf = survey_models(settings)
    if all(model.card.name != name for model in shelf.models):
        for fault in shelf.faults:
            if fault.path.parent == settings.models_dir and fault.answers_to(name):
                with translate_os_errors(fault.path, doing="remove"):
                    fault.path.unlink()
                return fault
    model = find_model(name, settings)
    if model.origin != "own":
        raise ModelError(
            f"{name} is not in your models folder", hint="only your own can be removed"
        )
    with translate_os_errors(model.path, doing="remove"):
        card_path_of(model.path).unlink(missing_ok=True)
        model.path.unlink(missing_ok=True)
    return model
