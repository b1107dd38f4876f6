"""The folder of a trained model: weights or adapter, model card, and its copy on the Hub."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import write_json, write_text
from reason_decode.models.checkpoint import ADAPTED_CONFIG
from reason_decode.training.config import TrainingConfig
from reason_decode.training.lora import merge_and_unload

__all__ = ["ModelCard", "check_hub", "save_model"]

_MARK = "<!-- Written by reason-decode train, which writes it anew until this line is removed. -->"
# Config -> what was trained, its tag, and how it is loaded.
_KINDS = {
    "PRMConfig": ("A process reward model", "process-reward-model", "ProcessRewardModel"),
    "ORMConfig": ("An outcome reward model", "outcome-reward-model", "OutcomeRewardModel"),
    "RankerConfig": ("A ranker of solutions", "outcome-reward-model", "RankingModel"),
    "RationalystConfig": ("A rationale model", "rationales", "RationaleScorer"),
}
_NOT_SHOWN = ("restart", "report_to", "push_to_hub", "hub_model_id")


@dataclass(frozen=True)
class ModelCard:
    """The model card of a training run.

    Args:
        base: name of the model that the training started from.
        config: the settings of the training.
        result: the counts, losses and metrics of ``trainer.train``.
    """

    base: str
    config: TrainingConfig
    result: Mapping[str, Any]

    def text(self, name: str, *, adapter: bool) -> str:
        """The card in Markdown, with the metadata that the Hub reads.

        Args:
            name: the title.
            adapter: whether the folder holds an adapter alone.
        """
        kind = type(self.config).__name__
        adapts = "A LoRA adapter"
        what, tag, loads_in = _KINDS.get(kind, (adapts, "lora", "adapters.with_adapter"))
        head = {"library_name": "peft" if adapter else "transformers", "tags": [tag]}
        if self.base and not Path(self.base).is_dir():
            head["base_model"] = self.base
        metadata = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
        load = f"{loads_in}.from_pretrained" if loads_in[0].isupper() else loads_in
        changed = [
            (x.name, value)
            for x in fields(self.config)
            if (value := getattr(self.config, x.name)) != x.default and x.name not in _NOT_SHOWN
        ]
        parts = [
            f"---\n{metadata}\n---\n{_MARK}\n\n# {name}",
            f"{what}{', as a LoRA adapter,' if adapter and what != adapts else ''} trained from "
            f"`{self.base or 'a model in memory'}`; `reason_decode.{load}` loads it.",
            "## Data and metrics\n\n" + _table(self.result),
            "## Settings\n\n" + _table({"config": kind, **dict(changed)}),
        ]
        return "\n\n".join(parts) + "\n"


def _table(rows: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return json.dumps(text)[1:-1].replace("|", "\\|")

    lines = [f"| {name} | {shown(value)} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *lines])


def save_model(
    model: Any,
    tokenizer: Any,
    output: Path,
    card: ModelCard,
    adapters: Sequence[str] | None = None,
    merge_lora: bool = True,
) -> None:
    """Save a model, its tokenizer and its card; push them to the Hub if the config says so.

    A README.md that this function did not write stays as it is.

    Args:
        model: a transformers model, or a peft model around one.
        tokenizer: the tokenizer of ``model``.
        output: the folder.
        card: the model card.
        adapters: names of the adapters to save if they are not merged; ``None`` for all.
        merge_lora: merge LoRA matrices into the weights; else save them alone.

    Raises:
        OSError: the folder cannot be written, or the Hub refuses it; what is saved stays.
    """
    readme = output / "README.md"
    theirs = readme.read_bytes() if readme.is_file() and not _is_ours(readme) else None
    adapter = not merge_lora and hasattr(model, "peft_config")
    if adapter:
        model.eval().save_pretrained(output, selected_adapters=adapters)
        if settings := _own_settings(model.config):
            write_json(output / ADAPTED_CONFIG, settings)
    else:
        merge_and_unload(model).eval().save_pretrained(output)
    tokenizer.save_pretrained(output)
    # peft writes a card of its own, also over one that is there.
    if theirs is not None:
        if readme.read_bytes() != theirs:
            readme.write_bytes(theirs)
    else:
        write_text(readme, card.text(output.resolve().name, adapter=adapter))
    if card.config.push_to_hub:
        _push(output, card.config.hub_model_id)


def _is_ours(readme: Path) -> bool:
    return _MARK in readme.read_text(encoding="utf-8", errors="replace")


def _own_settings(config: Any) -> dict[str, Any]:
    """The fields of a model's config that scorers read and that its base does not have."""
    given = config.to_dict()
    names = {"id2label", "label2id"} if "reason_decode_prm" in given else set()
    return {x: v for x, v in given.items() if x in names or x.startswith("reason_decode")}


def check_hub(config: TrainingConfig) -> None:
    """Raise before any training if the result is to be pushed to the Hub and cannot be.

    Raises:
        ValueError: nobody is logged in.
    """
    from huggingface_hub import get_token

    if config.push_to_hub and not get_token():
        raise ValueError(
            "got push_to_hub, and no token of the Hub: run `hf auth login`, or set HF_TOKEN"
        )


def _push(output: Path, name: str | None) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        repo = api.create_repo(name or output.resolve().name, private=True, exist_ok=True).repo_id
        api.upload_folder(repo_id=repo, folder_path=output, ignore_patterns=["checkpoints/**"])
    except HfHubHTTPError as error:
        reason = " ".join(str(error).split())[:300]
        raise OSError(f"the model is saved in {output}, and not pushed to the Hub: {reason}") from (
            error
        )
