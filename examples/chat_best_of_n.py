"""Best of 16 answers of a chat model, chosen by a process reward model.

    python examples/chat_best_of_n.py Qwen/Qwen2.5-Math-1.5B-Instruct Qwen/Qwen2.5-Math-PRM-7B

Without arguments the packaged models solve a Game of 24, offline.
"""

import sys
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from reason_decode import BestOfN, ProcessRewardModel, tiny

QUESTION = "What is the sum of the first 20 odd numbers?"

if len(sys.argv) == 3:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model: Any = AutoModelForCausalLM.from_pretrained(sys.argv[1])
    scorer = ProcessRewardModel.from_pretrained(sys.argv[2])
    best = BestOfN(scorer, tokenizer=tokenizer, n=16)
    response = best.chat(model, QUESTION)
else:
    packaged = tiny.load()
    best = BestOfN(packaged.verifier, tokenizer=packaged.tokenizer, n=16)
    response = best.complete(packaged.model, "Make 24 from 4 5 6 10.\n")

print(response.text)
print("answer:", response.answer, "score:", response.total)
