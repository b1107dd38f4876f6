r"""Decoding with a model behind an OpenAI-compatible server, step by step.

```python
from transformers import AutoTokenizer
from reason_decode import ProcessRewardModel, StepSearch
from reason_decode.serving import ServedModel

name = "Qwen/Qwen2.5-1.5B-Instruct"
tokenizer = AutoTokenizer.from_pretrained(name)
model = ServedModel("http://localhost:8000/v1", name, tokenizer)
prm = ProcessRewardModel.from_pretrained("you/your-prm")
search = StepSearch(prm, tokenizer=tokenizer, n=8, beam_width=2)
response = search.chat(model, "What is 17 * 23?", max_new_tokens=512, temperature=0.7)
```

Every strategy takes a ``ServedModel``, or a ``VLLMModel`` around a ``vllm.LLM`` in this process,
where it takes a model of transformers. The guide "Servers" says what each kind of server can do.
"""

from reason_decode.serving.model import ServedModel
from reason_decode.serving.vllm_engine import VLLMModel

__all__ = ["ServedModel", "VLLMModel"]
