"""Action units of prepared faces by MediaPipe, as the table that `label` and benchmarks/soft_labels.py take.

    python benchmarks/blendshapes.py PREPARED OUT.csv --model face_landmarker.task

Needs the extra `mediapipe` and a model file, which modeling/faces/mediapipe_face.py names.
"""

import argparse

import datasets
import numpy as np
from tqdm import tqdm

from affectnet_plus_modeling.faces import action_units, annotate, open_landmarker, write_action_units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared")
    parser.add_argument("out")
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    names, found, faces = [], [], 0
    with open_landmarker(options.model) as landmarker:
        for split, rows in datasets.load_dataset(options.prepared, "default").items():
            for row in tqdm(rows.select_columns(["image", "image_id"]), desc=split):
                faces += 1
                shapes = annotate(np.asarray(row["image"].convert("RGB")), landmarker, ())["blendshapes"]
                if shapes is not None:
                    names.append(row["image_id"])
                    found.append(shapes)
    write_action_units(options.out, names, action_units(found))
    print(f"{options.out}: {len(names)} of {faces} faces")


if __name__ == "__main__":
    main()
