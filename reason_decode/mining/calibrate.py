"""From which loss delta on to keep rationales, given some that people have judged."""

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Calibrated", "calibrate"]


class Calibrated(NamedTuple):
    """A threshold and what it did on the rationales that it was chosen on.

    Attributes:
        threshold: nats; for ``judge(threshold=...)``.
        precision: the share of good ones among those kept.
        recall: the share of the good ones that is kept.
        kept: how many are.

    Example:
        >>> from reason_decode.mining import calibrate
        >>> calibrate([2.0, -1.0], [True, False]).threshold
        0.5
    """

    threshold: float
    precision: float
    recall: float
    kept: int


def calibrate(
    deltas: Sequence[float],
    good: Sequence[bool],
    *,
    precision: float = 0.95,
    confidence: float | None = None,
) -> Calibrated:
    """The lowest threshold at which as large a share of what is kept is good as was asked for.

    It lies half-way between the last delta kept and the next one below, so that a new rationale
    like the last one is kept too. Equal deltas are kept or dropped together; those that are no
    numbers are dropped at any threshold.

    Args:
        deltas: of judged rationales, in nats; see ``ScoredRationale.delta``.
        good: whether each is worth learning from.
        precision: the share asked for, in (0, 1].
        confidence: how sure it is to be that share of new rationales too, in (0, 1), such as 0.95:
            the exact lower bound of Clopper and Pearson has to reach it, so that few judgements
            give a stricter threshold than many. It counts judgements as independent, and the
            threshold as one that was not chosen. ``None``: the share of those given, which new
            ones miss about as often as not.

    Raises:
        ValueError: unequal lengths, a share or a confidence out of range, or a share that no
            threshold reaches.

    Source: RATIONALYST, section 3 (arXiv 2410.01044): thresholds by source, each reaching 95 %
    precision on rationales that people had judged.

    Example:
        >>> from reason_decode.mining import calibrate
        >>> calibrate([3.0, 2.0, 1.0, 0.0], [True, True, False, True], precision=0.9)
        Calibrated(threshold=1.5, precision=1.0, recall=0.6666666666666666, kept=2)
    """
    if len(deltas) != len(good) or not 0 < precision <= 1:
        raise ValueError(
            f"got {len(deltas)} deltas, {len(good)} judgements and precision={precision}; there "
            "must be one judgement a delta, and a precision above 0 and at most 1"
        )
    if confidence is not None and not (0 < confidence < 1 and precision < 1):
        raise ValueError(
            f"got confidence={confidence} and precision={precision}; both must lie within (0, 1), "
            "for no number of judgements makes sure of a share of 1"
        )
    judged = sorted(
        ((d, g) for d, g in zip(deltas, good, strict=True) if not math.isnan(d)), reverse=True
    )
    wanted = sum(good)
    best: Calibrated | None = None
    highest, right = 0.0, 0
    for kept, (delta, is_good) in enumerate(judged, 1):
        right += is_good
        below = judged[kept][0] if kept < len(judged) else -math.inf
        if below == delta:
            continue
        highest = max(highest, right / kept)
        if right and right / kept >= precision and _sure(kept, right, precision, confidence):
            between = delta if math.isinf(below) else (delta + below) / 2
            best = Calibrated(between, right / kept, right / wanted, kept)
    if best is None:
        surely = "" if confidence is None else f" with a confidence of {confidence}"
        raise ValueError(
            f"no threshold on these {len(judged)} deltas has a precision of {precision}{surely}; "
            f"the highest is {highest:.3f}: ask for less, or judge more rationales"
        )
    return best


def _sure(kept: int, right: int, share: float, confidence: float | None) -> bool:
    """Whether, were ``share`` the true one, so many right would be rarer than the confidence says.

    The chance of at most ``kept - right`` wrong ones: the tail of a binomial distribution.
    """
    if confidence is None:
        return True
    ways = math.lgamma(kept + 1)
    logs = (
        ways
        - math.lgamma(wrong + 1)
        - math.lgamma(kept - wrong + 1)
        + wrong * math.log1p(-share)
        + (kept - wrong) * math.log(share)
        for wrong in range(kept - right + 1)
    )
    return math.fsum(map(math.exp, logs)) <= 1 - confidence
