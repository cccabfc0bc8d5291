"""Pairs of whatever is given: a list, or the folder of a public set with its own protocol.

Packs (.bin, .npz) hold their photos and are read by packs.py. It opens no photo.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from arcwise.errors import DatasetError, InputError
from arcwise.evaluate.sets.agedb import AGEDB_YEARS, read_agedb
from arcwise.evaluate.sets.cfp import read_cfp
from arcwise.evaluate.sets.packs import PACK_SUFFIXES
from arcwise.evaluate.sets.pairs import read_pairs
from arcwise.types import Pair

_Reader = Callable[[Path, Collection[str] | None], list[Pair]]


def _age_reader(years: int) -> _Reader:
    return lambda root, photos: read_agedb(root, years, photos=photos)


PAIR_SETS: dict[str, _Reader] = {
    "cfp-ff": lambda root, photos: read_cfp(root, "FF", photos=photos),
    "cfp-fp": lambda root, photos: read_cfp(root, "FP", photos=photos),
    **{f"agedb-{years}": _age_reader(years) for years in AGEDB_YEARS},
}
"""Protocols that are folders, by the names that `set_name` takes."""


def open_pairs(
    path: Path | str,
    *,
    photos: Collection[str] | None = None,
    n_folds: int = 10,
    set_name: str = "",
) -> list[Pair]:
    """Read pairs from a list, or from the folder of CFP or AgeDB.

    Args:
        path: a list in any dialect of `read_pairs`; a folder with `Protocol/Split` (CFP) or
            `*FINAL_protocol_30_years.mat` (AgeDB); or such a .mat.
        photos: names of the photos there are, relative to their folder, with "/".
        n_folds: number of folds for a list that does not state them.
        set_name: which protocol of a folder: one of PAIR_SETS. CFP is cfp-fp and AgeDB is
            agedb-30 where nothing is said.

    Raises:
        DatasetError: as the readers say, or a folder with no protocol or with two.
        InputError: an unknown `set_name`, one for a plain list, a pack, or an unreadable file.
    """
    path = Path(path)
    if set_name and set_name not in PAIR_SETS:
        raise InputError(f"no set {set_name!r}", hint=f"sets: {', '.join(PAIR_SETS)}")
    if path.suffix.lower() in PACK_SUFFIXES:
        raise InputError(
            f"{path} is a pack with photos of its own", hint="leave out --photos for a pack"
        )
    if path.is_dir() or path.suffix.lower() == ".mat":
        return PAIR_SETS[set_name or _find_set(path)](path, photos)
    if set_name:
        raise InputError(
            f"{path} is a list, {set_name} is a folder", hint="a list needs no name of a set"
        )
    return read_pairs(path, photos=photos, n_folds=n_folds)


def _find_set(path: Path) -> str:
    if path.is_file():
        return "agedb-30"  # one file holds one protocol, whatever its years
    has_cfp = (path / "Protocol" / "Split").is_dir()
    has_ages = any(path.glob("*FINAL_protocol_*_years.mat"))
    if has_cfp == has_ages:
        what = "protocols of CFP and of AgeDB" if has_cfp else "no protocol that we know"
        raise DatasetError(
            f"{path} holds {what}",
            hint=f"give a list, or say which set it is: {', '.join(PAIR_SETS)}",
        )
    return "cfp-fp" if has_cfp else "agedb-30"
