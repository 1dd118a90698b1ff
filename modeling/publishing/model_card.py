"""The model card: every number in it is read from the metrics.json, training.json and config.json beside it, or was
said by the model of a face that we drew."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import TemplateError

from affectnet_plus_cards import MODEL_CARD

from ..markdown import rendered, yaml_head
from ..terms import TERMS
from .card_data import ModelCardRecord, read_record
from .card_head import PAPER, expected, face_line, facts, head
from .examples import SHEET, Example
from .options import is_repo_id
from .results import results_of
from .training_facts import (
    data_citation,
    energy_text,
    model_citation,
    options_table,
    training_table,
    uncertainty_text,
)

ONNX_FILE = "onnx/model.onnx"  # where `export` writes the graph, from its folder


def render_model_card(
    folder: Path,
    repo_id: str,
    licence: str = "other",
    dataset_id: str | None = None,
    examples: Sequence[Example] = (),
) -> str:
    """The README.md of a model folder.

    Without metrics.json the card says that the model was not evaluated, without training.json that the training was
    not recorded.

    Args:
        repo_id: what the examples load.
        licence: of the weights, as the Hub names it; "other" takes that of the training faces, if these have one.
        dataset_id: of the evaluated data on the Hub; None names the prepared folder in the results, and no data set.
        examples: what the model says of faces that we draw; without them the card shows no face and no output.

    Raises:
        ValueError: from `read_record`; or a record is not as this version writes it, so that a card cannot state it.
    """
    record = read_record(folder, repo_id, licence, dataset_id, examples)
    try:
        return _rendered(record)
    except (LookupError, TypeError, AttributeError, TemplateError) as error:
        raise ValueError(
            f"metrics.json or training.json of {folder} is not as this version writes it ({type(error).__name__}: "
            f"{error}). Evaluate again, or take the file away"
        ) from error


def _rendered(record: ModelCardRecord) -> str:
    training = record.training
    return rendered(
        MODEL_CARD,
        card_data=yaml_head(head(record)),
        record=record,
        config=record.config,
        training=training,
        facts=facts(record),
        sheet=SHEET,
        files=_listed([f"`{name}`" for name in record.files]),
        drawn=training is not None and training["data"]["origin"] == "drawn",
        on_hub=is_repo_id(record.repo_id),
        hub_face=bool(record.examples) and is_repo_id(record.repo_id),
        face=face_line(record),
        expected=expected(record),
        onnx_file=ONNX_FILE,
        paper=PAPER,
        results=results_of(record, record.metrics) if record.metrics else None,
        training_table=training_table(training, record.config, record.started_from) if training else None,
        options_table=options_table(record),
        energy=energy_text(training["energy"], training["processes"]) if training else None,
        uncertainty=uncertainty_text(record),
        cite_model=model_citation(record),
        cite_affectnet_plus=TERMS["AffectNet+"].citation,
        cite_data=data_citation(record),
    )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
