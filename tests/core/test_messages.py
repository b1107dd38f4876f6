import copy
import pickle

import pytest

from reason_decode.core.messages import to_prompts, turns


def test_a_conversation_is_the_text_of_its_last_user_turn():
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    prompt, text = to_prompts([messages, "q"])
    assert prompt == text == "q" and turns(prompt) == messages
    assert turns("q") == [{"role": "user", "content": "q"}]
    assert turns(copy.deepcopy(prompt)) == turns(pickle.loads(pickle.dumps(prompt))) == messages
    with pytest.raises(ValueError, match="got the messages"):
        to_prompts([[]])
