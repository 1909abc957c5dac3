"""Which documents are followed from top to bottom, with what they need and what is changed in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
import torchvision
import yaml
from documents import ROOT, blocks, commands
from mlflow.tracking import MlflowClient
from PIL import Image
from readers import Reader, shorter

from octnas.space import catalog

__all__ = ["FOLLOWED", "Followed"]


@dataclass(frozen=True, kw_only=True)
class Followed:
    """How a document is followed; `Reader` says what the fields mean.

    `slow` documents are left to runs that ask for them. `prepare` makes what a reader has before.
    """

    slow: bool = True
    prepare: tuple[Callable[[Reader], None], ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    others: bool = False
    tried: Callable[[Reader, str], None] | None = None

    def reader(self, folder: Path) -> Reader:
        """A reader in a folder that holds what the document expects."""
        reader = Reader(
            path=folder, replaced=self.replaced, before=self.before, others=self.others, tried=self.tried
        )
        for make in self.prepare:
            make(reader)
        return reader


def pictures(reader: Reader) -> None:
    """A folder of three classes of 40 noisy pictures, each of its own colour, and a picture by itself."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("red", "green", "blue")):
        folder = reader.path / "pictures" / name
        folder.mkdir(parents=True)
        for each in range(40):
            pixels = rng.integers(0, 120, (48, 40, 3), dtype=np.uint8)
            pixels[..., number] += 100
            Image.fromarray(pixels).save(folder / f"{each}.jpg")
    Image.fromarray(pixels).save(reader.path / "picture.jpg")


def videos(reader: Reader) -> None:
    """Two folders of videos, of five and of two classes, in which a bright column moves at its own speed."""
    for root, classes in (("clips", 5), ("my-videos", 2)):
        for number in range(classes):
            folder = reader.path / root / f"speed-{number}"
            folder.mkdir(parents=True)
            for each in range(12):
                _write_video(folder / f"{each}.mp4", speed=number + 1, first=each)


def _write_video(path: Path, *, speed: int, first: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for number in range(12):
            pixels = np.zeros((48, 48, 3), dtype=np.uint8)
            pixels[:, (4 * first + speed * number) % 48] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def weights(reader: Reader) -> None:
    """A ResNet-18 where torch.hub would have put torchvision's, and as a file of the reader's own."""
    hub = reader.path / "torch-home" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), hub / "resnet18-f37072fd.pth")
    own = torchvision.models.resnet18(weights=None, num_classes=3)
    torch.save(own.state_dict(), reader.path / "my-resnet18.pth")


def search(reader: Reader) -> None:
    """A search that is called NAME, as the documents call the reader's."""
    (command,) = commands("octnas search --budget-gflops 2.0 --name NAME")
    reader.run(command)


def searched_twice(reader: Reader) -> None:
    """Searches that are called mine and other."""
    for name in ("mine", "other"):
        for command in commands(f"octnas search --budget-gflops 2.0 --name {name}"):
            reader.run(command)


def exported(reader: Reader) -> None:
    """A search that is called mine, and its export."""
    for command in commands(
        "octnas search --budget-gflops 2.0 --name mine && octnas export mine --best --to it"
    ):
        reader.run(command)


def asked(reader: Reader, line: str) -> None:
    """Asks MLflow for the runs that a filter names."""
    client = MlflowClient(f"sqlite:///{reader.path / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(experiments, filter_string=line)
    assert found or "'mine'" not in line, line


def short(reader: Reader) -> None:
    """The space of the example: a copy of one of octnas'."""
    space = shorter(yaml.safe_load(catalog()["small-2d"].read_text(encoding="utf-8")))
    (reader.path / "short.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")


def mynet(reader: Reader) -> None:
    """mynet.py of the document on own networks."""
    source = next(block.text for block in blocks("docs/own-network.md") if "\ndef make(" in block.text)
    (reader.path / "mynet.py").write_text(source, encoding="utf-8")


FOLLOWED: Mapping[str, Followed] = {
    "docs/own-network.md": Followed(),
    "docs/tutorial.md": Followed(slow=False, others=True),
    "docs/spaces.md": Followed(slow=False),
    "README.md": Followed(
        prepare=(mynet, pictures, videos, weights),
        replaced={
            "trials=24": "trials=2, confirm=0",
            '"imagenet-2d", budget': '"small/imagenet-2d.yaml", budget',
        },
        before=(
            "import numpy as np, octnas, mynet\n"
            "batch = np.zeros((2, 1, 32, 32), dtype=np.float32)\n"
            "my_module = mynet.make(in_channels=3)\n"
        ),
    ),
    "docs/own-images.md": Followed(prepare=(pictures,)),
    "docs/own-clips.md": Followed(prepare=(videos,)),
    "docs/pretrained.md": Followed(
        prepare=(pictures, weights),
        replaced={"--data pictures --budget-gflops 2.0": "--data pictures --budget-gflops 2.0 --name NAME"},
    ),
    "docs/training.md": Followed(prepare=(search,), replaced={" --data /data/imagenet": ""}),
    "docs/trust.md": Followed(prepare=(search, short)),
    "docs/python.md": Followed(
        prepare=(search,),
        replaced={
            'octnas.search("imagenet-2d", budget_gflops=2.0, trials=24': (
                'octnas.search("small/imagenet-2d.yaml", confirm=0, budget_gflops=2.0, trials=2'
            ),
            "octnas.search(budget_gflops=2.0, trials=24": (
                'octnas.search("small/imagenet-2d.yaml", confirm=0, budget_gflops=2.0, trials=2'
            ),
            'scale="full"': 'scale="proxy"',
        },
    ),
    "docs/front-page.md": Followed(prepare=(searched_twice,)),
    "docs/mlflow.md": Followed(prepare=(exported,), tried=asked),
    "docs/cluster.md": Followed(),
    "docs/cluster-tutorial.md": Followed(),
    "runners/README.md": Followed(),
}
"""Every document of which a test runs a command or Python, in the order of what it costs CI."""

assert all((ROOT / document).is_file() for document in FOLLOWED)
