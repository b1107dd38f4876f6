from typing import Any

import torch
from transformers import LlamaForCausalLM

from reason_decode.core.solutions import Cost
from reason_decode.evaluation.complete import complete
from tests.fakes import END, ByteTokenizer, Guided, ScriptedModel


def run_complete(model: ScriptedModel, strategy: Guided | None = None, temperature: float = 0.0):
    tokenizer: ... = ByteTokenizer()
    prompts = ["a", "bcd"]
    return complete(model, tokenizer, strategy, prompts, max_new_tokens=9, temperature=temperature)


def test_plain_generation_counts_tokens():
    done = run_complete(ScriptedModel(lambda prompt: prompt * 2))
    assert done.texts == ["aa", "bcdbcd"] and done.traces is None
    assert done.cost == Cost(prefill=4, decode=8, sampled=10)


def test_a_strategy_reports_traces_and_cost():
    done = run_complete(ScriptedModel(), Guided(lambda prompt: ["no", prompt.upper()]))
    assert done.texts == ["A", "BCD"] and done.cost == Cost(1, 2, 3, 4)
    assert done.traces is not None and done.traces[1].best.text == "BCD"


def test_greedy_and_sampling_options_reach_generate():
    model = ScriptedModel()
    run_complete(model)
    run_complete(model, temperature=0.5)
    greedy, sampled = model.calls
    assert not greedy["do_sample"] and "temperature" not in greedy
    assert sampled["do_sample"] and (sampled["temperature"], sampled["top_k"]) == (0.5, 0)
    assert greedy["max_new_tokens"] == 9 and greedy["return_dict_in_generate"]


def test_the_end_of_sequence_counts_once_if_padding_has_its_id():
    model = ScriptedModel(lambda prompt: prompt)
    plain = model.generate

    def generate(**kwargs: ...) -> object:
        output = plain(**kwargs)
        new = output.sequences[:, 3:]
        new[new == 0] = END
        return output

    model.generate = generate
    assert run_complete(model).cost.sampled == 2 + 4


def test_counts_match_a_real_model(tiny_llama: LlamaForCausalLM):
    class Tokenizer(ByteTokenizer):
        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return [3 + byte % 60 for byte in text.encode()]

        def decode(self, ids: ..., skip_special_tokens: bool = True) -> str:
            return " ".join(str(int(i)) for i in ids)

    tokenizer: ... = Tokenizer()
    torch.manual_seed(0)
    done = complete(tiny_llama, tokenizer, None, ["ab", "abcde"], max_new_tokens=5, temperature=1.0)
    new = [text.split() for text in done.texts]
    lengths = [row.index("2") + 1 if "2" in row else len(row) for row in new]
    assert done.cost == Cost(7, sum(lengths) - 2, sum(lengths))


def test_an_unfinished_thought_of_the_prompt_is_no_answer():
    """R1-like templates open the thought, so that graders read the draft of a cut completion."""
    tokenizer: ... = ByteTokenizer()
    said = {"2+3?<think>\n": "\\boxed{7}?", "2+3?": "<think>\\boxed{7}</think>\\boxed{5}"}
    model = ScriptedModel(said.__getitem__)
    options: dict[str, Any] = {"max_new_tokens": 99, "temperature": 0.0}
    opened, plain = (complete(model, tokenizer, None, [prompt], **options) for prompt in said)
    assert (opened.answer(0), opened.in_thought) == ("", (True,))
    assert (plain.answer(0), plain.in_thought) == ("\\boxed{5}", (False,))
    tagged = complete(model, tokenizer, None, ["2+3?"], thinking_tags=("<a>", "</a>"), **options)
    assert tagged.answer(0) == tagged.texts[0]
