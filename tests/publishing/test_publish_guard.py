"""What may leave this machine: what a file is called and what is in it."""

import io
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save

from affectnet_plus_modeling.publishing.guard import check_contents, write_contents
from support.trees import picture


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), out)
    return out.getvalue()


def saved(write) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


GOOD = {
    "README.md": "# Gesichter für alle\n".encode(),
    "config.json": b'{"a": 1}',
    "losses.py": b"from .x import y\n",
    "model.safetensors": save({"weight": torch.zeros(3)}),
    "data/train-0.parquet": parquet(),
    "confusion.png": picture(kind="PNG"),
    "requirements.txt": b"gradio\n",
    ".eval_results/ours.yaml": b"- a: 1\n",
}
PICKLED = [
    pickle.dumps({"a": 1}),
    saved(lambda out: torch.save({"a": torch.zeros(2)}, out)),
    saved(lambda out: np.save(out, np.array([{}]), allow_pickle=True)),
]


def test_the_files_of_a_publication_pass_from_memory_and_from_the_disk(tmp_path):
    check_contents(GOOD)
    out = write_contents(GOOD, tmp_path / "out")
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in files.items()} == GOOD
    check_contents(files)
    assert write_contents(files, tmp_path / "again") == tmp_path / "again"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "b.pth", "c.pkl", "d.ckpt", "e.npy", "sub/f.joblib"])
def test_a_file_that_may_be_a_pickle_is_refused_by_its_name(name):
    with pytest.raises(ValueError, match=f"{name} may hold a pickle, .* publish .safetensors instead"):
        check_contents({name: b"harmless"})


@pytest.mark.parametrize("content", PICKLED, ids=["pickle", "torch", "numpy"])
@pytest.mark.parametrize("name", list(GOOD))
def test_a_pickle_under_another_name_is_refused_by_its_content(name, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    for given in (content, tmp_path / "file"):
        with pytest.raises(ValueError, match=f"{name} is no .*, so it is not published"):
            check_contents({name: given})


@pytest.mark.parametrize("name", [".env", "notes", "run.sh", "faces.jpg", ".git/config.json", "data/.x.json"])
def test_a_stray_file_is_refused(name):
    with pytest.raises(ValueError, match="is no file to publish"):
        check_contents({name: b"{}"})


@pytest.mark.parametrize("name", ["model.safetensors", "data/train-0.parquet", "confusion.png"])
def test_a_file_that_is_cut_off_or_empty_is_refused(name):
    for content in (b"", GOOD[name][:7]):
        with pytest.raises(ValueError, match=f"{name} is no"):
            check_contents({name: content})


# Put together here, so that no scanner takes this file for a leak.
TOKENS = [
    ("a token of the Hugging Face Hub", "hf_" + "aB3" * 11 + "x"),
    ("a private key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ("a private key", "-----BEGIN " + "PRIVATE KEY-----"),
    ("an access key of AWS", "AKIA" + "ABCD1234" * 2),
    ("a secret key of AWS", 'aws_secret_access_key = "' + "a/+9" * 10 + '"'),
    ("a token of GitHub", "ghp_" + "a1" * 18),
]


@pytest.mark.parametrize("kind, secret", TOKENS)
@pytest.mark.parametrize(
    "name, text",
    [
        ("README.md", "see {}"),
        ("losses.py", "TOKEN = '''{}'''"),
        ("a.txt", "{}"),
        ("a.html", "<pre>{}</pre>"),
    ],
)
def test_a_secret_is_refused_and_not_shown(name, text, kind, secret):
    with pytest.raises(ValueError, match=f"{name} holds {kind}, so it is not published") as refused:
        check_contents({name: text.format(secret).encode()})
    assert secret not in str(refused.value)


def test_what_only_looks_like_a_secret_passes():
    harmless = "hf_hub_download, hf_loopback, HF_TOKEN, AKIA, a sha256 " + "0f" * 32 + ", BEGIN PUBLIC KEY, ghp_x"
    check_contents({"README.md": harmless.encode()})


def test_nothing_is_run_to_look_at_it(tmp_path):
    """Neither the Python that is published nor a pickle that pretends to be something else."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    code = f"open({str(tmp_path / 'ran')!r}, 'w')\n".encode()
    check_contents({"trap.py": code})
    with pytest.raises(ValueError):
        check_contents({"trap.json": pickle.dumps(Trap())})
    assert not (tmp_path / "ran").exists()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "ran").exists(), "premise: the trap works"
