import pytest
import torch
from transformers import AutoModelForCausalLM

from reason_decode import RationaleGuided, RationaleScorer
from reason_decode.adapters import with_adapter
from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers import RationaleWriter
from reason_decode.tiny import WEIGHTS, Tiny, load
from reason_decode.training.lora import with_lora
from tests.tolerance import assert_close, roundings

pytest.importorskip("peft", reason="LoRA needs peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # peft's own


@pytest.fixture
def adapter(tmp_path):
    """A folder with an adapter that changes what the tiny base says."""
    learner = with_lora(load().model, rank=2)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, x in learner.named_parameters():
            if "lora_B" in name:
                x.normal_(std=0.1)
    learner.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.numeric
def test_models_share_weights_and_not_adapters(tiny: Tiny, adapter):
    ids = torch.tensor([tiny.tokenizer("Make 36 from 4 5 6 10.\n")["input_ids"]])
    with torch.no_grad():
        plain = tiny.model(ids).logits
        adapted = with_adapter(tiny.model, adapter)
        alone = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").eval()
        alone.load_adapter(str(adapter))
        assert_close(adapted(ids).logits, alone(ids).logits, terms=roundings(alone))
        assert not torch.allclose(adapted(ids).logits, plain, atol=1e-2)
        assert torch.equal(tiny.model(ids).logits, plain)
    assert hub_id_or_path(adapted) == str(adapter) and hub_id_or_path(tiny.model) != str(adapter)
    own = {x.data_ptr() for x in tiny.model.parameters()}
    fresh = [x for x in adapted.parameters() if x.data_ptr() not in own]
    assert sum(x.numel() for x in fresh) < 0.05 * sum(x.numel() for x in tiny.model.parameters())


def test_writer_scorer_and_generator_share_one_base(tiny: Tiny, adapter):
    """With a rationale of each writer, the same as with models that share nothing."""
    tokenizer = tiny.tokenizer
    inputs = tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
    options = {"do_sample": True, "max_new_tokens": 40, "return_dict_in_generate": True}
    apart = load().model
    apart.load_adapter(str(adapter))
    texts = []
    for writes in (with_adapter(tiny.model, adapter), apart.eval()):
        writer = RationaleWriter(writes, tokenizer, chat=False, max_new_tokens=4)
        rationalyst = RationaleScorer(writer, tiny.model, tokenizer, chat=False)
        guided = RationaleGuided(rationalyst, tokenizer=tokenizer, n=2, max_steps=2)
        torch.manual_seed(0)
        out = tiny.model.generate(**inputs, **options, custom_generate=guided)
        rounds = out.traces[0].rounds
        texts.append([(step.text, step.rationale) for steps in rounds for step in steps])
    assert texts[0] == texts[1] and all(rationale for _, rationale in texts[0])


def test_rejects_a_model_that_has_an_adapter(tiny: Tiny, adapter):
    with pytest.raises(ValueError, match="that both adapters were trained on"):
        with_adapter(with_adapter(tiny.model, adapter), adapter)
