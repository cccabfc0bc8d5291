"""From the nearest people to an answer: match, unknown, ambiguous or low_quality, and why.

It does not know galleries or photos: it is given candidates and a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

from arcwise.compare import Threshold
from arcwise.nearest import Candidate
from arcwise.quality import IDENTIFY, find_faults
from arcwise.types import Face, Match, Status

AMBIGUOUS_MARGIN = 0.05
"""Two people closer than this are not told apart; the margin of InsightFace PersonAnalysis."""


def decide_match(face: Face, ranked: Sequence[Candidate], threshold: Threshold) -> Match:
    """The answer for one face.

    The first that holds: the face is too poor to decide, nobody is similar enough, two people
    are too close to each other, it is a match.

    Args:
        face: its quality is judged when it was measured.
        ranked: the two nearest people, nearest first; fewer in a small gallery.
        threshold: the least similarity that counts.
    """
    best = ranked[0] if ranked else None
    second = ranked[1] if len(ranked) > 1 else None
    margin = best.similarity - second.similarity if best and second else None
    faults = find_faults(face.quality, IDENTIFY) if face.quality else ()
    status: Status
    if faults:
        status, why = "low_quality", "; ".join(fault.text for fault in faults)
    elif best is None:
        status, why = "unknown", f"the gallery is empty ({threshold.why})"
    elif best.similarity < threshold.similarity:
        status = "unknown"
        why = (
            f"the nearest person, {best.name}, has similarity {best.similarity:.3f}, "
            f"{threshold.similarity:.3f} is needed ({threshold.why})"
        )
    elif second and margin is not None and margin < AMBIGUOUS_MARGIN:
        status = "ambiguous"
        why = (
            f"{best.name} ({best.similarity:.3f}) and {second.name} ({second.similarity:.3f}) are "
            f"less than {AMBIGUOUS_MARGIN} apart; {threshold.similarity:.3f} is needed "
            f"({threshold.why})"
        )
    else:
        status = "match"
        why = (
            f"similarity {best.similarity:.3f}, {threshold.similarity:.3f} is needed "
            f"({threshold.why})"
        )
    return Match(
        status=status,
        person=best.name if best and status == "match" else None,
        similarity=best.similarity if best else None,
        threshold=threshold.similarity,
        margin=margin,
        candidate=best.name if best else None,
        runner_up=second.name if second else None,
        why=why,
        calibrated=threshold.calibrated,
    )
