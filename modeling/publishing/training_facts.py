"""What the card says of the training, of the uncertainty that was fitted after it, and how the model is cited."""

from ..markdown import escaped
from ..preparing.columns import markdown_table
from ..shipped import PRETRAINED
from ..terms import TERMS
from ..vit import AffectNetPlusConfig
from ..vit.losses import LOSSES
from .card_data import ModelCardRecord
from .options import is_repo_id

MAINTAINERS = "The affectnet-plus maintainers"  # as CITATION.cff has them


def training_table(training: dict, config: AffectNetPlusConfig, started_from: str | None) -> str:
    """The facts of the run, its training.json, as a Markdown table."""
    options, data = training["options"], training["data"]
    faces = f"{training['training_faces']:,}"
    if training["never_drawn"]:
        faces += f", of which {training['never_drawn']:,} were never drawn: their label is not known"
    step = f"{options['batch_size']} faces on each device"
    if options["accumulation"] > 1:
        step += f", {options['accumulation']} times a step"
    versions = ", ".join(f"{name} {number}" for name, number in training["versions"].items())
    rows = [
        (
            "network",
            f"{config.num_hidden_layers} layers, width {config.hidden_size}, {config.num_attention_heads} "
            f"heads, patches of {config.patch_size} pixels; {training['parameters']:,} parameters",
        ),
        ("data", f"{escaped(data['name'])}, origin: {escaped(data['origin'] or 'not known')}"),
        ("fingerprint of the data's source", f"`{data['fingerprint']}`" if data["fingerprint"] else "not known"),
        ("faces", faces),
        ("target", _target(options)),
        (
            "steps",
            f"{training['steps']:,}; {step}, {training['processes']} process{'es' * (training['processes'] > 1)}",
        ),
        ("seed", f"{options['seed']}: weights at the start, order of the faces, their changes"),
        (
            "kept",
            f"step {training['best_step']:,}, the best on {training['choosing_faces']:,} "
            + ("held-out training faces" if options["holdout"] else "faces of the validation split"),
        ),
        ("time", f"{training['seconds']:,.0f} s, finished on {training['finished']} (UTC)"),
        (
            "hardware",
            f"{training['hardware']}{' in each process' * (training['processes'] > 1)}"
            f"{', bfloat16' * bool(options['bf16'])}",
        ),
        ("versions", versions),
    ]
    if started_from:
        rows.insert(1, ("started from", started_from))
    return markdown_table(("", ""), rows)


def _target(options: dict) -> str:
    loss = LOSSES[options["loss"]]
    told = "soft label, " + loss.words
    if options["target"] != "soft":
        told = f"one-hot label, {loss.of_one_hot or loss.words}"
    if teachers := options.get("teachers"):  # none in the records of before there were any
        told += f"; {options['teaching']} of it is the mean answer of the teachers {', '.join(teachers)}"
    return told


def options_table(record: ModelCardRecord) -> str | None:
    """The options that are not the defaults as a Markdown table; None where all are."""
    rows = [(f"`{name}`", _written(value)) for name, value in record.changed_options.items()]
    return markdown_table(("option", "value"), rows) if rows else None


def _written(value) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def energy_text(energy: dict | None, processes: int) -> str:
    """The estimate of a training.json with what it assumes of each of its processes."""
    if energy is None:
        return "**Energy:** not estimated, since the power of the hardware is not known."
    least, most = energy["watts"]
    power = f"{least:g} to {most:g} W"
    whole = "" if power in energy["assumption"] else f" ({power} in all)"  # that of one thread says it already
    each = " in each process" if processes > 1 else ""
    return (
        f"**Energy:** an estimate and not a measurement: {_energy(*energy['kilowatt_hours'])}, the time of the run at "
        f"an assumed power, {energy['assumption']}{each}{whole}. Memory, cooling and the rest of the machine are not "
        "in it."
    )


def _energy(low: float, high: float) -> str:
    """Kilowatt hours in the unit in which they are no fractions with many zeros."""
    if high < 1e-5:
        return "less than 0.01 Wh"
    return f"{low:g} to {high:g} kWh" if high >= 0.01 else f"{1000 * low:.3g} to {1000 * high:.3g} Wh"


def uncertainty_text(record: ModelCardRecord) -> str | None:
    """What `affectnet-plus calibrate` stored in the configuration; None where it has not run."""
    fitted = record.config.uncertainty
    if fitted is None:
        return None
    truth = {"label": "the human label", "vote": "one random annotator's vote"}[fitted["of"]]
    rule = {
        "threshold": "the classes whose probability is at least",
        "aps": "the most probable classes whose probabilities sum to at most",
    }[fitted["method"]]
    quantile = fitted["quantile"]
    each = quantile if isinstance(quantile, list) else [quantile]
    bounds = _listed([1 - value if fitted["method"] == "threshold" else value for value in each])
    bound = f"a bound of each emotion ({bounds})" if isinstance(quantile, list) else bounds
    threshold = fitted["abstain_entropy"]
    accuracy, confidence = f"{fitted['abstain_accuracy']:.1%}", fitted["abstain_confidence"]
    kept = (
        f"with a probability of {confidence:.0%} answers of new faces are right at least {accuracy} of the time"
        if confidence
        else f"of the faces of the fit, the answered ones were right at least {accuracy} of the time, which new ones "
        "miss in about half of the cases"
    )
    abstain = (
        f"never, since no threshold of entropy reached an accuracy of {accuracy}"
        if threshold is None
        else f"above an entropy of {threshold:.4f} nats; {kept}"
    )
    share = "" if fitted["share"] == 1 else f", a random share of {fitted['share']} by seed {fitted['seed']}"
    return (
        f"**Temperature** {record.config.logit_temperature:.4f}: the model divides its logits by it; fitted against "
        f"{fitted['against']} labels. **Prediction set** ({fitted['method']}): {rule} {bound}, and "
        f"always the most probable one; promised to hold {truth} for {fitted['coverage']:.1%} of faces like those of "
        f"the fit. **Abstain:** {abstain}. All were fitted on {fitted['rows']:,} faces of `{fitted['data']}`, "
        f"{fitted['split']} split, {fitted['view']} view{share}."
    )


def model_citation(record: ModelCardRecord) -> str:
    """BibTeX of the model itself: its owner and address where its name has an owner, the year where it is recorded.

    One of the package is its maintainers'; of another folder nobody knows the author, and then BibTeX wants a `key`.
    """
    owner, _, name = record.repo_id.rpartition("/")
    title = {"title": f"{name}: soft labels of facial expressions"}
    fields = ({"author": f"{{{MAINTAINERS}}}"} if name in PRETRAINED else {"key": name}) | title
    if is_repo_id(record.repo_id):
        address = rf"\url{{https://huggingface.co/{record.repo_id}}}"
        fields = {"author": f"{{{owner}}}"} | title | {"howpublished": address}
    if record.training:
        fields["year"] = record.training["finished"][:4]
    width = max(map(len, fields))
    lines = [f"  {key:<{width}} = {{{value}}}" for key, value in fields.items()]
    return "@misc{" + _key(name) + ",\n" + ",\n".join(lines) + "\n}"


def _key(name: str) -> str:
    return "".join(character for character in name if character.isalnum()) or "model"


def data_citation(record: ModelCardRecord) -> str | None:
    """BibTeX of the training faces, beside that of AffectNet+."""
    cited = record.terms.citation if record.terms else None
    return None if cited == TERMS["AffectNet+"].citation else cited


def _listed(quantiles: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in quantiles)
