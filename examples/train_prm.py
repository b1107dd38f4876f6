"""Trains a process reward model on labelled steps of your own and scores with it.

python examples/train_prm.py
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from reason_decode import ProcessRewardModel
from reason_decode.models.loading import packaged
from reason_decode.training import PRMConfig, read_labelled, train_prm

output = Path(sys.argv[1] if len(sys.argv) > 1 else "prm")
output.mkdir(exist_ok=True)
rows = [
    {
        "prompt": f"{a} + {b} =\n",
        "completions": [f"{a} + {b} = {a + b + slip}"],
        "labels": [not slip],
    }
    for a in range(1, 9)
    for b in range(1, 9)
    for slip in (0, 1)
]
data = output / "labelled.jsonl"
data.write_text("".join(json.dumps(row) + "\n" for row in rows))

base = packaged("base")  # in its place: the folder or the Hub id of a model of your own
tokenizer = AutoTokenizer.from_pretrained(base)
config = PRMConfig(num_train_epochs=2, batch_size=16, learning_rate=1e-3)
counts = train_prm(base, tokenizer, list(read_labelled(data)), output, config)
print(counts)

prm = ProcessRewardModel.from_pretrained(output)
print(prm.score(["2 + 3 =\n"] * 2, ["2 + 3 = 5", "2 + 3 = 6"]))
