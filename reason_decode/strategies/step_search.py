"""Step search: sample next steps, score them, continue from the best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import LongTensor, Tensor

from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Candidate, Cost, Step, Trace
from reason_decode.core.splitting import Boundary, StepBoundary
from reason_decode.core.thinking import ScorePart
from reason_decode.generation.interface import Batch, Generation
from reason_decode.generation.sampling import Branch
from reason_decode.generation.streaming import common_prefix
from reason_decode.scorers.base import Scorer, Session, reduce_scores
from reason_decode.strategies.base import (
    Strategy,
    TokenBudget,
    check_num_sequences,
    chosen_sequences,
)
from reason_decode.strategies.beam import StateKey, check_search, first_of_each_state


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
        score_part: the part of a solution that has steps and is scored: "both", "answer" (a thought
            goes with the first step behind it) or "thought" (what follows it goes unscored).

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
    score_part: ScorePart = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search(self)

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Search all prompts of the batch side by side, round after round."""
        loop = SearchLoop
        # Imported here: these loops inherit from the one of this file.
        if self.score_part != "both" and self.lookahead:
            from reason_decode.strategies.score_parts import PartLookaheadLoop as loop
        elif self.score_part != "both":
            from reason_decode.strategies.score_parts import PartLoop as loop
        elif self.lookahead:
            from reason_decode.strategies.lookahead import LookaheadLoop as loop
        elif self.scorer.reads_generation(generation.model):
            from reason_decode.strategies.generated import GeneratedLoop as loop
        return loop(self, generation, prompts).run()


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The beginning of a solution: some of its steps, or all if it has ended.

    Args:
        tokens: its new ids, (t,) int64.
        text: the tokens as text.
        steps: the steps of the text that a separator has ended; all steps if the trajectory has
            ended.
        scores: float32 (s,), one per step, or one per round from a scorer of whole solutions.
        total: the number it is ranked by.
        branch: the engine's state to continue from.
        subtree: index of the part of the beam that it belongs to.
        lookahead_text: greedy continuation that ``total`` was scored by; ``None`` without
            lookahead.
    """

    tokens: Tensor
    text: str
    steps: tuple[str, ...]
    scores: Tensor
    total: float
    branch: Branch
    subtree: int = 0
    lookahead_text: str | None = None

    @property
    def sort_key(self) -> tuple[bool, float]:
        """Ascending sort key: trajectories that were cut off come last, then by total."""
        return self.branch.stopped and not self.branch.finished, -self.total

    def candidate(self, in_thought: bool) -> Candidate:
        """The trajectory as a whole solution of a prompt that opened a thought, or did not."""
        numbers = tuple(self.scores.tolist()), self.total, self.branch.finished, len(self.tokens)
        return Candidate(self.text, self.steps, *numbers, None, in_thought)


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
        session: scores the steps; ``None``: a session of the scorer.
    """

    merges_equal = True  # next steps of a trajectory with the same text count once

    def __init__(
        self,
        strategy: StepSearch,
        generation: Generation,
        prompts: Sequence[str],
        session: Session | None = None,
    ) -> None:
        check_num_sequences(generation, strategy.n, strategy.beam_width, "beam_width trajectories")
        self.strategy, self.generation, self.prompts = strategy, generation, prompts
        # Started before anything is sampled: a prompt that the scorer cannot read costs no samples.
        self.session = session or strategy.scorer.start_session(self.prompts)
        self.splitter = strategy.scorer.splitter.with_tokenizer(strategy.tokenizer)
        self.reader = strategy.reader(generation, prompts)
        self.boundaries = self.boundary(1), self.boundary(1, first=True)
        self.budget = TokenBudget(len(self.prompts), strategy.max_tokens)
        branch = Branch(generation.prompt_ids.new_zeros(0), False, False, generation.max_new_tokens)
        root = Trajectory(branch.tokens, "", (), torch.zeros(0), 0.0, branch)
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
            self._advance(self.rows(first=round_index == 0), n)
        beams = [ranked_results(beam, generation.num_return_sequences) for beam in self.beams]
        name, chosen = generation.strategy_name, tuple(range(generation.num_return_sequences))
        traces = [
            Trace(prompt, name, tuple(x.candidate(opened) for x in beam), chosen, tuple(rounds))
            for prompt, opened, beam, rounds in zip(
                self.prompts, self.reader.in_thought, beams, self.rounds, strict=True
            )
        ]
        tokens = [[path.tokens for path in beam] for beam in beams]
        cost = generation.cost + Cost(scorer=self.session.tokens_read)
        return chosen_sequences(generation, tokens, traces), traces, cost

    def rows(self, first: bool) -> Batch:
        """The batch of a round, after the session has written what precedes it."""
        prompts = self.generation.prefill(branchable=True) if first else None
        self.written = self.session.before_round()
        return self.generation.resume(self.branches()) if prompts is None else prompts

    def branches(self) -> list[Branch]:
        """The branches of the active trajectories, each with all tokens that are left for it."""
        paths, most = [self.beams[p][k] for p, k in self.active], self.generation.max_new_tokens
        return [replace(x.branch, remaining_tokens=most - len(x.tokens)) for x in paths]

    def _advance(self, rows: Batch, n: int) -> None:
        """One round: sample n steps per row, score them, and keep the best of each prompt."""
        owners = [p for p, _ in self.active]
        self.budget.limit(rows, owners, n)
        boundary = self.boundaries[not any(self.rounds)]
        sampled = self.generation.sample(rows, n, boundary, branchable=True)
        groups: list[list[Trajectory]] = []
        for row, (p, k) in enumerate(self.active):
            branches = sampled[row * n : (row + 1) * n]
            self.budget.spend(p, branches)
            groups.append(self.continuations(p, self.beams[p][k], branches))
        candidates = self.score(groups)
        active, selected = list[Position](), list[Position]()
        for p in sorted(set(owners)):
            going = self.keep_best(p, candidates)
            if self.budget.allows(p, self.strategy.n * len(going)):
                active += [position for position, _ in going]
                selected += [position for _, position in going]
        self.select(selected)
        self.active = active
        if self.generation.stream is not None:
            self.generation.stream.commit(common_prefix([x.tokens for x in self.beams[0]]))

    def boundary(self, count: int, first: bool = False) -> Boundary:
        """The predicate that pauses after ``count`` steps; in the first round, or in later ones."""
        return StepBoundary(self.strategy.tokenizer, self.splitter, count)

    def part(self, text: str, p: int) -> str:
        """The part of a text that has steps: all of it."""
        return text

    def select(self, positions: Sequence[Position]) -> None:
        """Let the session continue with these candidates of the rows."""
        self.session.select(positions)

    def continuations(
        self, p: int, parent: Trajectory, branches: Sequence[Branch]
    ) -> list[Trajectory]:
        """The continuations of a trajectory, not yet scored."""
        paths: dict[tuple[str, bool, int], Trajectory] = {}
        for k, branch in enumerate(branches):
            tokens = torch.cat([parent.tokens, branch.tokens])
            text = self.reader.decode(tokens)
            # A step that is still growing is not scored, unless nothing can follow.
            before, part = self.part(parent.text, p), self.part(text, p)
            steps = self.splitter.extend(parent.steps, before, part, branch.stopped)
            is_first = not len(parent.tokens)
            subtree = len(paths) % self.strategy.subtrees if is_first else parent.subtree
            path = Trajectory(tokens, text, steps, parent.scores, parent.total, branch, subtree)
            paths.setdefault((text, branch.stopped, 0 if self.merges_equal else k), path)
        return list(paths.values())

    def score(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories with the scores of their new steps."""
        parents = [self.beams[p][k] for p, k in self.active]
        new_steps = [
            [list(path.steps[len(parent.steps) :]) for path in group]
            for parent, group in zip(parents, groups, strict=True)
        ]
        return [
            [self.scored(path, new) for path, new in zip(group, scores, strict=True)]
            for group, scores in zip(groups, self.session.score(new_steps), strict=True)
        ]

    def scored(self, path: Trajectory, new: Tensor) -> Trajectory:
        """A trajectory with the scores of its new steps, (s,)."""
        scores = torch.cat([path.scores, new])
        return replace(path, scores=scores, total=self.total(scores))

    def total(self, scores: Tensor) -> float:
        """The total of a trajectory with these scores, (s,)."""
        space = self.strategy.scorer.score_space
        return float(reduce_scores([scores], self.strategy.reduce, space)[0])

    def keep_best(
        self, p: int, groups: Sequence[Sequence[Trajectory]]
    ) -> list[tuple[Position, Position]]:
        """Set a prompt's beam to what it keeps of its new and its ended trajectories.

        Returns:
            For each trajectory that continues, its position in the beams and that of its candidate.
        """
        new: dict[Trajectory, Position] = {
            path: (row, k)
            for row, (owner, _) in enumerate(self.active)
            if owner == p
            for k, path in enumerate(groups[row])
        }
        beam, index = self.kept(p, new), {path: k for k, path in enumerate(new)}
        self.rounds[p].append(
            tuple(self._step(row, path, path in beam) for path, (row, _) in new.items())
        )
        self.beams[p] = beam
        self.parent_index[p] = [index.get(path) for path in beam]
        return [((p, k), new[path]) for k, path in enumerate(beam) if not path.branch.stopped]

    def kept(self, p: int, new: Mapping[Trajectory, Position]) -> list[Trajectory]:
        """The next beam of a prompt: the best of its ended and its new trajectories."""
        settings = self.strategy
        return select_beam(
            [*(path for path in self.beams[p] if path.branch.stopped), *new],
            width=settings.beam_width,
            subtrees=settings.subtrees,
            state_key=settings.state_key,
            margin=settings.margin,
        )

    def _step(self, row: int, path: Trajectory, kept: bool) -> Step:
        """A candidate of this round, for the trace."""
        p, k = self.active[row]
        new_steps = path.steps[len(self.beams[p][k].steps) :]
        return Step(
            text=self.splitter.joiner.join(new_steps),
            score=float(path.scores[-1]) if new_steps else None,
            total=path.total,
            parent=self.parent_index[p][k],
            kept=kept,
            finished=path.branch.finished,
            tokens=len(path.branch.tokens),
            rationale=self.written[row],
            lookahead_text=path.lookahead_text,
        )


def select_beam(
    trajectories: Iterable[Trajectory],
    *,
    width: int,
    subtrees: int,
    state_key: StateKey | None,
    margin: float | None,
) -> list[Trajectory]:
    """The trajectories that a beam keeps, subtree by subtree, the best of each first.

    Args:
        trajectories: the candidates; where two rank alike, the first is kept.
        width: trajectories to keep, a multiple of ``subtrees``.
        subtrees: each subtree keeps the best ``width / subtrees`` of its own.
        state_key: of trajectories of a subtree with the same key only the best is kept; ``None``:
            all are different.
        margin: drop what scores lower than the subtree's best by more than this; ``None``: nothing.

    Raises:
        TypeError: ``state_key`` returned something that cannot be hashed.
    """
    ranked = sorted(trajectories, key=lambda path: path.sort_key)
    beam: list[Trajectory] = []
    for subtree in range(subtrees):
        own = [path for path in ranked if path.subtree == subtree]
        if state_key is not None:
            own = [own[k] for k in first_of_each_state([path.steps for path in own], state_key)]
        own = own[: width // subtrees]
        if margin is not None:
            # The first was cut off only if all were: what finished is never dropped for a cut one.
            own = [path for path in own if path.total >= own[0].total - margin]
        beam += own
    return beam


def ranked_results(beam: Sequence[Trajectory], count: int) -> list[Trajectory]:
    """The final trajectories, finished ones first, then by total; at least ``count`` of them.

    Where there are fewer than ``count``, the best are repeated.
    """
    ranked = sorted(beam, key=lambda path: (not path.branch.finished, -path.total))
    return [ranked[k % len(ranked)] for k in range(max(count, len(ranked)))]
