"""One export for the whole folder of tests: each costs seconds."""

from __future__ import annotations

import pytest
import torch
from export_case import CLASSES, SIDE, Exported, lived_in, noise_images, some_provenance, some_timings

from octnas.architecture import Architecture
from octnas.data import normalise
from octnas.export import export_model
from octnas.nn import build


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    plain = Architecture.uniform("resnet18", alpha=0, width=8, stem="small")
    alphas = ["1/4", 1, 0, "1/2", "1/2", "3/4", 1, 1, 0, "1/4", "1/8", "1/2", 1, 0, "1/2", "1/4"]
    architecture = Architecture.from_alphas(
        "resnet18", alphas=alphas, input_size=64, width=8, stem="small", downsample="pooled"
    )
    assert len(alphas) == len(plain.low_channels)
    data = noise_images()
    network = lived_in(build(architecture, num_classes=len(CLASSES), in_channels=1))
    with torch.inference_mode():  # no class wins every image
        images = next(iter(data.val.batches(57)))[0]
        network.fc.weight *= 20
        network.fc.bias -= network(normalise(images, data.mean, data.std)).mean(0)
    report = export_model(
        network,
        to=tmp_path_factory.mktemp("export") / "models" / "winner",
        example_shape=(1, SIDE, SIDE),
        classes=CLASSES,
        data=data,
        provenance=some_provenance(),
        timed=some_timings,
    )
    return Exported(network=network, data=data, report=report)
