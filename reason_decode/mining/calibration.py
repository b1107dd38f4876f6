"""The loss-delta threshold that reaches a given precision on rationales that people judged."""

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["CalibratedThreshold", "calibrate_threshold"]


class CalibratedThreshold(NamedTuple):
    """A threshold and its precision and recall on the rationales that it was calibrated on.

    Attributes:
        threshold: nats, for ``score_rationales(min_loss_delta=...)``.
        precision: share of good rationales among those kept.
        recall: share of the good rationales that is kept.
        kept: number of rationales kept.

    Examples:
        >>> from reason_decode.mining import calibrate_threshold
        >>> calibrate_threshold([2.0, -1.0], [True, False]).threshold
        0.5
    """

    threshold: float
    precision: float
    recall: float
    kept: int


def calibrate_threshold(
    deltas: Sequence[float],
    good: Sequence[bool],
    *,
    precision: float = 0.95,
    confidence: float | None = None,
) -> CalibratedThreshold:
    """The lowest threshold at which the share of good rationales among those kept is ``precision``.

    The threshold lies half-way between the lowest delta kept and the next lower one. Equal deltas
    are kept or dropped together; NaN is always dropped.

    Args:
        deltas: loss deltas of the rationales, in nats; see ``ScoredRationale.delta``.
        good: whether people judged each rationale to be worth learning from.
        precision: the share to reach, in (0, 1].
        confidence: probability, in (0, 1), with which new rationales reach ``precision`` too: its
            exact (Clopper-Pearson) lower bound has to reach it, so few judgements give a stricter
            threshold than many. The bound assumes independent judgements and a threshold that was
            not chosen on them. ``None``: only the given rationales reach ``precision``, and new
            ones miss it about half of the time.

    Raises:
        ValueError: unequal lengths, a share or a confidence out of range, or a precision that no
            threshold reaches.

    Source: RATIONALYST, section 3 (arXiv 2410.01044): thresholds by source, each reaching 95 %
    precision on rationales that people had judged.

    Examples:
        >>> from reason_decode.mining import calibrate_threshold
        >>> calibrate_threshold([3.0, 2.0, 1.0, 0.0], [True, True, False, True], precision=0.9)
        CalibratedThreshold(threshold=1.5, precision=1.0, recall=0.6666666666666666, kept=2)
    """
    if len(deltas) != len(good) or not 0 < precision <= 1:
        raise ValueError(
            f"got {len(deltas)} deltas, {len(good)} judgements and precision={precision}; there "
            "must be one judgement per delta, and a precision above 0 and at most 1"
        )
    if confidence is not None and not (0 < confidence < 1 and precision < 1):
        raise ValueError(
            f"got confidence={confidence} and precision={precision}; both must lie within (0, 1), "
            "for no number of judgements makes a share of 1 certain"
        )
    ranked = sorted(
        ((d, g) for d, g in zip(deltas, good, strict=True) if not math.isnan(d)), reverse=True
    )
    total_good = sum(good)
    best: CalibratedThreshold | None = None
    highest, good_so_far = 0.0, 0
    for kept, (delta, is_good) in enumerate(ranked, 1):
        good_so_far += is_good
        below = ranked[kept][0] if kept < len(ranked) else -math.inf
        if below == delta:
            continue
        share = good_so_far / kept
        highest = max(highest, share)
        if good_so_far and share >= precision and _sure(kept, good_so_far, precision, confidence):
            between = delta if math.isinf(below) else (delta + below) / 2
            best = CalibratedThreshold(between, share, good_so_far / total_good, kept)
    if best is None:
        sure = "" if confidence is None else f" with a confidence of {confidence}"
        raise ValueError(
            f"no threshold on these {len(ranked)} deltas has a precision of {precision}{sure}; the "
            f"highest is {highest:.3f}: ask for less, or judge more rationales"
        )
    return best


def _sure(kept: int, good: int, share: float, confidence: float | None) -> bool:
    """True if ``good`` of ``kept`` would be too rare an outcome of a true share below ``share``.

    The tail of the binomial distribution, ``P(at most kept - good bad ones | share)``, has to be at
    most ``1 - confidence``.
    """
    if confidence is None:
        return True
    log_terms = (
        math.lgamma(kept + 1)
        - math.lgamma(bad + 1)
        - math.lgamma(kept - bad + 1)
        + bad * math.log1p(-share)
        + (kept - bad) * math.log(share)
        for bad in range(kept - good + 1)
    )
    return math.fsum(map(math.exp, log_terms)) <= 1 - confidence
