"""Verifiers that reason about a step before their verdict: GenPRM and ThinkPRM."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.models.inputs import EncodedSolution, input_device, pad_rows
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.base import Candidates, Session, check_finite
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.rescoring import RescoringSession

__all__ = ["GenPRM", "ReasoningVerifier", "ThinkPRM"]

_UNDECIDED = 0.5


class ReasoningVerifier(ProcessRewardModel):
    """A chat model that writes a critique; P(correct) is the probability of its boxed verdict.

    ``P(good) / (P(good) + P(bad))`` at the token of the verdict in the critique, the mean over
    ``n`` critiques; 0.5 where a critique has no verdict. Critiques are sampled, so scores are
    random numbers unless ``temperature=0``.

    Args:
        model: a causal language model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``, with a chat template.
        n: critiques of each step or solution.
        max_new_tokens: length of a critique.
        temperature: of sampling, with ``top_p=0.95`` and ``top_k=20``; 0 for greedy decoding.
        options: see ``ProcessRewardModel``.

    Attributes:
        verdicts: texts of the verdicts, the good one first.

    Raises:
        ValueError: there is no chat template, or a number is out of range.
    """

    separator = "\n\n"
    reads_chat = True
    option_names = (*ProcessRewardModel.option_names, "n", "max_new_tokens", "temperature")
    verdicts: tuple[str, str] = ("Yes", "No")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        n: int = 1,
        max_new_tokens: int = 4096,
        temperature: float = 0.6,
        **options: Any,
    ) -> None:
        if n < 1 or max_new_tokens < 1 or temperature < 0:
            raise ValueError(
                f"got n={n}, max_new_tokens={max_new_tokens}, temperature={temperature}; need at "
                "least 1, 1 and 0"
            )
        super().__init__(model, tokenizer, **options)
        if tokenizer.chat_template is None:
            raise ValueError(
                f"got a tokenizer without a chat template for {type(self).__name__}; set "
                "tokenizer.chat_template"
            )
        self.next_token, self.n = NextTokenLogits(self.model), n
        given = {"n": n, "max_new_tokens": max_new_tokens, "temperature": temperature}
        self.options |= given
        own = self.model.generation_config or GenerationConfig()
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": 0.95, "top_k": 20}
        self.generation_config = GenerationConfig(
            do_sample=temperature > 0,
            max_new_tokens=max_new_tokens,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id if own.pad_token_id is not None else 0,
            bos_token_id=own.bos_token_id,
            **(sampling if temperature > 0 else {}),
        )
        encode = self.cached_tokenizer.encode_cached
        self.verdict_ids = [encode(verdict)[0] for verdict in self.verdicts]
        good, bad = map(re.escape, self.verdicts)
        self._boxed = re.compile(rf"\\boxed\{{\s*(?:\\text\{{)?({good}|{bad})\b")

    @abstractmethod
    def request(self, prompt: str, steps: Sequence[str], critiques: Sequence[str]) -> str:
        """The text that the next critique continues.

        Args:
            prompt: the problem.
            steps: the steps so far, at least one.
            critiques: the critiques of earlier steps.
        """

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The request for a critique as ids; nothing is scored in it."""
        text = self.request(prompt, steps or [""], [""] * max(len(steps) - 1, 0))
        return EncodedSolution(list(self.cached_tokenizer.encode(text)), [])

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps that fit; a critique's length is not known, so all of them."""
        return len(steps)

    def prob_correct(self, features: Tensor) -> Tensor:
        """Not there: verdicts are read in critiques."""
        raise NotImplementedError(f"{type(self).__name__} reads verdicts in critiques")

    @torch.no_grad()
    def criticise(self, requests: Sequence[str]) -> tuple[list[tuple[str, list[float]]], int]:
        """For each request a critique and P(good) of its verdicts, and the tokens read and written.

        Args:
            requests: from ``request``.
        """
        found: list[tuple[str, list[float]]] = []
        tokens = 0
        rows = [list(self.cached_tokenizer.encode(text)) for text in requests]
        longest = max(map(len, rows), default=0) + (self.generation_config.max_new_tokens or 0)
        size = max(1, self.batch_tokens // max(longest, 1))
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            for ids, critique in zip(batch, self._write(batch), strict=True):
                found.append((self._text(critique), self._verdicts(ids, critique)))
                tokens += len(ids) + len(critique)
        return found, tokens

    def _write(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """The new ids of each row, without what follows its end of sequence."""
        ids, mask = pad_rows(rows, side="left", value=self.generation_config.pad_token_id or 0)
        device = input_device(self.model)
        model: Any = self.model  # typed without the generation methods that it has
        written = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=self.generation_config,
        )[:, ids.shape[1] :].tolist()
        ends = self.generation_config.eos_token_id
        stop = {self.generation_config.pad_token_id, *(ends if isinstance(ends, list) else [ends])}
        return [
            row[: next((k for k, token in enumerate(row) if token in stop), len(row))]
            for row in written
        ]

    def _verdicts(self, ids: Sequence[int], critique: Sequence[int]) -> list[float]:
        """P(good) against P(bad) at each boxed verdict of a critique."""
        matches = list(self._boxed.finditer(self._text(critique)))
        if not matches:
            return []
        places = [self._token_at(critique, match.start(1)) for match in matches]
        row = torch.tensor([[*ids, *critique]], device=input_device(self.model))
        features = self.next_token.features(input_ids=row, use_cache=False)[0]
        # A token is predicted at the one before it.
        before = features[[len(ids) + place - 1 for place in places]]
        shares = self.next_token.logits(before, self.verdict_ids).softmax(dim=-1)[:, 0].tolist()
        return [
            share if critique[place] in self.verdict_ids else float(match[1] == self.verdicts[0])
            for share, place, match in zip(shares, places, matches, strict=True)
        ]

    def _token_at(self, critique: Sequence[int], place: int) -> int:
        """Index of the token that writes the character at a place."""
        low, high = 0, len(critique) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self._text(critique[: middle + 1])) > place:
                high = middle
            else:
                low = middle + 1
        return low

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


class GenPRM(ReasoningVerifier):
    r"""A chat in which each paragraph is a user's turn and its critique the assistant's.

    The last ``\boxed{Yes}`` or ``\boxed{No}`` of a critique is the verdict. Earlier turns hold
    the critiques that were written of earlier steps. Code in critiques is not run.

    Source: Zhao et al. 2025, 2504.00891; RyanLiu112/GenPRM, src/prm_evaluation.
    """

    format = "genprm"
    system = (
        "You are a math teacher. Your task is to review and critique the paragraphs in solution "
        "step by step."
    )

    def request(self, prompt: str, steps: Sequence[str], critiques: Sequence[str]) -> str:
        """The chat up to the beginning of the last paragraph's critique."""
        turns = [f"Question: {prompt}\n\n{steps[0]}", *steps[1:]]
        messages: list[Mapping[str, str]] = [{"role": "system", "content": self.system}]
        for turn, critique in zip(turns, [*critiques, ""], strict=True):
            messages.append({"role": "user", "content": turn})
            messages.append({"role": "assistant", "content": critique})
        text = self.cached_tokenizer.render_chat(messages[:-1], generate=True)
        return f"{text}{self.beginning(len(steps))}"

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """P(correct) of each step; see ``Scorer.score``."""
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter)
        return [scores for (scores,) in self.start_session(texts).score([[x] for x in steps])]

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session that writes critiques of new steps only."""
        return _CritiqueSession(self, to_prompts(prompts))

    def beginning(self, number: int) -> str:
        """The first words of the critique of a paragraph."""
        return f"<analyze>\nLet's analyze the Paragraph {number} step by step: "


class _CritiqueSession(Session):
    """Trajectories with ``n`` critiques of each of their steps; see ``Session``."""

    def __init__(self, verifier: GenPRM, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.verifier = verifier
        self._steps: list[list[str]] = [[] for _ in self.prompts]
        self._critiques = [[[] for _ in range(verifier.n)] for _ in self.prompts]
        self._candidates: list[list[tuple[list[str], list[list[str]]]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """P(correct) of the new steps of each candidate."""
        new = [to_steps(group, self.verifier.splitter) for group in candidates]
        places = [(i, j) for i, group in enumerate(new) for j in range(len(group))]
        critiques = {(i, j): [list(x) for x in self._critiques[i]] for i, j in places}
        scores: dict[tuple[int, int], list[float]] = {place: [] for place in places}
        for depth in range(max((len(new[i][j]) for i, j in places), default=0)):
            active = [(i, j) for i, j in places if len(new[i][j]) > depth]
            requests = [
                self.verifier.request(
                    self.prompts[i], [*self._steps[i], *new[i][j][: depth + 1]], written
                )
                for i, j in active
                for written in critiques[i, j]
            ]
            found, tokens = self.verifier.criticise(requests)
            self.tokens_read += tokens
            rest = iter(found)
            for i, j in active:
                verdicts: list[float] = []
                number = len(self._steps[i]) + depth + 1
                for written in critiques[i, j]:
                    text, shares = next(rest)
                    written.append(self.verifier.beginning(number) + text)
                    verdicts.append(shares[-1] if shares else _UNDECIDED)
                scores[i, j].append(sum(verdicts) / len(verdicts))
        self._candidates = [
            [([*self._steps[i], *x], critiques[i, j]) for j, x in enumerate(group)]
            for i, group in enumerate(new)
        ]
        return [
            [torch.tensor(scores[i, j]) for j in range(len(group))] for i, group in enumerate(new)
        ]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        chosen = [self._candidates[i][j] for i, j in choice]
        self._steps = [steps for steps, _ in chosen]
        self._critiques = [critiques for _, critiques in chosen]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []


class ThinkPRM(ReasoningVerifier):
    r"""One critique of all steps, with ``\boxed{correct}`` or ``\boxed{incorrect}`` after each.

    Steps after the first that is called incorrect get its score: the critique ends there.

    Source: Khalifa et al. 2025, 2504.16828; launch/ThinkPRM-14B, model card.
    """

    format = "thinkprm"
    verdicts = ("correct", "incorrect")

    def request(self, prompt: str, steps: Sequence[str], critiques: Sequence[str]) -> str:
        """The chat with problem and solution, and the beginning of the critique."""
        numbered = "\n".join(f"Step {k}: {step}" for k, step in enumerate(steps, 1))
        content = (
            "You are given a math problem and a proposed step-by-step solution:\n\n"
            f"[Math Problem]\n\n{prompt}\n\n[Solution]\n\n{numbered}\n\n"
            "Review and critique each step in the proposed solution to determine whether each step "
            "is correct. If the solution is incomplete, only verify the provided steps."
        )
        messages = [{"role": "user", "content": content}]
        text = self.cached_tokenizer.render_chat(messages, generate=True)
        return f"{text}\nLet's verify step by step:"

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """P(correct) of each step; see ``Scorer.score``."""
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter)
        requests = [
            self.request(prompt, x, ())
            for prompt, x in zip(texts, steps, strict=True)
            for _ in range(self.n if x else 0)
        ]
        found, _ = self.criticise(requests)
        rest = iter(found)
        scores: list[Tensor] = []
        for x in steps:
            samples = [_until_wrong(next(rest)[1], len(x)) for _ in range(self.n if x else 0)]
            scores.append(torch.tensor(samples).mean(dim=0) if samples else torch.zeros(0))
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session that writes a new critique of the whole trajectory in each round."""
        return RescoringSession(self, to_prompts(prompts))


def _until_wrong(verdicts: Sequence[float], count: int) -> list[float]:
    """The scores of ``count`` steps, given the verdicts of a critique."""
    scores: list[float] = []
    for k in range(count):
        wrong = bool(scores) and scores[-1] < _UNDECIDED
        scores.append(scores[-1] if wrong else verdicts[k] if k < len(verdicts) else _UNDECIDED)
    return scores
