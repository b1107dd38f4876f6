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
    chat = [{"role": "user", "content": QUESTION}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
else:
    packaged = tiny.load()
    tokenizer, model, scorer = packaged.tokenizer, packaged.model, packaged.verifier
    inputs = tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")

out = model.generate(
    **inputs,
    max_new_tokens=512,
    do_sample=True,
    return_dict_in_generate=True,
    custom_generate=BestOfN(scorer, tokenizer=tokenizer, n=16),
)
print(out.traces[0].best.text)
print("score:", out.traces[0].best.total, "cost:", out.cost)
