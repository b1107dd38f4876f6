"""Step search: sample next steps, score them, continue from the best."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import accumulate

import torch
from torch import LongTensor, Tensor

from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Cost, Step, Trace
from reason_decode.core.splitting import StepBoundary
from reason_decode.generation.context import append_context, as_branches
from reason_decode.generation.engine import Generation
from reason_decode.generation.sampling import Branch, DecodeBatch
from reason_decode.generation.streaming import common_prefix
from reason_decode.models.inputs import decode
from reason_decode.scorers.base import Scorer, check_reduce, check_scorer_argument, reduce_scores
from reason_decode.strategies.base import (
    Strategy,
    TokenBudget,
    check_max_tokens,
    check_num_sequences,
    check_positive,
    check_positive_or_none,
    chosen_sequences,
)
from reason_decode.strategies.beam import (
    StateKey,
    Trajectory,
    ranked_results,
    select_beam,
)


@dataclass(frozen=True, eq=False)
class StepSearch(Strategy):
    r"""Sample n next steps of each kept trajectory, score them, keep the best ``beam_width``.

    The first round samples ``n * beam_width`` steps, so that every round compares as many. A
    trajectory's total is ``reduce`` over the scores of its steps. A finished solution stays in
    the beam with its total; the search ends when all that is kept has finished. Equal next steps of
    a trajectory count once. A candidate cut off by ``max_new_tokens``, ``max_steps`` or
    ``max_tokens`` is scored as it stands and is returned only if nothing finished.
    ``num_return_sequences=k`` returns the k best of the beam. With n=1 and greedy decoding the
    tokens are those of plain ``generate``.

    Args:
        scorer: scores the steps; its splitter says where a step ends.
        tokenizer: the generator's tokenizer.
        streamer: receives the steps that all trajectories of the beam share, for one prompt.
        n: next steps sampled per kept trajectory.
        beam_width: trajectories kept per prompt; 1 is greedy search.
        subtrees: number of parts of the beam that are searched independently: the steps of the
            first round are dealt out to them in turn, and each keeps the best
            ``beam_width / subtrees`` of its own trajectories.
        max_steps: maximum number of rounds; ``None``: no limit but that of tokens.
        max_tokens: maximum number of tokens sampled per prompt, over all its candidates and their
            lookahead; the search then ends with the best so far. ``None``: no limit.
        lookahead: number of further steps that greedy decoding adds to each candidate before it is
            ranked, by the score of where they led.
        reduce: how the scores of a trajectory's steps become its total: "prod", "min", "last",
            "mean" or "sum". With "last", the default, an early step of doubtful score is forgiven
            once later steps, which are scored knowing more, score well.
        state_key: returns what a trajectory's future depends on, given its steps; of trajectories
            with equal keys only the best is kept. ``None``: all different texts are different.
        margin: drop trajectories whose total is lower than their subtree's best by more than this,
            so that a search that has found its way stops paying for the others; ``None``: keep all.

    Raises:
        ValueError: an argument is not allowed; when called: ``generate`` is asked for something
            that the strategy cannot do.

    Source: step-level beam search with a verifier and lookahead, Snell et al. 2024, 2408.03314,
    section 5.2; the last step's score for the whole: section 5.1; subtrees: diverse verifier tree
    search, Beeching et al. 2024, huggingface/search-and-learn.

    Examples:
        >>> from reason_decode import StepSearch, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> search = StepSearch(t.prm, tokenizer=t.tokenizer, n=4, beam_width=2)
        >>> sampling = {"do_sample": True, "max_new_tokens": 80, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **sampling, custom_generate=search)
        >>> best = out.traces[0].best
        >>> len(best.steps) == len(best.scores) and best.total == best.scores[-1]
        True
    """

    scorer: Scorer
    _: KW_ONLY
    n: int = 4
    beam_width: int = 1
    subtrees: int = 1
    max_steps: int | None = None
    max_tokens: int | None = None
    lookahead: int = 0
    reduce: Reduce = "last"
    state_key: StateKey | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scorer_argument("scorer", self.scorer)
        check_positive(n=self.n, beam_width=self.beam_width, subtrees=self.subtrees)
        check_positive_or_none(max_steps=self.max_steps)
        check_reduce(self.reduce, self.scorer)
        if self.lookahead != 0:
            check_positive(lookahead=self.lookahead)
        check_max_tokens(self.max_tokens, self.n * self.beam_width)
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

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Search all prompts of the batch side by side, round after round."""
        return SearchLoop(self, generation, prompts).run()


Position = tuple[int, int]
"""(prompt, index in its beam) of a trajectory, or (row of the round, index in it) of a candidate"""


class SearchLoop:
    """The rounds of a step search over all prompts of a batch.

    Each round works on a batch of rows, one per active trajectory: one that a beam has kept and
    that can be continued. The engine samples n branches of every row up to the next step boundary;
    the scorer's session scores the new steps as candidates of the row's trajectory; each prompt
    keeps the best of its new and its ended trajectories. Engine and session then get the
    indices of the branches and candidates that the next round continues, in the same order, so
    neither reads a kept step again.

    Args:
        strategy: the settings.
        generation: the call of ``generate``.
        prompts: the question of each prompt, which the scorer is asked about.
        append_context: whether the generator reads the texts that the scorer's session writes
            before each round (``Session.context_to_append``).
    """

    def __init__(
        self,
        strategy: StepSearch,
        generation: Generation,
        prompts: Sequence[str],
        append_context: bool = False,
    ) -> None:
        check_num_sequences(generation, strategy.n, strategy.beam_width, "beam_width trajectories")
        self.strategy, self.generation = strategy, generation
        self.append_context = append_context
        self.prompts = prompts
        # Started before anything is sampled: a prompt that the scorer cannot read costs no samples.
        self.session = strategy.scorer.start_session(self.prompts)
        self.splitter = strategy.scorer.splitter.with_tokenizer(strategy.tokenizer)
        self.boundary = StepBoundary(strategy.tokenizer, self.splitter)
        self.lookahead_boundary = StepBoundary(
            strategy.tokenizer, self.splitter, strategy.lookahead
        )
        self.budget = TokenBudget(len(self.prompts), strategy.max_tokens)
        no_tokens = generation.prompt_ids.new_zeros(0)
        root = Trajectory(no_tokens, "", (), torch.zeros(0), 0.0, None)
        self.beams: list[list[Trajectory]] = [[root] for _ in self.prompts]
        self.rounds: list[list[tuple[Step, ...]]] = [[] for _ in self.prompts]
        self.parent_index: list[list[int | None]] = [[None] for _ in self.prompts]
        """For each trajectory of each beam, the index of its last step in the last round."""
        self.active: list[Position] = [(p, 0) for p in range(len(self.prompts))]
        """The trajectories that continue, in the order of the session's trajectories."""
        self.written: list[str | None] = []
        """Texts that the session wrote before this round, one for each active trajectory."""

    def run(self) -> tuple[LongTensor, list[Trace], Cost]:
        """Search until every kept trajectory has ended or a limit is reached."""
        generation = self.generation
        max_rounds = self.strategy.max_steps or generation.max_new_tokens
        for round_index in range(max_rounds):
            if not self.active:
                break
            # The first round has one trajectory per prompt, later ones up to beam_width.
            n = self.strategy.n * (1 if round_index else self.strategy.beam_width)
            self._advance(self._rows(first=round_index == 0), n)
        beams = [ranked_results(beam, generation.num_return_sequences) for beam in self.beams]
        chosen = tuple(range(generation.num_return_sequences))
        traces = [
            Trace(
                prompt,
                generation.strategy_name,
                tuple(path.candidate() for path in beam),
                chosen,
                tuple(rounds),
            )
            for prompt, beam, rounds in zip(self.prompts, beams, self.rounds, strict=True)
        ]
        tokens = [[path.tokens for path in beam] for beam in beams]
        cost = generation.cost + Cost(scorer=self.session.tokens_read)
        return chosen_sequences(generation, tokens, traces), traces, cost

    def _rows(self, first: bool) -> DecodeBatch:
        """The batch of a round, after the session has written what precedes it."""
        extends = self.append_context
        rows = self.generation.prefill(branchable=True, croppable=extends) if first else None
        self.written = self.session.before_round()
        if rows is not None and not self.append_context:
            return rows
        branches = self._branches() if rows is None else as_branches(self.generation, rows)
        if self.append_context:
            context = [self._encode(text or "") for text in self.session.context_to_append()]
            branches = append_context(self.generation, branches, context)
        return self.generation.resume(branches)

    def _branches(self) -> list[Branch]:
        """The branches of the active trajectories, each with all tokens that are left for it."""
        branches: list[Branch] = []
        for p, k in self.active:
            path = self.beams[p][k]
            assert path.branch is not None
            left = self.generation.max_new_tokens - len(path.tokens)
            branches.append(replace(path.branch, remaining_tokens=left))
        return branches

    def _encode(self, text: str) -> Tensor:
        ids = self.strategy.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long, device=self.generation.prompt_ids.device)

    def _advance(self, rows: DecodeBatch, n: int) -> None:
        """One round: sample n steps per row, score them, and keep the best of each prompt."""
        owners = [p for p, _ in self.active]
        self.budget.limit(rows, owners, n)
        sampled = self.generation.sample(rows, n, self.boundary, branchable=True)
        groups: list[list[Trajectory]] = []
        for row, (p, k) in enumerate(self.active):
            branches = sampled[row * n : (row + 1) * n]
            self.budget.spend(p, branches)
            groups.append(self._unique(self.beams[p][k], branches))
        candidates = self._score(groups)
        if self.strategy.lookahead:
            candidates = self._look_ahead(candidates)
        active: list[Position] = []
        selected: list[Position] = []
        for p in sorted(set(owners)):
            going = self._keep_best(p, candidates)
            if self.budget.allows(p, self.strategy.n * len(going)):
                active += [position for position, _ in going]
                selected += [position for _, position in going]
        if self.strategy.lookahead:
            # To look ahead, every candidate was made a trajectory of the session: one row each.
            first_of_row = [0, *accumulate(map(len, candidates))]
            selected = [(first_of_row[row] + k, 0) for row, k in selected]
        self.session.select(selected)
        self.active = active
        if self.generation.stream is not None:
            shared = common_prefix([path.tokens for path in self.beams[0]])
            self.generation.stream.commit(shared)

    def _unique(self, parent: Trajectory, branches: Sequence[Branch]) -> list[Trajectory]:
        """The continuations of a trajectory, not yet scored, each text once."""
        paths: dict[tuple[str, bool], Trajectory] = {}
        for branch in branches:
            tokens = torch.cat([parent.tokens, branch.tokens])
            text = decode(self.strategy.tokenizer, tokens)
            # A step that is still growing is not scored, unless nothing can follow.
            steps = self.splitter.extend(parent.steps, parent.text, text, branch.stopped)
            is_first = parent.branch is None
            subtree = len(paths) % self.strategy.subtrees if is_first else parent.subtree
            path = Trajectory(tokens, text, steps, parent.scores, parent.total, branch, subtree)
            paths.setdefault((text, branch.stopped), path)
        return list(paths.values())

    def _score(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories with the scores of their new steps."""
        parents = [self.beams[p][k] for p, k in self.active]
        new_steps = [
            [list(path.steps[len(parent.steps) :]) for path in group]
            for parent, group in zip(parents, groups, strict=True)
        ]
        return [
            [
                self._with_scores(path, torch.cat([path.scores, new]))
                for path, new in zip(group, scores, strict=True)
            ]
            for group, scores in zip(groups, self.session.score(new_steps), strict=True)
        ]

    def _with_scores(self, path: Trajectory, scores: Tensor) -> Trajectory:
        return replace(path, scores=scores, total=self._total(scores))

    def _total(self, scores: Tensor) -> float:
        space = self.strategy.scorer.score_space
        return float(reduce_scores([scores], self.strategy.reduce, space)[0])

    def _look_ahead(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories, each with the total of where greedy decoding leads from it.

        All candidates become trajectories of the session for a moment, so that it scores what
        follows each of them; ``keep_cache=False`` lets nothing of that stay.
        """
        positions = [(row, k) for row, group in enumerate(groups) for k in range(len(group))]
        self.session.select(positions)
        paths = [groups[row][k] for row, k in positions]
        futures = self._roll_out(paths, [self.active[row][0] for row, _ in positions])
        new_steps = [[futures[i]] if futures.get(i) else [] for i in range(len(paths))]
        for i, scores in enumerate(self.session.score(new_steps, keep_cache=False)):
            if scores:
                total = self._total(torch.cat([paths[i].scores, scores[0]]))
                text = self.splitter.joiner.join(futures[i])
                paths[i] = replace(paths[i], total=total, lookahead_text=text)
        # An empty candidate for each: nothing is read, but select() can continue from them.
        self.session.score([[[]] for _ in paths])
        rest = iter(paths)
        return [[next(rest) for _ in group] for group in groups]

    def _roll_out(self, paths: Sequence[Trajectory], owners: Sequence[int]) -> dict[int, list[str]]:
        """Index of a trajectory -> its next steps by greedy decoding, where it can continue."""
        going: dict[int, Branch] = {
            i: path.branch
            for i, path in enumerate(paths)
            if path.branch is not None
            and not path.ended
            and self.budget.allows(owners[i], owners.count(owners[i]))
        }
        if not going:
            return {}
        tokenizer = self.strategy.tokenizer
        rows = self.generation.resume([*going.values()])
        self.budget.limit(rows, [owners[i] for i in going])
        branches = self.generation.sample(rows, 1, self.lookahead_boundary, greedy=True)
        for i, branch in zip(going, branches, strict=True):
            self.budget.spend(owners[i], [branch])
        texts = (decode(tokenizer, branch.tokens) for branch in branches)
        return {i: self.splitter.split(text) for i, text in zip(going, texts, strict=True)}

    def _keep_best(
        self, p: int, groups: Sequence[Sequence[Trajectory]]
    ) -> list[tuple[Position, Position]]:
        """Set a prompt's beam to the best of its new and its ended trajectories.

        Returns:
            For each trajectory that continues, its position in the beams and that of its candidate.
        """
        new: dict[Trajectory, Position] = {
            path: (row, k)
            for row, (owner, _) in enumerate(self.active)
            if owner == p
            for k, path in enumerate(groups[row])
        }
        settings = self.strategy
        beam = select_beam(
            [*(path for path in self.beams[p] if path.ended), *new],
            width=settings.beam_width,
            subtrees=settings.subtrees,
            state_key=settings.state_key,
            margin=settings.margin,
        )
        self.rounds[p].append(
            tuple(self._step(row, path, path in beam) for path, (row, _) in new.items())
        )
        index = {path: k for k, path in enumerate(new)}
        self.beams[p] = beam
        self.parent_index[p] = [index.get(path) for path in beam]
        return [((p, k), new[path]) for k, path in enumerate(beam) if not path.ended]

    def _step(self, row: int, path: Trajectory, kept: bool) -> Step:
        """A candidate of this round, for the trace."""
        assert path.branch is not None
        p, k = self.active[row]
        new_steps = path.steps[len(self.beams[p][k].steps) :]
        return Step(
            text=self.splitter.joiner.join(new_steps),
            score=float(path.scores[-1]) if new_steps else None,
            total=path.total,
            parent=self.parent_index[p][k],
            kept=kept,
            finished=path.finished,
            tokens=len(path.branch.tokens),
            rationale=self.written[row],
            lookahead_text=path.lookahead_text,
        )
