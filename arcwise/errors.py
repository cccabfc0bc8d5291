"""Every error arcwise raises, as one tree.

ArcwiseError                      .hint: the next thing to try
├── InputError                    what you gave: a photo, a folder, a list
│   ├── ImageError                not a photo we can read, or a photo we must not read
│   ├── NoFaceError               a face was needed and none was found
│   ├── ManyFacesError            one face was needed and several were found
│   └── LowQualityError           .reasons: why the face is not good enough
├── ModelError                    a model file, its card, or its run
│   ├── UnknownModelError         no model of that name
│   ├── DownloadError             a file could not be fetched
│   ├── ChecksumError             a file is not the one its card names
│   ├── SessionError              the runtime refused the model, the provider or the input
│   └── LicenseError              the license was not accepted
├── GalleryError                  people and what is remembered of them
│   ├── UnknownPersonError        nobody of that name
│   ├── DuplicatePersonError      that name is taken
│   ├── ModelMismatchError        the gallery was filled by another model
│   └── GalleryLockedError        another process holds the gallery or keeps changing it
├── LearningError                 training and what leads to it
│   ├── DatasetError
│   ├── CheckpointError
│   ├── NotFiniteError            a loss or a gradient is not a number any more
│   └── ExportMismatchError       the exported graph does not answer as the network does
└── SettingsError                 an environment variable or an option has a wrong value

It does not know how an error is shown: the doors (command line, server) decide that.
"""

from __future__ import annotations

from collections.abc import Iterable


class ArcwiseError(Exception):
    """Any error of arcwise: a message with the value that caused it, and a hint.

    Args:
        message: what happened, and with which value.
        hint: what to try next; empty when there is nothing sensible to try.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(ArcwiseError):
    """What was given cannot be used: a photo, a folder, a list, an argument."""


class ImageError(InputError):
    """Not a photo that can be read, or one that must not be read (too many pixels)."""


class NoFaceError(InputError):
    """A face was needed and none was found."""


class ManyFacesError(InputError):
    """One face was needed and several were found."""


class LowQualityError(InputError):
    """The face is not good enough for what was asked.

    Args:
        message: what happened.
        reasons: one sentence for each thing that is wrong with the face.
        hint: what to try next.
    """

    def __init__(self, message: str, *, reasons: Iterable[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reasons = tuple(reasons)


class ModelError(ArcwiseError):
    """A model file, its card, or its run failed."""


class UnknownModelError(ModelError):
    """No model of that name or path."""


class DownloadError(ModelError):
    """A model file could not be fetched."""


class ChecksumError(ModelError):
    """A file is not the one its card (or its pinned digest) names."""


class SessionError(ModelError):
    """The inference runtime refused the model, the provider or the input."""


class LicenseError(ModelError):
    """The license of a model was not accepted, or does not allow the use."""


class GalleryError(ArcwiseError):
    """A gallery could not be opened, read or written."""


class UnknownPersonError(GalleryError):
    """Nobody of that name is in the gallery."""


class DuplicatePersonError(GalleryError):
    """That name is taken by somebody else in the gallery."""


class ModelMismatchError(GalleryError):
    """The gallery was filled by another model; their embeddings cannot be compared."""


class GalleryLockedError(GalleryError):
    """Another process held the gallery, or kept changing it, for longer than we wait."""


class LearningError(ArcwiseError):
    """Training, or what leads to it or follows from it, failed."""


class DatasetError(LearningError):
    """A training or evaluation set is not what it should be."""


class CheckpointError(LearningError):
    """A checkpoint or a foreign weights file cannot be read as what it should be."""


class NotFiniteError(LearningError):
    """A loss or a gradient is not finite: training has come apart; no weight was changed."""


class ExportMismatchError(LearningError):
    """An exported graph does not answer as its source does; nothing was written."""


class SettingsError(ArcwiseError):
    """An environment variable or an option has a value that cannot be used."""
