"""The model card: every number in it is read from the metrics.json, training.json and config.json beside it."""

from pathlib import Path

from huggingface_hub import ModelCardData
from jinja2 import Environment, StrictUndefined, TemplateError

from affectnet_plus_cards import MODEL_CARD

from ..terms import TERMS
from .card_data import ModelCardRecord, read_record
from .results import eval_results, results_of
from .training_facts import (
    data_citation,
    energy_text,
    model_citation,
    options_table,
    training_table,
    uncertainty_text,
)


def render_model_card(folder: Path, repo_id: str, licence: str = "other", dataset_id: str | None = None) -> str:
    """The README.md of a model folder.

    Without metrics.json the card says that the model was not evaluated, without training.json that the training was
    not recorded.

    Args:
        repo_id: what the examples load.
        licence: of the weights, as the Hub names it; "other" takes that of the training faces, if these have one.
        dataset_id: of the evaluated data on the Hub; None names the prepared folder in the results, and no data set.

    Raises:
        ValueError: from `read_record`; or a record is not as this version writes it, so that a card cannot state it.
    """
    record = read_record(folder, repo_id, licence, dataset_id)
    try:
        return _rendered(record)
    except (LookupError, TypeError, AttributeError, TemplateError) as error:
        raise ValueError(
            f"metrics.json or training.json of {folder} is not as this version writes it ({type(error).__name__}: "
            f"{error}). Evaluate again, or take the file away"
        ) from error


def _rendered(record: ModelCardRecord) -> str:
    # StrictUndefined, which `ModelCard.from_template` has not: what is missing raises, and leaves no blank.
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(MODEL_CARD.read_text())
    training = record.training
    return template.render(
        card_data=_head(record).to_yaml(),
        record=record,
        config=record.config,
        training=training,
        results=results_of(record, record.metrics) if record.metrics else None,
        training_table=training_table(training, record.config, record.started_from) if training else None,
        options_table=options_table(record),
        energy=energy_text(training["energy"]) if training else None,
        uncertainty=uncertainty_text(record),
        cite_model=model_citation(record),
        cite_affectnet_plus=TERMS["AffectNet+"].citation,
        cite_data=data_citation(record),
    )


def _head(record: ModelCardRecord) -> ModelCardData:
    return ModelCardData(
        language="en",
        **record.licence,
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["facial-expression", "soft-label", "valence-arousal", "affectnet-plus", "custom_code"],
        datasets=[record.dataset_id] if record.dataset_id else None,
        metrics=["accuracy", "f1"] if record.metrics else None,
        base_model=record.base_model,
        base_model_relation="finetune" if record.base_model else None,
        model_name=record.repo_id.rpartition("/")[2] if record.metrics else None,
        eval_results=eval_results(record, record.metrics) if record.metrics else None,
    )
