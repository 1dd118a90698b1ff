"""An ensemble of binary classifiers to the Hub: its weights, calibration and card, and no trace of a single face.

It needs this package to be loaded, so none of its code travels. `out_of_fold.parquet` has a row for each training face
and is never published. `seen.parquet` has a digest of each: nobody can draw a face from it, but who has the very same
picture can tell that it was trained on. So it stays here unless the faces are drawn, or you ask; without it,
`affectnet-plus label` refuses the ensemble, as it could not tell which members have seen a face.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..labelling.ensemble.card import ensemble_card
from ..labelling.ensemble.model import load_ensemble
from ..labelling.ensemble.seen import SEEN_FILE
from ..sentences import lacks
from .guard import Contents, check_contents
from .hub import HubOptions, Repository
from .weights import are_free, licence_of, no_licence, read_training, why_closed

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


@dataclass(frozen=True)
class Ensemble:
    """The folder that `train-ensemble` wrote.

    Args:
        licence: of the weights, as the Hub names it; None is that of the faces, or "other".
        with_seen: publish the digests of training faces that are not free, too.
    """

    folder: str | Path
    licence: str | None = None
    with_seen: bool = False
    message = "Publish ensemble"

    def contents(self, repo_id: str) -> Contents:
        """Raises FileNotFoundError or ValueError where it is no ensemble."""
        return _contents(Path(self.folder), repo_id, self.licence, self.with_seen)

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Raises PermissionError and ValueError as `weights.why_closed` does."""
        training = read_training(Path(self.folder))
        reason, unlicensed = why_closed(training, self.licence, options), no_licence(training, self.licence)
        ours = re.compile(re.escape(SEEN_FILE))
        closed = reason is not None
        return Repository(repo_id, "model", closed=closed, ours=ours, reason=reason, no_licence=unlicensed)


def _contents(folder: Path, repo_id: str, licence: str | None, with_seen: bool) -> Contents:
    with_seen = with_seen or are_free(read_training(folder))
    names = [*_REQUIRED, *([SEEN_FILE] if with_seen else ())]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{lacks(folder, missing)}; give the folder of train-ensemble")
    check_contents({name: folder / name for name in names})  # before the weights are read
    load_ensemble(folder)
    name = repo_id.rpartition("/")[2]
    training = json.loads((folder / "training.json").read_text())
    card, terms = ensemble_card(name, training), licence_of(training, licence)
    card = card.replace("---\n", "---\n" + "".join(f"{key}: {value}\n" for key, value in terms.items()), 1)
    label = (_WITH_SEEN if with_seen else _WITHOUT_SEEN).format(repo=repo_id, name=name)
    card += _LOADING.format(repo=repo_id, label=label)
    return {"README.md": card.encode(), **{name: folder / name for name in names}}
