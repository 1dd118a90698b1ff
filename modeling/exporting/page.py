"""README.md of exported files: what they are, and how each of their readers asks them."""

import json

from .records import ExportReport

# Stands for the folder, or for its name on the Hub, which `publish` puts in its place.
PLACE = "OWNER/NAME"


def exported_page(about: dict[str, str], report: ExportReport, preprocessing: str) -> str:
    """The page, in Markdown.

    Args:
        about: what `onnx_files.describe_model` says.
        preprocessing: what a picture has to go through, in words.
    """
    known = {key: json.loads(value) for key, value in about.items()}
    size, names = known["image_size"], known["labels"]
    files = [
        f"| {found['file']} | {found['bytes']:,} | {found['kl_mean']:.1e} | {found['label_flips']} of "
        f"{report['rows']} |"
        for found in report["variants"].values()
    ]
    flips, plain = report["unaveraged"]["label_flips"], report["plain_max_abs_delta_logit"]
    return "\n".join(
        [
            f"# {known['source_model']} as ONNX",
            "",
            "| file | bytes | mean KL from PyTorch, nats | faces with another label |",
            "|---|---|---|---|",
            *files,
            "",
            f"Measured on {report['faces']}; parity.md has the whole table.",
            "",
            "Input of `pixels.onnx` and `pixels_quantized.onnx`: `pixels`, uint8 (batch, height, width, channels),",
            "upright pictures of one face each, of any size. The channels are red, green, blue, and a fourth that is",
            "passed over. The files resize as Pillow does, to the bit, and normalise; nothing else is to be done. A",
            "photo of 12 megapixels takes 150 MB for it: crop the face first.",
            "",
            f"Input of the others: `pixel_values`, float32 (batch, 3, {size}, {size}), as described below.",
            "",
            "Outputs of all, float32, for any batch:",
            "",
            f"- `logits` (batch, {len(names)}): already divided by the temperature, {known['logit_temperature']:g}.",
            f"- `soft_label` (batch, {len(names)}): their softmax. The order: {', '.join(names)}.",
            f"- `valence_arousal` (batch, 2): {known['valence_arousal']}.",
            "",
            f"ONNX opset {known['opset']}. Each file is whole, and says all this in its metadata, as JSON.",
            *(_CALIBRATED if known["uncertainty"] is not None else ()),
            "",
            *_PRECISIONS,
            "",
            *_READERS.format(place=PLACE, flips=flips, rows=report["rows"]).strip().splitlines(),
            "",
            *(_PLAIN.format(place=PLACE, far=plain).strip().splitlines() + [""] if plain is not None else []),
            "## The example, and the preprocessing",
            "",
            preprocessing.strip(),
            "",
        ]
    )


_CALIBRATED = (
    "`uncertainty` there is the rule of the prediction set and of abstaining, as in config.json of the model, whose",
    "answers.py has the formulas.",
)
_PRECISIONS = (
    "The quantised files hold the weights of matrix products in 8 bits, and quantise what goes through them by one",
    "scale for the whole batch: the answer for a face depends a little on the faces beside it. On a processor without",
    "VNNI their sums may saturate, so measure there. model_fp16.onnx, where it is there, has half the size; it is",
    "made for GPUs, and a CPU gains little from it.",
)
_READERS = """
## In Python, without our code

`{place}` stands for this folder, or for its name on the Hub. The pipeline of transformers, with optimum
(`pip install optimum-onnx onnxruntime`):

```python
from optimum.onnxruntime import ORTModelForImageClassification
from transformers import AutoImageProcessor, pipeline

model = ORTModelForImageClassification.from_pretrained("{place}")
processor = AutoImageProcessor.from_pretrained("{place}", use_fast=False)
classify = pipeline("image-classification", model=model, image_processor=processor)
print(classify("face.jpg", top_k=8))
```

`use_fast=False` resizes with Pillow, as in training.

## In JavaScript

In a browser, or in node (`npm install @huggingface/transformers`):

```js
import {{ AutoModel, RawImage, Tensor }} from "@huggingface/transformers";

const model = await AutoModel.from_pretrained("{place}", {{ model_file_name: "pixels", dtype: "fp32" }});
const face = (await RawImage.read("face.jpg")).rgb();
const pixels = new Tensor("uint8", face.data, [1, face.height, face.width, face.channels]);
const {{ soft_label }} = await model({{ pixels }});
console.log(Object.values(model.config.id2label).map((name, index) => [name, soft_label.data[index]]));
```

`dtype: "q8"` takes the quantised file. The data of a canvas (`getImageData`) is `pixels` as it is, with 4 channels.
`pipeline("image-classification", "{place}", {{ dtype: "fp32" }})` loads too, but shrinks a picture without averaging:
by that the label of {flips} of the {rows} faces above is another one.

## On a phone, in C# and elsewhere

ONNX Runtime runs `onnx/pixels.onnx` there: give the bytes of the upright picture as `pixels`, and read `soft_label`.
"""
_PLAIN = """
## Without ONNX, and without our code

`model.safetensors` is a `ViTForImageClassification` of transformers: no remote code is run. Its logits differ from
those of the model by at most {far:.1e}. What is lost by that: valence and arousal, the prediction set and abstaining,
and the pipeline "facial-affect" with its rule for pictures. The temperature is in the weights of the classifier.

```python
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

model = AutoModelForImageClassification.from_pretrained("{place}")
processor = AutoImageProcessor.from_pretrained("{place}", use_fast=False)
classify = pipeline("image-classification", model=model, image_processor=processor)
print(classify("face.jpg", top_k=8))
```
"""
