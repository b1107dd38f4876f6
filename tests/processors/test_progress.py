from reason_decode.core.steps import StepSplitter
from reason_decode.processors.progress import Place, Progress
from reason_decode.tiny import Tiny


def test_rows_go_on_branch_and_begin_anew(tiny: Tiny) -> None:
    words = tiny.tokenizer
    prompt = words("Make 4 from 1 3.\n")["input_ids"]
    line = words("1 + 3 = 4 (left: 4)\n", add_special_tokens=False)["input_ids"]
    progress = Progress(words, StepSplitter())
    n = len(prompt)
    assert progress.places([prompt]) == [Place(n, n)]
    for k in range(1, len(line)):
        assert progress.places([prompt + line[:k], prompt + line[:k]]) == [Place(n, n)] * 2
    ended = [*prompt, *line]
    assert progress.places([ended, [*prompt, line[0]]]) == [Place(n, len(ended)), Place(n, n)]
    assert progress.places([[*ended, line[0]]]) == [Place(n, len(ended))]
    # A prompt that begins like a solution seen before is a prompt all the same.
    longer = [*ended, *line]
    assert progress.places([longer]) == [Place(len(longer), len(longer))]
