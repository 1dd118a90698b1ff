"""An ensemble of binary classifiers to the Hub: its weights, calibration and card, and no trace of a single face.

It needs this package to be loaded, so none of its code travels. `out_of_fold.parquet` has a row for each training face
and is never published. `seen.parquet` has a digest of each: nobody can draw a face from it, but who has the very same
picture can tell that it was trained on. So it stays here unless the faces are drawn, or you ask; without it,
`affectnet-plus label` refuses the ensemble, as it could not tell which members have seen a face.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from ..labelling.ensemble.card import ensemble_card
from ..labelling.ensemble.model import load_ensemble
from ..labelling.ensemble.seen import SEEN_FILE
from .guard import Contents, check_contents, write_contents
from .hub import HubOptions, Repository, push
from .weights import are_free, licence_of, why_closed

_REQUIRED = ("config.json", "model.safetensors", "preprocessor_config.json", "training.json")
_LOADING = """
## From the Hub

```python
from affectnet_plus_modeling.labelling.ensemble.model import BinaryEnsemble

ensemble = BinaryEnsemble.from_pretrained("{repo}")
```

{label}
"""
_WITH_SEEN = "`hf download {repo} --local-dir {name}`, and then `affectnet-plus label FACES OUT --ensemble {name}`."
_WITHOUT_SEEN = """\
`seen.parquet` is not published here, so that nobody can look up whether a face was trained on. Without it
`affectnet-plus label` refuses the ensemble: ask its owner."""


def stage_ensemble(folder, out, licence: str | None = None, with_seen: bool = False, overwrite: bool = False) -> Path:
    """Write to the folder `out` exactly what `publish_ensemble` would push."""
    return write_contents(_contents(Path(folder), Path(out).name, licence, with_seen), out, overwrite)


def publish_ensemble(
    folder,
    repo_id: str,
    options: HubOptions,
    licence: str | None = None,
    with_seen: bool = False,
    say: Callable[[str], None] = print,
) -> str:
    """Push the folder of train-ensemble to the model repository `repo_id`; returns its address.

    Args:
        licence: of the weights, as the Hub names it; None is that of the faces, or "other".
        with_seen: publish the digests of training faces that are not free, too.

    Raises:
        FileNotFoundError, ValueError: it is no ensemble, or as for `weights.why_closed` and `hub.push`.
        OSError: as for `hub.push`; PermissionError also where `weights.why_closed` says so.
    """
    reason = why_closed(Path(folder), licence, options)
    contents = _contents(Path(folder), repo_id, licence, with_seen)
    if reason:
        say(reason)
    to = Repository(repo_id, "model", closed=reason is not None, ours=re.compile(re.escape(SEEN_FILE)))
    return push(contents, to, options, "Publish ensemble", say)


def _contents(folder: Path, repo_id: str, licence: str | None, with_seen: bool) -> Contents:
    with_seen = with_seen or are_free(folder)
    names = [*_REQUIRED, *([SEEN_FILE] if with_seen else ())]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no {', '.join(missing)}; give the folder of train-ensemble")
    check_contents({name: folder / name for name in names})  # before the weights are read
    load_ensemble(folder)
    name = repo_id.rpartition("/")[2]
    card = ensemble_card(name, json.loads((folder / "training.json").read_text()))
    terms = {"license": licence} if licence else licence_of(folder)
    card = card.replace("---\n", "---\n" + "".join(f"{key}: {value}\n" for key, value in terms.items()), 1)
    label = (_WITH_SEEN if with_seen else _WITHOUT_SEEN).format(repo=repo_id, name=name)
    card += _LOADING.format(repo=repo_id, label=label)
    return {"README.md": card.encode(), **{name: folder / name for name in names}}
