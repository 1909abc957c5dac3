"""A network in MLflow's registry of models, as ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from octnas.record.mlflow_runs import Runs

__all__ = ["register_model", "shortened"]

_WHAT = (
    "Networks that `octnas export` wrote of one search, as ONNX. Each version says in its description what "
    "it is; the one with the alias `best` is of the search's best candidate."
)
_LONGEST = 5000
"""Characters of a description: MLflow's databases have no room for more."""
_MORE = "\n\nThe rest is in README.md, an artifact of the run that made this version."


def register_model(
    runs: Runs,
    model_name: str,
    onnx_file: Path,
    *,
    run_id: str,
    inputs: np.ndarray[Any, Any],
    outputs: np.ndarray[Any, Any],
    tags: Mapping[str, str],
    card: str = "",
    alias: str | None = None,
) -> str:
    """Registers an ONNX file as a new version of `model_name`, kept with the run; returns the version.

    Args:
        runs: of the store.
        model_name: made, if the registry does not have it.
        onnx_file: the network.
        run_id: whose artifact the file becomes.
        inputs: an example (B, C, H, W), or (B, C, T, H, W), B left open in the signature.
        outputs: of it, (B, classes).
        tags: of the version, by which it is known among all versions of the run.
        card: Markdown that describes the version.
        alias: that this version has from now on, and no other.
    """
    import mlflow.onnx
    import onnx
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    client = runs.client
    with tempfile.TemporaryDirectory() as folder:
        mlflow.onnx.save_model(
            onnx.load(str(onnx_file)),
            f"{folder}/model",
            signature=infer_signature(inputs, outputs),
            pip_requirements=["numpy", "onnx", "onnxruntime"],  # else MLflow tries the model to find out
        )
        client.log_artifacts(run_id, f"{folder}/model", "model")
    try:
        client.get_registered_model(model_name)
    except MlflowException:
        client.create_registered_model(model_name, description=_WHAT)
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    known = client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
    version = next((each for each in known if each.tags.items() >= tags.items()), None)
    if version is None:
        version = client.create_model_version(
            model_name, source=source, run_id=run_id, tags=dict(tags), description=shortened(card)
        )
    if alias is not None:
        client.set_registered_model_alias(model_name, alias, str(version.version))
    return str(version.version)


def shortened(card: str) -> str:
    """The card, or as many of its sections as a description may have."""
    if len(card) <= _LONGEST:
        return card
    head = card[: _LONGEST - len(_MORE)]
    return head[: max(head.rfind("\n## "), 0) or len(head)].rstrip() + _MORE
