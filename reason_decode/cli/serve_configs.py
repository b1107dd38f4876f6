"""Config of ``reason-decode serve``."""

from dataclasses import dataclass, field

from reason_decode.core.gateway_options import GatewayAccess, GatewayOptions
from reason_decode.core.model_options import ModelOptions
from reason_decode.core.options import EngineOptions

__all__ = ["ServeConfig"]


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve OpenAI's API; a request's model name carries the strategy, such as best-of-8/NAME.

    Args:
        model: generator: ``tiny``, a folder or a Hub id; its name at the server with ``engine``.
        host: address to listen at; one that other machines reach wants API keys.
        port: port to listen at; 0: a free one.
        stop_timeout: seconds that a running request has to end after SIGTERM.
        gateway: what is served, its limits and defaults.
        access: keys of the clients.
        engine: the server that samples.
        loading: how the generator is loaded.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    stop_timeout: int = 60
    gateway: GatewayOptions = field(default_factory=GatewayOptions)
    access: GatewayAccess = field(default_factory=GatewayAccess)
    engine: EngineOptions = field(default_factory=EngineOptions)
    loading: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ValueError(f"got port={self.port}; need a number from 0 to {2**16 - 1}")
        self.engine.check_model(self.loading)
        if self.stop_timeout < 0:
            raise ValueError(f"got stop_timeout={self.stop_timeout}; need at least 0")
