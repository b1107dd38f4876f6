"""Options of the gateway: its limits, its keys, and the defaults of requests."""

from dataclasses import dataclass, field

from reason_decode.core.model_options import PromptOptions, SamplingOptions
from reason_decode.core.options import ScorerOptions, check_at_least_one
from reason_decode.core.solution_options import SolutionOptions, ThoughtOptions

__all__ = ["GatewayAccess", "GatewayLimits", "GatewayOptions"]


@dataclass(frozen=True, kw_only=True)
class GatewayLimits:
    """Limits of a gateway; a request beyond one is refused before any work is spent.

    Args:
        max_candidates: candidates of a prompt, of step-search n times beam_width.
        max_completion_tokens: tokens of a completion; also where a request does not say.
        max_prompts: prompts of one request of /v1/completions.
        max_waiting: requests that wait for the model; further ones are refused with status 429.
        max_request_bytes: bytes of a request.
        max_traces: requests whose traces are kept; the oldest are dropped.
        max_trace_bytes: bytes of all kept traces.

    Raises:
        ValueError: a value is out of range.
    """

    max_candidates: int = 64
    max_completion_tokens: int = 2048
    max_prompts: int = 16
    max_waiting: int = 64
    max_request_bytes: int = 2**20
    max_traces: int = 256
    max_trace_bytes: int = 2**26

    def __post_init__(self) -> None:
        names = ("max_candidates", "max_completion_tokens", "max_prompts", "max_request_bytes")
        check_at_least_one(self, *names)
        for name in ("max_waiting", "max_traces", "max_trace_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"got {name}={getattr(self, name)}; need at least 0")


@dataclass(frozen=True, kw_only=True)
class GatewayAccess:
    """Keys of a gateway's clients.

    Args:
        client_key_env: environment variable with the keys of clients, with commas between
            them (default: no key is asked for).
        client_key_file: file with such keys, one a line.

    Raises:
        ValueError: both are given.
    """

    client_key_env: str | None = None
    client_key_file: str | None = None

    def __post_init__(self) -> None:
        if self.client_key_env is not None and self.client_key_file is not None:
            raise ValueError(
                f"got client_key_env={self.client_key_env} and "
                f"client_key_file={self.client_key_file}; give one"
            )


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    """Options of the requests to a gateway.

    Args:
        served_model_name: name of the model in requests (default: the Hub id, or the folder's
            name).
        strategies: model names with a strategy that /v1/models lists, such as ``vote-16``; others
            are served, too (default: one of each kind).
        limits: limits of a request, and of all of them.
        sampling: how tokens are drawn where a request does not say.
        prompting: how prompts are rendered.
        scoring: the scorer.
        solutions: where the steps of solutions end.
        thoughts: the thoughts in solutions.
    """

    served_model_name: str | None = None
    strategies: tuple[str, ...] = ()
    limits: GatewayLimits = field(default_factory=GatewayLimits)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    prompting: PromptOptions = field(default_factory=PromptOptions)
    scoring: ScorerOptions = field(default_factory=ScorerOptions)
    solutions: SolutionOptions = field(default_factory=SolutionOptions)
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)
