"""What somebody does who has the name of a published model, stock tools, and no package of ours.

Run in a process of its own, after `support.alone`, with the words MODEL DATA CLASSES WORK. DATA is a prepared folder,
CLASSES a folder of pictures by class; `WORK/report.json` says what was found. Each function is one thing that such a
person does.
"""

import importlib
import importlib.util
import json
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    DefaultDataCollator,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    pipeline,
)

torch.set_num_threads(1)
MODEL, DATA, CLASSES = sys.argv[1:4]
WORK = Path(sys.argv[4])
QUIET = {"report_to": "none", "use_cpu": True, "logging_strategy": "no", "dataloader_pin_memory": False}


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []
        logging.getLogger().addHandler(self)

    def emit(self, record):
        self.said.append(record.getMessage())


MESSAGES = Messages()


def model(name=MODEL, **options):
    return AutoModelForImageClassification.from_pretrained(name, trust_remote_code=True, **options)


def weights(some):
    return {name: value.clone() for name, value in some.state_dict().items()}


def different(first, second) -> list[str]:
    assert first.keys() == second.keys()
    return sorted(name for name in first if not torch.equal(first[name], second[name]))


def pixels(rows=3):
    size = AutoConfig.from_pretrained(MODEL, trust_remote_code=True).image_size
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))


def ask(name) -> dict:
    return pipeline("facial-affect", str(name), trust_remote_code=True)(DATA_FACE)


def files(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix in (".py", ".json", ".safetensors"))


# ---- loading


def loads_it() -> dict:
    """Both loaders, and what the classes are."""
    found = {}
    for loader in (AutoModel, AutoModelForImageClassification):
        loaded = loader.from_pretrained(MODEL, trust_remote_code=True)
        with torch.no_grad():
            found[loader.__name__] = loaded(pixels()).logits.tolist()
    kind = type(loaded)
    return {"logits": found, "class": [kind.__module__.split(".")[0], kind.__name__]}


# ---- training with the rows of the data set


class Scores:
    """A metric that falls at every evaluation, so that the first checkpoint is the best."""

    def __init__(self):
        self.shapes, self.value = [], 0.0

    def __call__(self, prediction):
        self.shapes.append([list(np.shape(prediction.predictions)), list(np.shape(prediction.label_ids))])
        self.value -= 1.0
        return {"score": self.value}


def trains_on_rows() -> dict:
    """Soft labels, valence and arousal by the collator; the best checkpoint, and a run that goes on."""
    data = load_dataset(DATA)
    processor = AutoImageProcessor.from_pretrained(MODEL)

    def trainer(epochs=3):
        network = model()
        arguments = TrainingArguments(
            str(WORK / "rows"),
            num_train_epochs=epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=16,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="score",
            remove_unused_columns=False,
            **QUIET,
        )
        return Trainer(
            network,
            arguments,
            data_collator=network.collator(processor),
            train_dataset=data["train"],
            eval_dataset=data["validation"],
            compute_metrics=(scores := Scores()),
        ), scores

    def fitted(config):
        return [config.logit_temperature, config.uncertainty is None]

    first, scores = trainer()
    calibrated = {"before training": fitted(first.model.config)}
    with torch.no_grad():
        first.model.train()(pixels())  # the answers of dropout, with which nobody trains
    first.model.eval()(pixels(), labels=torch.tensor([0, 1, 1])).loss.backward()  # nor by how the answer depends
    first.model.zero_grad()
    calibrated["after evaluating"] = fitted(first.model.config)
    MESSAGES.said.clear()
    first.train()
    calibrated["said"] = [text for text in MESSAGES.said if "dropped" in text]
    calibrated["after training"] = fitted(first.model.config)
    checkpoints = [WORK / "rows" / f"checkpoint-{step}" for step in (2, 4, 6)]
    at = [weights(model(str(checkpoint))) for checkpoint in checkpoints]
    calibrated["of the checkpoint"] = fitted(AutoConfig.from_pretrained(checkpoints[0], trust_remote_code=True))
    best = Path(first.state.best_model_checkpoint)
    report = calibrated | {
        "best is the first": best == checkpoints[0],
        "best and last differ": len(different(at[0], at[2])),
        "tensors": len(at[0]),
        "not of the best": different(weights(first.model), at[0]),
        "shapes": scores.shapes,
        "logged": sorted({name for entry in first.state.log_history for name in entry if name.startswith("eval_")}),
        "files of a checkpoint": files(checkpoints[0]),
    }
    resumed, _ = trainer()
    resumed.train(resume_from_checkpoint=str(checkpoints[1]))
    report["not gone on with"] = different(weights(model(str(checkpoints[2]))), at[2])
    first.save_model(WORK / "saved")
    report["files"] = files(WORK / "saved")
    report["answer"] = ask(WORK / "saved")
    report["saved"] = fitted(AutoConfig.from_pretrained(WORK / "saved", trust_remote_code=True))
    first.compute_metrics = None
    both = first.predict(data["validation"], ignore_keys=[]).predictions
    report["with affect"] = [list(values.shape) for values in both]
    return report


# ---- the tutorial of transformers on image classification, with another model, another folder, and no torchvision


def follows_the_tutorial() -> dict:
    food = load_dataset("imagefolder", data_dir=CLASSES, split="train")
    food = food.train_test_split(test_size=0.2, seed=0)
    labels = food["train"].features["label"].names
    label2id, id2label = {}, {}
    for i, label in enumerate(labels):
        label2id[label] = str(i)
        id2label[str(i)] = label
    image_processor = AutoImageProcessor.from_pretrained(MODEL)

    def transforms(examples):
        examples["pixel_values"] = [
            image_processor(img.convert("RGB"), return_tensors="pt")["pixel_values"][0] for img in examples["image"]
        ]
        del examples["image"]
        return examples

    food = food.with_transform(transforms)
    data_collator = DefaultDataCollator()

    def compute_metrics(eval_pred):
        predictions, labels = eval_pred
        predictions = np.argmax(predictions, axis=1)
        return {"accuracy": float(np.mean(predictions == labels))}

    network = model(num_labels=len(labels), id2label=id2label, label2id=label2id, ignore_mismatched_sizes=True)
    training_args = TrainingArguments(
        output_dir=str(WORK / "my_awesome_food_model"),
        remove_unused_columns=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        learning_rate=5e-5,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=4,
        per_device_eval_batch_size=16,
        num_train_epochs=3,
        warmup_steps=0.1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        push_to_hub=True,
        **QUIET,
    )
    trainer = Trainer(
        model=network,
        args=training_args,
        data_collator=data_collator,
        train_dataset=food["train"],
        eval_dataset=food["test"],
        processing_class=image_processor,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    trainer.push_to_hub()
    best = weights(model(trainer.state.best_model_checkpoint))
    return {
        "accuracies": [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry],
        "losses": [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry],
        "not of the best": different(weights(trainer.model), best),
        "labels": labels,
        "answer": ask("tester/my_awesome_food_model"),
        "stock": pipeline("image-classification", "tester/my_awesome_food_model", trust_remote_code=True)(DATA_FACE),
    }


# ---- saving and loading, over and over


def saves_and_loads() -> dict:
    """Model alone, each time from the last one's folder; then over the Hub."""
    folder, answers, listed = MODEL, [ask(MODEL)], []
    for time in range(3):
        loaded = model(folder)
        folder = str(WORK / f"again-{time}")
        loaded.save_pretrained(folder)
        listed.append(files(folder))
        answers.append(ask(folder))
    loaded.push_to_hub("tester/again")
    answers.append(ask("tester/again"))
    pipeline("facial-affect", folder, trust_remote_code=True).save_pretrained(WORK / "by pipeline")
    listed.append(files(WORK / "by pipeline"))
    answers.append(ask(WORK / "by pipeline"))
    code = {file.name: file.read_bytes() for file in Path(folder).glob("*.py")}
    return {
        "files": listed,
        "answers": answers,
        "same code": all((WORK / "again-0" / name).read_bytes() == text for name, text in code.items()),
    }


# ---- another head


def replaces_the_head() -> dict:
    names = {0: "negative", 1: "neutral", 2: "positive"}
    found = {}
    for case, options in (
        ("number", {"num_labels": 3}),
        ("names", {"id2label": names, "num_labels": 3}),
        ("two", {"num_labels": 2}),
        ("order", {"id2label": dict(enumerate(reversed(list(model().config.id2label.values()))))}),
        ("same", {"num_labels": 8}),
    ):
        MESSAGES.said.clear()
        loaded = model(ignore_mismatched_sizes=True, **options)
        loaded(pixels(), labels=torch.tensor([0, 1, 1])).loss.backward()
        loaded.save_pretrained(WORK / f"head-{case}")
        config = AutoConfig.from_pretrained(WORK / f"head-{case}", trust_remote_code=True)
        found[case] = {
            "names": list(config.id2label.values()),
            "label2id": config.label2id,
            "fitted": [config.logit_temperature, config.uncertainty is None, config.class_weights],
            "said": [text for text in MESSAGES.said if text.startswith("The classes are now")],
            "answer": ask(WORK / f"head-{case}"),
        }
    return found


# ---- other stock tools


def exports_it() -> dict:
    network = model().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (pixels(2),), dynamic_shapes=shapes, strict=False)
    exported, said = program.module()(pixels(5)), network(pixels(5))
    return {"difference": float((exported.logits - said.logits).abs().max())}


def checkpoints_gradients() -> dict:
    arguments = TrainingArguments(
        str(WORK / "checkpointing"), max_steps=1, gradient_checkpointing=True, save_strategy="no", **QUIET
    )
    network = model()
    rows = [{"pixel_values": face, "labels": 3} for face in pixels(4)]
    trained = Trainer(network, arguments, train_dataset=rows)
    return {"loss": trained.train().training_loss, "on": network.vit.layers[0].gradient_checkpointing}


def adds_lora() -> dict | None:
    if importlib.util.find_spec("peft") is None:
        return None
    from peft import LoraConfig, PeftModel, get_peft_model

    class KeepsFirst(TrainerCallback):
        def on_evaluate(self, args, state, control, **_):
            kept.setdefault("first", weights(network))

    targets = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier", "valence_arousal"])
    network, kept = get_peft_model(model(), targets), {}
    data = load_dataset(DATA)
    arguments = TrainingArguments(
        str(WORK / "lora"),
        num_train_epochs=2,
        learning_rate=1e-2,
        per_device_train_batch_size=16,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="score",
        remove_unused_columns=False,
        label_names=["labels"],
        **QUIET,
    )
    trainer = Trainer(
        network,
        arguments,
        data_collator=network.collator(AutoImageProcessor.from_pretrained(MODEL)),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        compute_metrics=Scores(),
        callbacks=[KeepsFirst()],
    )
    trainer.train()
    network.eval().save_pretrained(WORK / "adapter")
    base = model()
    base.config.drop_calibration()  # an adapter has no config: training dropped it from the network, not from its base
    again = PeftModel.from_pretrained(base, WORK / "adapter").eval()
    with torch.no_grad():
        said = network(pixels()).logits
        report = {
            "moved": float((said - model()(pixels()).logits).abs().max()),
            "lost": float((said - again(pixels()).logits).abs().max()),
            "not of the best": different(weights(network), kept["first"]),
        }
        merged = again.merge_and_unload()
        merged.save_pretrained(WORK / "merged")
        report["merged"] = float((said - model(str(WORK / "merged"))(pixels()).logits).abs().max())
    return report | {"answer": ask(WORK / "merged")}


def quantises_it() -> dict | None:
    if importlib.util.find_spec("torchao") is None:
        return None
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    network = model().eval()
    with torch.no_grad():
        before = network(pixels()).logits.softmax(dim=1)
        quantize_(network, Int8WeightOnlyConfig())
        return {"difference": float((network(pixels()).logits.softmax(dim=1) - before).abs().max())}


DATA_FACE = str(next(Path(CLASSES).glob("*/*.png")))
STEPS = (
    loads_it,
    trains_on_rows,
    follows_the_tutorial,
    saves_and_loads,
    replaces_the_head,
    exports_it,
    checkpoints_gradients,
    adds_lora,
    quantises_it,
)
report = {}
for step in STEPS:
    report[step.__name__] = step()
report["ours"] = sorted(name for name in sys.modules if name.startswith("affectnet_plus"))
(WORK / "report.json").write_text(json.dumps(report))
