r"""Logits processors of ``generate`` inside vLLM, one set for each request.

vLLM's runner tells rows apart: ``AdapterLogitsProcessor`` of its interface
(``vllm.v1.sample.logits_processor``) keeps a processor for each request and calls it with the ids
of the prompt and those that were sampled. A module that vLLM can import says which they are:

```python
# guidance.py
from transformers import AutoTokenizer
from reason_decode import StructuredStepsLogitsProcessor
from reason_decode.serving.vllm_processors import RequestProcessors

tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen2.5-1.5B-Instruct")

class Steps(RequestProcessors):
    def processors(self, params):
        return [StructuredStepsLogitsProcessor(tokenizer, answer=r"The answer is [0-9]+\.")]
```

``LLM(model, logits_processors=["guidance:Steps"])`` and ``vllm serve MODEL --logits-processors
guidance:Steps`` use it. A processor with a model of its own (``NegativeContrastLogitsProcessor``)
runs it in vLLM's worker, row by row. This module needs vLLM.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import (  # pyright: ignore[reportMissingImports]
    AdapterLogitsProcessor,
)

__all__ = ["RequestProcessors"]


class RequestProcessors(AdapterLogitsProcessor):
    """Applies processors of ``generate`` to the logits of each request.

    A subclass writes ``processors``. vLLM makes the object, once for each worker.

    Source: vllm 0.32, vllm/v1/sample/logits_processor/interface.py and __init__.py.
    """

    @abstractmethod
    def processors(self, params: Any) -> Sequence[Callable[[Tensor, Tensor], Tensor]]:
        """New processors for a request, in order; none: its logits stay as they are.

        Args:
            params: the ``SamplingParams`` of the request; ``extra_args`` holds what a client sends
                as ``vllm_xargs``.
        """

    def is_argmax_invariant(self) -> bool:
        """False: the likeliest token may become another one."""
        return False

    def new_req_logits_processor(self, params: Any) -> Any:
        """Called by vLLM for each request; ``None`` where it has no processors."""
        made = self.processors(params)
        if not made:
            return None

        def process(prompt_ids: list[int], output_ids: list[int], logits: Tensor) -> Tensor:
            ids = torch.tensor([[*prompt_ids, *output_ids]], device=logits.device)
            scores = logits[None]
            for processor in made:
                scores = processor(ids, scores)
            return scores[0].to(logits.dtype)

        return process
