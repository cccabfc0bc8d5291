"""Where a graph runs, and what happens when it cannot."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from arcwise import session as session_module
from arcwise.errors import SessionError
from arcwise.session import (
    Choice,
    Session,
    available_providers,
    choose_provider,
    import_runtime,
)
from tests.tiny_models import build_graph, flattening, write

TWICE = build_graph(
    [
        helper.make_node("Add", ["input", "input"], ["output0"]),
        helper.make_node("Neg", ["input"], ["output1"]),
    ],
    takes=("N", 2),
    gives=(("N", 2), ("N", 2)),
)


@pytest.fixture
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "available_providers", lambda: ("cpu",))


@pytest.fixture
def cuda_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime built with CUDA on a machine without its driver: it quietly runs on the CPU."""

    def load(model: bytes, options: Any, *, providers: list[str]) -> Any:
        assert providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return onnxruntime.InferenceSession(model, options, providers=providers[1:])

    runtime = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=load,
    )
    monkeypatch.setattr(session_module, "import_runtime", lambda: runtime)


# Providers


def test_the_cpu_is_always_there() -> None:
    assert "cpu" in available_providers()
    assert choose_provider("cpu", strict=True).why == "as asked"


@pytest.mark.parametrize(
    ("there", "best"),
    [(("cpu",), "cpu"), (("cpu", "coreml"), "coreml"), (("cpu", "cuda", "coreml"), "cuda")],
)
def test_auto_takes_the_fastest_and_says_so(
    there: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "available_providers", lambda: there)
    choice = choose_provider("auto", strict=True)
    assert choice.provider == best
    assert choice.why == f"auto: the fastest of {', '.join(there)}"


@pytest.mark.usefixtures("only_cpu")
def test_a_missing_provider_is_replaced_by_the_cpu_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        session = Session(TWICE, provider="cuda")
    assert session.choice.provider == "cpu"
    assert session.choice.why == "cuda was asked for and is not available"
    assert session.providers == ("CPUExecutionProvider",)
    assert "cuda is not available, running on cpu" in caplog.text


@pytest.mark.usefixtures("only_cpu")
@pytest.mark.parametrize(("wanted", "word"), [("cuda", "nvidia-smi"), ("coreml", "macOS")])
def test_strict_refuses_a_missing_provider(wanted: Any, word: str) -> None:
    with pytest.raises(SessionError, match=rf"{wanted} is not available \(there are: cpu\)") as e:
        Session(TWICE, provider=wanted, strict=True)
    assert word in e.value.hint


@pytest.mark.usefixtures("cuda_that_does_not_start")
def test_a_provider_that_does_not_start_is_not_claimed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session = Session(TWICE, provider="auto")
    assert session.choice.provider == "cpu"
    assert session.choice.why == "cuda did not start"
    assert "cuda did not start, the graph runs on cpu" in caplog.text


@pytest.mark.usefixtures("cuda_that_does_not_start")
def test_strict_refuses_a_provider_that_does_not_start() -> None:
    with pytest.raises(SessionError, match="the graph runs on cpu, not on cuda"):
        Session(TWICE, provider="cuda", strict=True)


@pytest.mark.usefixtures("only_cpu")
def test_graphs_that_share_a_choice_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choice = choose_provider("cuda")
        sessions = [Session(TWICE, provider=choice) for _ in range(3)]
    assert [session.choice for session in sessions] == [choice] * 3
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("cuda_that_does_not_start")
def test_strict_holds_for_a_choice_made_before() -> None:
    with pytest.raises(SessionError, match="not on cuda"):
        Session(TWICE, provider=Choice("cuda", "as asked"), strict=True)


def test_a_missing_runtime_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SessionError, match="onnxruntime cannot be loaded") as caught:
        import_runtime()
    assert "arcwise[cpu]" in caught.value.hint


# Running


def test_a_graph_gives_its_outputs_in_order_or_those_named() -> None:
    session = Session(TWICE, provider="cpu")
    batch = np.array([[1, 2], [3, 4]], np.float32)
    twice, negative = session.run(batch)
    np.testing.assert_array_equal(twice, 2 * batch)
    np.testing.assert_array_equal(negative, -batch)
    (only,) = session.run(batch, ["output1"])
    np.testing.assert_array_equal(only, -batch)
    assert session.input_name == "input"
    assert session.output_names == ("output0", "output1")


def test_the_answer_belongs_to_the_caller() -> None:
    session = Session(TWICE, provider="cpu")
    first = session.run(np.ones((1, 2), np.float32))[0]
    first += 1
    session.run(np.zeros((1, 2), np.float32))
    assert first.tolist() == [[3, 3]]


def test_a_file_runs_as_its_bytes_do(tmp_path: Path) -> None:
    path = write(tmp_path / "twice.onnx", TWICE)
    batch = np.ones((3, 2), np.float32)
    from_file = Session(path, provider="cpu", threads=1).run(batch)
    np.testing.assert_array_equal(from_file, Session(TWICE, provider="cpu").run(batch))


@pytest.mark.parametrize(("batch", "most"), [("N", None), (1, 1), (4, 4)])
def test_the_batch_a_graph_was_frozen_to_is_known(batch: int | str, most: int | None) -> None:
    session = Session(flattening(size_px=16, batch=batch), provider="cpu")
    assert session.max_batch == most
    assert session.input_shape == (batch, 3, 16, 16)


# Errors


@pytest.mark.parametrize("content", [b"", b"not a graph", TWICE[: len(TWICE) // 2]])
def test_a_broken_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="onnxruntime cannot load the graph"):
        Session(content, provider="cpu")
    path = write(tmp_path / "broken.onnx", content)
    with pytest.raises(SessionError, match=r"onnxruntime cannot load .*broken\.onnx") as caught:
        Session(path, provider="cpu")
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"nowhere\.onnx"):
        Session(tmp_path / "nowhere.onnx", provider="cpu")


@pytest.mark.parametrize(
    "batch", [np.ones((1, 3), np.float32), np.ones(2, np.float32), np.ones((1, 2), np.float64)]
)
def test_a_wrong_input_is_refused_with_its_shape(batch: np.ndarray) -> None:
    with pytest.raises(SessionError, match="failed on an input of shape") as caught:
        Session(TWICE, provider="cpu").run(batch)
    assert str(batch.shape) in str(caught.value)
    assert "it expects ('N', 2)" in caught.value.hint


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(SessionError, match="wrong"):
        Session(TWICE, provider="cpu").run(np.ones((1, 2), np.float32), ["wrong"])
