"""A folder that `export` wrote, as a repository that optimum and transformers.js load without code of ours."""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData

from ..markdown import yaml_head
from ..sentences import lacks
from .guard import Contents
from .hub import HubOptions, Repository
from .weights import licence_of, no_licence, read_training, why_closed

REQUIRED = ("README.md", "config.json", "preprocessor_config.json", "onnx/model.onnx", "parity.json", "parity.md")
OPTIONAL = (
    "onnx/model_quantized.onnx",
    "onnx/model_fp16.onnx",
    "onnx/pixels.onnx",
    "onnx/pixels_quantized.onnx",
    "example.py",
    "model.safetensors",
    "training.json",
)
_PLACE = "OWNER/NAME"  # what the page of `export` has for the name of the repository


@dataclass(frozen=True)
class Exported:
    """What `export` wrote: ONNX files, the configuration of a stock vision transformer, parity, and the page as card.

    Args:
        licence: of the weights, as the Hub names it; None is that of the faces, or "other".
    """

    folder: str | Path
    licence: str | None = None
    message = "Publish exported model"

    def contents(self, repo_id: str) -> Contents:
        """Raises FileNotFoundError where a file is missing, and ValueError as `weights.licence_of` does."""
        source = Path(self.folder)
        missing = [name for name in REQUIRED if not (source / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{lacks(source, missing)}; give the folder that export wrote")
        present = [name for name in (*REQUIRED, *OPTIONAL) if (source / name).is_file()]
        page = (source / "README.md").read_text(encoding="utf-8").replace(_PLACE, repo_id)
        card = f"---\n{yaml_head(self._head(source))}\n---\n\n{page}"
        return {**{name: source / name for name in present}, "README.md": card.encode()}

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Raises PermissionError and ValueError as `weights.why_closed` does."""
        training = read_training(Path(self.folder))
        reason, unlicensed = why_closed(training, self.licence, options), no_licence(training, self.licence)
        ours = re.compile("|".join(map(re.escape, OPTIONAL)))
        closed = reason is not None
        return Repository(repo_id, "model", closed=closed, ours=ours, reason=reason, no_licence=unlicensed)

    def _head(self, source: Path) -> ModelCardData:
        return ModelCardData(
            language="en",
            **licence_of(read_training(source), self.licence),
            library_name="transformers" if (source / "model.safetensors").is_file() else "onnx",
            pipeline_tag="image-classification",
            tags=["facial-expression", "soft-label", "affectnet-plus", "onnx", "transformers.js"],
        )
