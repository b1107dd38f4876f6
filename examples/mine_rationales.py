"""Mines rationales: those that lower a language model's loss on the text after them are kept.

python examples/mine_rationales.py

Here the documents already contain rationales between tags. With writer="your/chat-model" a model
writes them, in this process or, with endpoint="http://...", at a server.
"""

import json
from pathlib import Path

from reason_decode.mining import MiningConfig, run_mining

documents = Path("documents.jsonl")
texts = [
    "Make 24 from 4 6.\n<BOT>4 times 6 is 24.<EOT>4 * 6 = 24 (left: 24)\n",
    "Make 24 from 3 8.\n<BOT>The weather is fine.<EOT>3 * 8 = 24 (left: 24)\n",
]
rows = [{"id": str(k), "source": "games", "text": text} for k, text in enumerate(texts)]
documents.write_text("".join(json.dumps(row) + "\n" for row in rows))

config = MiningConfig(writer="tagged", loss_model="tiny", dedup_threshold=1.0)
summary = run_mining(config, [str(documents)], "mined")
print(summary.report.rationales)
print(Path(summary.kept).read_text())
