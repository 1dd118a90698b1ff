"""The model card: every number in it is read from the metrics.json and training.json beside it."""

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from affectnet_plus_cards import MODEL_CARD

REPORTED = {"accuracy": "accuracy", "macro_f1": "macro F1", "kl": "KL(soft label || predicted), nats",
            "js": "Jensen-Shannon, nats", "ece": "ECE"}  # fmt: skip


def render_model_card(folder: Path, repo_id: str, licence: str = "other") -> str:
    """The README.md of a model folder. Without metrics.json the card says that the model was not evaluated."""
    config = json.loads((folder / "config.json").read_text())
    metrics, training = (_read(folder / name) for name in ("metrics.json", "training.json"))
    data = ModelCardData(
        license=licence,
        license_name="see-card" if licence == "other" else None,
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["facial-expression", "soft-label", "valence-arousal", "custom_code"],
        metrics=["accuracy", "f1"],
        model_name=repo_id.rpartition("/")[2] if metrics else None,
        eval_results=_eval_results(metrics) if metrics else None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(MODEL_CARD),
        repo_id=repo_id,
        config=config,
        labels=[config["id2label"][str(index)] for index in range(len(config["id2label"]))],
        metrics=metrics,
        training=training,
        pictures=[name for name in ("confusion.png", "reliability.png") if (folder / name).is_file()],
    )
    return str(card)


def _read(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _eval_results(metrics: dict) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=metrics["data"],
            dataset_name=metrics["data"],
            dataset_split=metrics["split"],
            dataset_config=metrics["view"],
            metric_type=key,
            metric_name=name,
            metric_value=round(metrics[key], 4),
        )
        for key, name in REPORTED.items()
        if metrics[key] is not None
    ]
