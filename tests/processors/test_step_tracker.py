from reason_decode.core.splitting import StepSplitter
from reason_decode.processors.step_tracker import StepPosition, StepTracker
from reason_decode.tiny import Tiny


def test_tracks_rows_that_continue_branch_and_begin_anew(tiny: Tiny) -> None:
    words = tiny.tokenizer
    prompt = words("Make 4 from 1 3.\n")["input_ids"]
    line = words("1 + 3 = 4 (left: 4)\n", add_special_tokens=False)["input_ids"]
    tracker = StepTracker(words, StepSplitter())
    n = len(prompt)
    assert tracker.track([prompt]) == [StepPosition(n, n)]
    for k in range(1, len(line)):
        assert tracker.track([prompt + line[:k], prompt + line[:k]]) == [StepPosition(n, n)] * 2
    ended = [*prompt, *line]
    assert tracker.track([ended, [*prompt, line[0]]]) == [
        StepPosition(n, len(ended)),
        StepPosition(n, n),
    ]
    assert tracker.track([[*ended, line[0]]]) == [StepPosition(n, len(ended))]
    # A prompt that begins like an earlier solution is still a prompt.
    longer = [*ended, *line]
    assert tracker.track([longer]) == [StepPosition(len(longer), len(longer))]
