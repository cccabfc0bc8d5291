"""Which pairs of a list are meant: its folds, and people who are left out or must not be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arcwise.cli.overlap import find_known
from arcwise.cli.show import count, make_printable, print_note
from arcwise.errors import SettingsError

if TYPE_CHECKING:
    from arcwise.types import Pair


def parse_folds(option: str, text: str | None) -> tuple[int, ...]:
    """Numbers of folds, such as 1,2; each once.

    Args:
        option: the name it has for the user, for the error.
        text: what was given, or None for no numbers.

    Raises:
        SettingsError: a part is not a number from 1.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise SettingsError(
            f"{option} is {text!r}", hint="give numbers from 1, parted by commas, such as 1,2"
        )
    return tuple(sorted({int(word) for word in words}))


def keep_pairs(pairs: Sequence[Pair], folds: tuple[int, ...], leave_out: Path | None) -> list[Pair]:
    """The pairs of some folds, without the people of a training list.

    Args:
        pairs: of a list.
        folds: counted from 1; none means all.
        leave_out: a list of PERSON/FILE, or None.

    Raises:
        InputError: a fold that the list has not, no pair is left, or it cannot be known who of
            the pairs is in the training list; see `find_known`.
    """
    from arcwise.evaluate.sets.pairs import drop_people, keep_folds

    kept = keep_folds(pairs, folds) if folds else list(pairs)
    if leave_out is None:
        return kept
    people = find_known(kept, leave_out)
    left = drop_people(kept, people)
    shown, source = count(len(people), "person", "people"), make_printable(leave_out.name)
    print_note(f"{len(left)} of {len(kept)} pairs are left without {shown} of {source}")
    return left
