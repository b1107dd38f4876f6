"""Step search: sample next steps, score them, go on with the best."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import accumulate

import torch
from torch import LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.records import Cost, Step, Trace
from reason_decode.generation.batch import Branch
from reason_decode.generation.engine import Generation
from reason_decode.generation.step_boundary import StepBoundary
from reason_decode.models.tokenization import decode
from reason_decode.scorers.base import Scorer, Session
from reason_decode.scorers.reduction import Reduce, check_reduce, reduce_scores
from reason_decode.strategies.base import (
    Strategy,
    check_caps,
    check_count,
    check_parts,
    check_positive,
    pack,
    prompt_texts,
)
from reason_decode.strategies.budget import Budget, check_budget
from reason_decode.strategies.trajectory import Trajectory, shared


@dataclass(frozen=True, eq=False)
class StepSearch(Strategy):
    r"""Sample n next steps of each kept trajectory, score them, keep the best ``beam_width``.

    The first round samples ``n * beam_width`` steps, so that every round looks at as many. A
    trajectory's score is ``reduce`` over the scores of its steps. A finished solution stays in
    the beam with its score; the search ends when all that is kept has finished. Equal next steps of
    a trajectory count once. A candidate cut off by ``max_new_tokens``, ``max_steps`` or
    ``max_tokens`` is scored as it stands and is returned only if nothing finished. A streamer is
    put the steps that all trajectories of the beam share.
    ``num_return_sequences=k`` returns the k best of the beam. With n=1 and greedy decoding the
    tokens are those of plain ``generate``.

    Args:
        scorer: judges steps; its splitter says where a step ends.
        tokenizer: the generator's.
        n: next steps sampled a kept trajectory.
        beam_width: trajectories kept a prompt; 1 is greedy search.
        subtrees: parts of the beam that go their own ways: what was sampled first is dealt out to
            them in turn, and each keeps the best ``beam_width / subtrees`` of its own.
        max_steps: at most this many rounds; ``None`` leaves it to the token budget.
        max_tokens: at most so many are sampled of a prompt, over all its candidates and what is
            looked ahead; the search then ends with the best so far. ``None``: no cap.
        lookahead: steps that the generator goes on, by greedy decoding, behind each candidate
            before it is ranked by the score of where that led.
        reduce: how step scores become one number: "prod", "min", "last" or "mean". The last step
            is judged knowing all before it, and a search that trusts it forgives an early step
            which was doubted, but went well.
        state_key: of a trajectory's steps, what its future depends on; of those kept for a prompt,
            no two have the same. ``None``: only equal texts are the same.
        margin: trajectories whose score is lower than their subtree's best by more are dropped, so
            that a search that has found its way stops paying for the others; ``None``: none are.

    Raises:
        ValueError: an argument is not allowed; at the call, what cannot be done there.

    Source: step-level beam search with a verifier and lookahead, Snell et al. 2024, 2408.03314,
    section 5.2; the last step's score for the whole: section 5.1; subtrees: diverse verifier tree
    search, Beeching et al. 2024, huggingface/search-and-learn.

    Example:
        >>> from reason_decode import StepSearch, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> search = StepSearch(t.prm, tokenizer=t.tokenizer, n=4, beam_width=2)
        >>> how = {"do_sample": True, "max_new_tokens": 80, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **how, custom_generate=search)
        >>> best = out.traces[0].best
        >>> len(best.steps) == len(best.scores) and best.total == best.scores[-1]
        True
    """

    scorer: Scorer
    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 4
    beam_width: int = 1
    subtrees: int = 1
    max_steps: int | None = None
    max_tokens: int | None = None
    lookahead: int = 0
    reduce: Reduce = "last"
    state_key: Callable[[Sequence[str]], Hashable] | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        check_parts(self, scorer=self.scorer)
        check_positive(n=self.n, beam_width=self.beam_width, subtrees=self.subtrees)
        check_caps(max_steps=self.max_steps, max_tokens=self.max_tokens)
        check_reduce(self.reduce, self.scorer)
        if self.lookahead != 0:
            check_positive(lookahead=self.lookahead)
        check_budget(self.max_tokens, self.n * self.beam_width)
        if self.beam_width % self.subtrees:
            raise ValueError(
                f"got beam_width={self.beam_width} for subtrees={self.subtrees}; every subtree "
                "keeps as many trajectories as the others: make beam_width a multiple of subtrees"
            )
        if self.margin is not None and not (
            isinstance(self.margin, int | float) and self.margin >= 0
        ):
            raise ValueError(f"got margin={self.margin!r}; need 0 or more, or None to drop nothing")
        if self.state_key is not None and not callable(self.state_key):
            raise ValueError(
                f"got state_key={self.state_key!r:.80}; pass a function from a trajectory's steps "
                "to what its future depends on, or None"
            )

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Search all prompts side by side, round after round."""
        return search(self, generation)


def search(
    strategy: StepSearch, generation: Generation, explicit: bool = False
) -> tuple[LongTensor, list[Trace], Cost]:
    """What ``StepSearch`` does; ``explicit`` lets the generator read the session's rationales."""
    check_count(generation, strategy.n, strategy.beam_width, "beam_width trajectories")
    state = _Search(strategy, generation, explicit)
    while state.live and state.round < (strategy.max_steps or generation.max_new_tokens):
        state.advance()
    beams = [sorted(beam, key=lambda p: (not p.finished, -p.total)) for beam in state.beams]
    beams = [_filled(beam, generation.num_return_sequences) for beam in beams]
    chosen = [tuple(range(generation.num_return_sequences))] * len(beams)
    traces = [
        Trace(prompt, generation.strategy_name, tuple(p.candidate() for p in beam), picks, rounds)
        for prompt, beam, picks, rounds in zip(
            state.prompts, beams, chosen, map(tuple, state.rounds), strict=True
        )
    ]
    tokens = [[path.tokens for path in beam] for beam in beams]
    cost = generation.cost + Cost(scorer=state.session.tokens_read)
    return pack(generation, tokens, chosen), traces, cost


Place = tuple[int, int]
"""Of a trajectory: (prompt, place in its beam); of a candidate: (row of the round, place in it)."""


class _Search:
    """The state of one search over all prompts of a batch."""

    def __init__(self, strategy: StepSearch, generation: Generation, explicit: bool) -> None:
        self.strategy, self.generation, self.explicit = strategy, generation, explicit
        self.prompts = prompt_texts(generation, strategy.tokenizer)
        self.session: Session = strategy.scorer.start_session(self.prompts)
        self.splitter = strategy.scorer.splitter
        self.boundary = StepBoundary(strategy.tokenizer, self.splitter)
        self.horizon = StepBoundary(strategy.tokenizer, self.splitter, strategy.lookahead)
        no_tokens = generation.prompt_ids.new_zeros(0)
        root = Trajectory(no_tokens, "", (), torch.zeros(0), 0.0, None)
        self.beams: list[list[Trajectory]] = [[root] for _ in self.prompts]
        self.rounds: list[list[tuple[Step, ...]]] = [[] for _ in self.prompts]
        self.made: list[list[int | None]] = [[None] for _ in self.prompts]
        """Of each beam's trajectories, which step of the last round they end with, if any."""
        self.round = 0
        self.budget = Budget(len(self.prompts), strategy.max_tokens)
        self.rows = generation.prefill(branchable=True)
        self.live: list[Place] = [(p, 0) for p in range(len(self.prompts))]
        """The trajectories that go on, in the rows' order."""
        self.rationales: list[str | None] = []
        """What was written of each of them, if the session writes."""

    def advance(self) -> None:
        """One round: sample, score, and keep the best of each prompt's beam."""
        # The first round has one trajectory a prompt, later ones have up to beam_width.
        n = self.strategy.n * (1 if self.round else self.strategy.beam_width)
        self.round += 1
        self._reason()
        self.budget.ration(self.rows, [p for p, _ in self.live], n)
        sampled = self.generation.sample(self.rows, n, self.boundary, branchable=True)
        groups = [
            self._distinct(self.beams[p][place], sampled[row * n : (row + 1) * n])
            for row, (p, place) in enumerate(self.live)
        ]
        for row, (p, _) in enumerate(self.live):
            self.budget.spend(p, sampled[row * n : (row + 1) * n])
        fresh = self._score(groups)
        if self.strategy.lookahead:
            fresh = self._look_ahead(fresh)
        going: list[tuple[Place, Place]] = []
        for p in sorted({p for p, _ in self.live}):
            kept = self._keep_best(p, fresh)
            going += kept if self.budget.allows(p, self.strategy.n * len(kept)) else []
        places = [place for _, place in going]
        if self.strategy.lookahead:
            # All candidates became trajectories, one after the other, to be looked ahead from.
            firsts = [0, *accumulate(map(len, fresh))]
            places = [(firsts[row] + k, 0) for row, k in places]
        self.session.select(places)
        self.live = [place for place, _ in going]
        if len(self.beams) == 1:
            self.generation.stream.commit(shared(self.beams[0]))
        if self.live:
            self.rows = self.generation.resume(self._branches())

    def _branches(self) -> list[Branch]:
        """Where the live trajectories go on, each with all of its room."""
        paths = [self.beams[p][place] for p, place in self.live]
        rooms = [self.generation.max_new_tokens - len(path.tokens) for path in paths]
        return [
            replace(path.branch, remaining_tokens=room)
            for path, room in zip(paths, rooms, strict=True)
            if path.branch is not None
        ]

    def _look_ahead(self, fresh: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories, each with the total of where the generator would go from it."""
        places = [(row, k) for row, group in enumerate(fresh) for k in range(len(group))]
        self.session.select(places)
        paths = [fresh[row][k] for row, k in places]
        said = self._roll_out(paths, [self.live[row][0] for row, _ in places])
        asked = [[said[i]] if said.get(i) else [] for i in range(len(paths))]
        for i, scores in enumerate(self.session.score(asked, keep_cache=False)):
            if scores:
                whole = torch.cat([paths[i].scores, scores[0]])
                total = float(self._totals([whole])[0])
                lookahead_text = self.splitter.separator.join(said[i])
                paths[i] = replace(paths[i], total=total, lookahead_text=lookahead_text)
        # Of nothing new nothing is read; but it is from here that select() goes on.
        self.session.score([[[]] for _ in paths])
        rest = iter(paths)
        return [[next(rest) for _ in group] for group in fresh]

    def _roll_out(self, paths: Sequence[Trajectory], owners: Sequence[int]) -> dict[int, list[str]]:
        """The steps that greedy decoding says behind each trajectory, of those that go on."""
        going: dict[int, Branch] = {
            i: path.branch
            for i, path in enumerate(paths)
            if path.branch is not None
            and not path.ended
            and self.budget.allows(owners[i], owners.count(owners[i]))
        }
        if not going:
            return {}
        rows = self.generation.resume([*going.values()])
        self.budget.ration(rows, [owners[i] for i in going])
        rolls = self.generation.sample(rows, 1, self.horizon, greedy=True)
        for i, roll in zip(going, rolls, strict=True):
            self.budget.spend(owners[i], [roll])
        texts = (decode(self.strategy.tokenizer, roll.tokens) for roll in rolls)
        return {i: self.splitter.split(text) for i, text in zip(going, texts, strict=True)}

    def _reason(self) -> None:
        """Have the rationales of this round written and, if they are explicit, read."""
        self.rationales = self.session.before_round()
        if self.explicit:
            told = [self._ids(text or "") for text in self.session.context_to_append()]
            rows = self.generation.as_branches(self.rows) if self.round == 1 else self._branches()
            self.rows = self.generation.resume(self.generation.append_context(rows, told))

    def _totals(self, scores: Sequence[Tensor]) -> Tensor:
        space = self.strategy.scorer.score_space
        return reduce_scores(scores, self.strategy.reduce, space)

    def _ids(self, text: str) -> Tensor:
        ids = self.strategy.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long, device=self.generation.prompt_ids.device)

    def _distinct(self, parent: Trajectory, branches: Sequence[Branch]) -> list[Trajectory]:
        """The continuations of a trajectory, not yet scored, each text once."""
        paths: dict[tuple[str, bool], Trajectory] = {}
        for branch in branches:
            tokens = torch.cat([parent.tokens, branch.tokens])
            text = decode(self.strategy.tokenizer, tokens)
            whole = self.splitter.split if branch.stopped else self.splitter.complete
            steps = tuple(whole(text))
            tree = parent.tree if parent.branch else len(paths) % self.strategy.subtrees
            path = Trajectory(tokens, text, steps, parent.scores, parent.total, branch, tree)
            paths.setdefault((text, branch.stopped), path)
        return list(paths.values())

    def _score(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same paths with the scores of their new steps."""
        parents = [self.beams[p][place] for p, place in self.live]
        texts = [
            [list(path.steps[len(parent.steps) :]) for path in group]
            for parent, group in zip(parents, groups, strict=True)
        ]
        scored: list[list[Trajectory]] = []
        for group, scores in zip(groups, self.session.score(texts), strict=True):
            every = [torch.cat([path.scores, new]) for path, new in zip(group, scores, strict=True)]
            totals = self._totals(every).tolist()
            scored.append(
                [
                    replace(path, scores=x, total=total)
                    for path, x, total in zip(group, every, totals, strict=True)
                ]
            )
        return scored

    def _keep_best(
        self, p: int, fresh: Sequence[Sequence[Trajectory]]
    ) -> list[tuple[Place, Place]]:
        """Set a prompt's beam to its best.

        Returns:
            Of each trajectory that goes on, its place in the beams and where it was sampled.
        """
        sampled_at: dict[Trajectory, Place] = {
            path: (row, k)
            for row, (owner, _) in enumerate(self.live)
            if owner == p
            for k, path in enumerate(fresh[row])
        }
        ended = [path for path in self.beams[p] if path.ended]
        ranked = sorted([*ended, *sampled_at], key=lambda path: path.rank)
        trees = ([path for path in ranked if path.tree == k] for k in range(self.strategy.subtrees))
        best = [path for tree in trees for path in self._within_margin(self._dedupe(tree))]
        self.rounds[p].append(
            tuple(self._step(row, path, path in best) for path, (row, _) in sampled_at.items())
        )
        self.beams[p] = best
        made = {path: k for k, path in enumerate(sampled_at)}
        self.made[p] = [made.get(path) for path in best]
        return [((p, place), sampled_at[path]) for place, path in enumerate(best) if not path.ended]

    def _dedupe(self, ranked: list[Trajectory]) -> list[Trajectory]:
        """The best of those that the strategy's ``state_key`` holds for the same."""
        state_key = self.strategy.state_key
        if state_key is None:
            return ranked
        first: dict[Hashable, Trajectory] = {}
        for path in ranked:
            key = state_key(path.steps)
            if not isinstance(key, Hashable):
                raise TypeError(
                    f"got a {type(key).__name__} from state_key, which cannot be looked up; let it "
                    "return a tuple, a frozenset or text"
                )
            first.setdefault(key, path)
        return list(first.values())

    def _within_margin(self, ranked: list[Trajectory]) -> list[Trajectory]:
        """As many of the first as a subtree keeps, without those too far below the first."""
        best = ranked[: self.strategy.beam_width // self.strategy.subtrees]
        if self.strategy.margin is None or not best:
            return best
        # The first was not cut off if any was not: what never finished drops nothing that did.
        floor = best[0].total - self.strategy.margin
        return [path for path in best if path.total >= floor]

    def _step(self, row: int, path: Trajectory, kept: bool) -> Step:
        """A candidate as its round saw it, for the trace."""
        assert path.branch is not None
        p, place = self.live[row]
        new = path.steps[len(self.beams[p][place].steps) :]
        return Step(
            text=self.splitter.separator.join(new),
            score=float(path.scores[-1]) if new else None,
            total=path.total,
            parent=self.made[p][place],
            kept=kept,
            finished=path.finished,
            tokens=len(path.branch.tokens),
            rationale=self.rationales[row],
            lookahead_text=path.lookahead_text,
        )


def _filled(beam: list[Trajectory], count: int) -> list[Trajectory]:
    """At least ``count`` trajectories: where fewer differ, the best are repeated."""
    return [beam[k % len(beam)] for k in range(max(count, len(beam)))]
