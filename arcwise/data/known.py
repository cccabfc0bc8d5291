"""Public sets of faces: how many people and photos, on which terms, and where to ask for them.

It downloads nothing and knows no address of a copy: who holds a set, or held it, is named. What
their terms mean for you it does not know either; read them. Where two published counts differ,
both versions of the set are listed. Each row names the source of its numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

from arcwise.errors import InputError

_ROUNDED = 0.02  # how far a count may lie from a published one that is rounded


@dataclass(frozen=True, slots=True)
class KnownSet:
    """One public set.

    Attributes:
        name: the word to ask for.
        title: how papers write it.
        use: what it was made for.
        n_people: identities (items for In-Shop); None where nobody published it.
        n_photos: images; None likewise.
        terms: in plain words.
        holder: whom to ask, or what became of it.
        source: where the numbers are from.
        is_rounded: the published counts are rounded or not from the makers.
        aliases: other names it goes by.
    """

    name: str
    title: str
    use: Literal["training", "evaluation"]
    n_people: int | None
    n_photos: int | None
    terms: str
    holder: str
    source: str
    is_rounded: bool = False
    aliases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


_MS1M = "photos of MS-Celeb-1M, which nobody in it had agreed to; non-commercial research only"
_MS1M_HOLDER = "Microsoft took MS-Celeb-1M offline in 2019; packed by InsightFace (Dataset Zoo)"
_WEBFACE = "academic research only, after signing an agreement; may not be passed on"
_WEBFACE_HOLDER = "www.face-benchmark.org"
_CONFIGS = "num_classes and num_image in the configs of InsightFace arcface_torch"
_PACKED = "header record of the file packed by InsightFace"
_LFW_TERMS = "research; the photos are from news sites, whose photographers keep their rights"

_ROWS = (
    KnownSet(
        "casia-webface", "CASIA-WebFace", "training", 10_575, 494_414,
        terms="research, after signing an agreement",
        holder="Institute of Automation, Chinese Academy of Sciences (CBSR)",
        source="Yi et al. 2014, arXiv:1411.7923",
    ),
    KnownSet(
        "casia-112", "CASIA-WebFace, packed at 112 px", "training", 10_572, 490_623,
        terms="as CASIA-WebFace; InsightFace adds: non-commercial research only",
        holder="InsightFace (Dataset Zoo)",
        source=f"{_PACKED}: 490624, 501196",
        aliases=("faces_webface_112x112", "casia"),
    ),
    KnownSet(
        "vggface2", "VGGFace2, whole", "training", 9_131, 3_311_286,
        terms="photos of a web search; check which license came with your copy",
        holder="Visual Geometry Group, Oxford, which no longer offers it",
        source="Cao et al. 2018, arXiv:1710.08092; photos: both parts added",
    ),
    KnownSet(
        "vggface2-train", "VGGFace2, training part", "training", 8_631, 3_141_890,
        terms="as vggface2",
        holder="as vggface2",
        source="Cao et al. 2018; photos: TensorFlow Datasets, vgg_face2",
    ),
    KnownSet(
        "vggface2-test", "VGGFace2, test part", "evaluation", 500, 169_396,
        terms="as vggface2",
        holder="as vggface2",
        source="Cao et al. 2018; photos: TensorFlow Datasets, vgg_face2",
    ),
    KnownSet(
        "ms1m-ibug", "MS1M-IBUG (MS1MV1)", "training", 85_164, 3_804_846,
        terms=_MS1M, holder=_MS1M_HOLDER, source=f"{_PACKED}: 3804847, 3890011",
        aliases=("ms1mv1", "faces_ms1m_112x112"),
    ),
    KnownSet(
        "ms1mv2", "MS1MV2 (MS1M-ArcFace)", "training", 85_742, 5_822_653,
        terms=_MS1M, holder=_MS1M_HOLDER, source=_CONFIGS,
        aliases=("ms1m-arcface", "faces_emore", "emore"),
    ),
    KnownSet(
        "ms1mv3", "MS1MV3 (MS1M-RetinaFace)", "training", 93_431, 5_179_510,
        terms=_MS1M, holder=_MS1M_HOLDER, source=_CONFIGS,
        aliases=("ms1m-retinaface",),
    ),
    KnownSet(
        "glint360k", "Glint360K", "training", 360_232, 17_091_657,
        terms="non-commercial research only; made of MS-Celeb-1M and web photos",
        holder="InsightFace (Dataset Zoo)",
        source=_CONFIGS,
    ),
    KnownSet(
        "webface4m", "WebFace4M", "training", 205_990, 4_235_242,
        terms=_WEBFACE, holder=_WEBFACE_HOLDER, source=_CONFIGS, aliases=("wf4m",),
    ),
    KnownSet(
        "webface12m", "WebFace12M (WebFace600K)", "training", 617_970, 12_720_066,
        terms=_WEBFACE, holder=_WEBFACE_HOLDER, source=_CONFIGS,
        aliases=("wf12m", "webface600k", "wf600k"),
    ),
    KnownSet(
        "webface42m", "WebFace42M", "training", 2_059_906, 42_474_557,
        terms=_WEBFACE, holder=_WEBFACE_HOLDER, source=_CONFIGS, aliases=("wf42m",),
    ),
    KnownSet(
        "lfw", "Labeled Faces in the Wild", "evaluation", 5_749, 13_233,
        terms=_LFW_TERMS,
        holder="University of Massachusetts, Amherst (vis-www.cs.umass.edu/lfw)",
        source="Huang et al. 2007; counted in the archive lfw-deepfunneled",
    ),
    KnownSet(
        "calfw", "Cross-Age LFW", "evaluation", None, None,
        terms="research; new photos of LFW people, with the same doubts",
        holder="Beijing University of Posts and Telecommunications (Weihong Deng)",
        source="Zheng et al. 2017, arXiv:1708.08197: 3,000 + 3,000 pairs",
    ),
    KnownSet(
        "cplfw", "Cross-Pose LFW", "evaluation", 3_929, 11_652,
        terms="research; new photos of LFW people, with the same doubts",
        holder="Beijing University of Posts and Telecommunications (Weihong Deng)",
        source="counted by file names, four of them misspelled; 3,000 + 3,000 pairs",
        is_rounded=True,
    ),
    KnownSet(
        "cfp", "Celebrities in Frontal-Profile", "evaluation", 500, 7_000,
        terms="research",
        holder="University of Maryland (cfpw.io)",
        source="Sengupta et al. 2016: 10 frontal and 4 profile photos of each",
        aliases=("cfpw", "cfp-fp", "cfp-ff"),
    ),
    KnownSet(
        "agedb", "AgeDB", "evaluation", 568, 16_488,
        terms="non-commercial research, on request",
        holder="iBUG, Imperial College London",
        source="Moschoglou et al. 2017; AgeDB-30 is 6,000 pairs of fewer photos",
    ),
    KnownSet(
        "ijb-b", "IARPA Janus Benchmark-B", "evaluation", 1_845, 227_630,
        terms="license of NIST; single photos are Creative Commons",
        holder="NIST, which ended distribution on 14 March 2023",
        source="Whitelam et al. 2017; photos and frames as InsightFace lists them",
    ),
    KnownSet(
        "ijb-c", "IARPA Janus Benchmark-C", "evaluation", 3_531, 469_375,
        terms="license of NIST; single photos are Creative Commons",
        holder="NIST, which ended distribution on 14 March 2023",
        source="Maze et al. 2018; photos and frames as InsightFace lists them",
    ),
    KnownSet(
        "in-shop", "DeepFashion In-shop Clothes Retrieval", "evaluation", 7_982, 52_712,
        terms="non-commercial research, after signing an agreement; clothes, not faces",
        holder="Multimedia Laboratory, Chinese University of Hong Kong",
        source="Liu et al. 2016; photos: first line of list_eval_partition.txt",
        aliases=("inshop", "deepfashion"),
    ),
    KnownSet(
        "rfw", "Racial Faces in the Wild", "evaluation", 12_000, None,
        terms="non-commercial research, on request; photos of MS-Celeb-1M",
        holder="Beijing University of Posts and Telecommunications (Weihong Deng)",
        source="Wang et al. 2019: four groups of about 3,000 people and 6,000 pairs",
        is_rounded=True,
    ),
)  # fmt: skip

KNOWN: dict[str, KnownSet] = {row.name: row for row in _ROWS}
"""Name -> set, training sets first."""


def find_known(name: str) -> KnownSet:
    """A public set by its name, whatever the case and the dashes.

    Raises:
        InputError: no set is called so.
    """
    names = {_fold(word): row for row in _ROWS for word in (row.name, row.title, *row.aliases)}
    row = names.get(_fold(name))
    if row is None:
        close = get_close_matches(_fold(name), names, n=1)
        hint = f"did you mean {names[close[0]].name}? " if close else ""
        raise InputError(f"no known set is called {name!r}", hint=hint + f"known: {_list_names()}")
    return row


def check_counts(name: str, n_people: int, n_photos: int) -> tuple[str, ...]:
    """Hold counts against the published ones.

    Args:
        name: of the set, as for `find_known`.
        n_people: identities you have.
        n_photos: images you have.

    Returns:
        A sentence for each count that differs; none where nobody published one. Published counts
        that are rounded may differ by 2 %.

    Raises:
        InputError: no set is called so.
    """
    row = find_known(name)
    found = []
    for what, there, published in (
        ("people", n_people, row.n_people),
        ("photos", n_photos, row.n_photos),
    ):
        if published is None or _is_near(there, published, row):
            continue
        word = "more" if there > published else "fewer"
        found.append(
            f"{there:,} {what}, {abs(there - published):,} {word} than the {published:,} "
            f"of {row.title}"
        )
    return tuple(found)


def recognize_counts(n_people: int, n_photos: int) -> KnownSet | None:
    """The public set that has exactly these counts, or None."""
    same = (r for r in _ROWS if (r.n_people, r.n_photos) == (n_people, n_photos))
    return next(same, None)


def format_known() -> str:
    """The table of docs/datasets.md, in Markdown."""
    lines = [
        "| name | set | for | people | photos | terms | whom to ask | source of the numbers |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in _ROWS:
        cells = (
            f"`{row.name}`", row.title, row.use, format_count(row.n_people, row),
            format_count(row.n_photos, row), row.terms, row.holder, row.source,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def format_count(count: int | None, row: KnownSet) -> str:
    """A published count as people read it."""
    if count is None:
        return "not published"
    return f"about {count:,}" if row.is_rounded else f"{count:,}"


def _is_near(there: int, published: int, row: KnownSet) -> bool:
    slack = _ROUNDED * published if row.is_rounded else 0
    return abs(there - published) <= slack


def _list_names() -> str:
    return ", ".join(KNOWN)


def _fold(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
