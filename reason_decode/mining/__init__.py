"""From raw text to the data that a rationale model is trained on, stage by stage."""

from reason_decode.mining.calibrate import Calibrated, calibrate
from reason_decode.mining.documents import Marked, parse_marked
from reason_decode.mining.keep import Judged, judge

__all__ = ["Calibrated", "Judged", "Marked", "calibrate", "judge", "parse_marked"]
