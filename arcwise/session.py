"""One ONNX session: where it really runs, what its inputs and outputs are called, how it batches.

The only importer of onnxruntime (with quantize.py). It does not know what a model is for.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcwise.errors import SessionError
from arcwise.rewrite import spell_out_prelu
from arcwise.settings import Provider

log = logging.getLogger(__name__)

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
_PREFERENCE = ("cuda", "coreml", "cpu")


def import_runtime() -> Any:
    """The onnxruntime module.

    Raises:
        SessionError: it is not installed, or what is installed cannot be loaded.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as exc:
        raise SessionError(
            f"onnxruntime cannot be loaded: {exc}",
            hint="pip install 'arcwise[cpu]' (or 'arcwise[gpu]' on a machine with CUDA)",
        ) from exc


def available_providers() -> tuple[str, ...]:
    """Our names of the providers that the installed runtime was built with."""
    built_in = import_runtime().get_available_providers()
    return tuple(name for name, theirs in _PROVIDERS.items() if theirs in built_in)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which provider to ask for, and why.

    Attributes:
        provider: cpu, cuda or coreml.
        why: a few words for people.
    """

    provider: str
    why: str


def choose_provider(wanted: Provider, *, strict: bool = False) -> Choice:
    """Pick a provider among those that the runtime has.

    Args:
        wanted: auto takes the fastest that is there.
        strict: fail when the wanted one is not there, instead of going on with the CPU.

    Raises:
        SessionError: strict, and the wanted provider is not there.
    """
    there = available_providers()
    if wanted == "auto":
        best = next(name for name in _PREFERENCE if name in there)
        return Choice(best, f"auto: the fastest of {', '.join(there)}")
    if wanted in there:
        return Choice(wanted, "as asked")
    if strict:
        raise SessionError(
            f"provider {wanted} is not available (there are: {', '.join(there)})",
            hint=_missing_hint(wanted),
        )
    log.warning("provider %s is not available, running on cpu", wanted)
    return Choice("cpu", f"{wanted} was asked for and is not available")


def _missing_hint(wanted: str) -> str:
    if wanted == "cuda":
        return "pip uninstall onnxruntime, then pip install 'arcwise[gpu]'; check `nvidia-smi`"
    return "CoreML exists on macOS only"


class Session:
    """A loaded ONNX graph with one input and one or more outputs.

    Args:
        model: path of the file, or its bytes.
        provider: where to run, see `choose_provider`; or a choice made before, so that several
            graphs share one.
        strict: fail when the provider does not really run.
        threads: of one run; 0 lets the runtime choose.

    Raises:
        SessionError: the graph cannot be loaded, or strict and the provider does not run.
    """

    def __init__(
        self,
        model: Path | str | bytes,
        *,
        provider: Provider | Choice = "auto",
        strict: bool = False,
        threads: int = 0,
    ) -> None:
        runtime = import_runtime()
        if isinstance(provider, Choice):
            choice = provider
        else:
            choice = choose_provider(provider, strict=strict)
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors only: what matters is raised
        options.intra_op_num_threads = threads
        # Waiting threads would otherwise spin and take the processor from the rest of the work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        asked = [_PROVIDERS[choice.provider]]
        if choice.provider != "cpu":
            asked.append(_PROVIDERS["cpu"])
        described = "the graph" if isinstance(model, bytes) else str(model)
        graph = spell_out_prelu(model) if choice.provider == "cpu" else model
        try:
            self._session = runtime.InferenceSession(
                graph if isinstance(graph, bytes) else str(graph), options, providers=asked
            )
        except Exception as exc:
            raise SessionError(
                f"onnxruntime cannot load {described}: {_first_line(exc)}",
                hint="is it a whole ONNX file? `arcwise doctor` tries the runtime itself",
            ) from exc
        runs = {ours for ours, theirs in _PROVIDERS.items() if theirs in self.providers}
        if strict and choice.provider not in runs:
            raise SessionError(
                f"{described} runs on {', '.join(sorted(runs))}, not on {choice.provider}",
                hint=_missing_hint(choice.provider),
            )
        if choice.provider not in runs:
            log.warning("provider %s did not start, %s runs on cpu", choice.provider, described)
            choice = Choice("cpu", f"{choice.provider} did not start")
        self.choice = choice
        self.input_name: str = self._session.get_inputs()[0].name
        self.output_names: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())

    @property
    def providers(self) -> tuple[str, ...]:
        """The runtime's names of the providers that were really loaded, first one first."""
        return tuple(self._session.get_providers())

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """Shape of the input as the graph states it; names and None are free dimensions."""
        return tuple(self._session.get_inputs()[0].shape)

    @property
    def max_batch(self) -> int | None:
        """The batch the graph was frozen to, or None when it takes any."""
        first = self.input_shape[0] if self.input_shape else None
        return first if isinstance(first, int) and first > 0 else None

    def run(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> list[NDArray[np.float32]]:
        """Run one batch through the graph.

        Args:
            batch: the input, its first axis is the batch.
            outputs: names of the outputs wanted; all by default.

        Returns:
            One array for each output, owned by the caller.

        Raises:
            SessionError: the runtime refused the input or failed.
        """
        names = list(outputs) if outputs is not None else list(self.output_names)
        try:
            result: list[NDArray[np.float32]] = self._session.run(names, {self.input_name: batch})
        except Exception as exc:
            raise SessionError(
                f"the model failed on an input of shape {batch.shape} {batch.dtype}: "
                f"{_first_line(exc)}",
                hint=f"it expects {self.input_shape}; compare with its card",
            ) from exc
        return result


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
