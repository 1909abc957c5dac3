"""The typed model of a search space; YAML is its spelling, and every unknown key is refused."""

from __future__ import annotations

import difflib
import json
import re
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from octnas import backbones
from octnas.architecture import Downsample
from octnas.backbones import Stem, is_users
from octnas.errors import OctnasError, SpaceError, unknown_name
from octnas.space.document import Document, KeyPath, parse_document

__all__ = ["Definition", "Granularity", "Proxy", "Rungs", "Target", "parse_definition"]

Granularity = Literal["stage", "block", "layer", "stage+layer"]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=8, le=8192)]
Frames = Annotated[int, Field(ge=1, le=1024)]

USERS_WIDTH = 64
"""Width of a user's network as its factory makes it by itself."""


def _alpha(value: object) -> Fraction:
    law = "an alpha must be a number between 0 and 1 or a fraction such as '1/3'"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError(f"{law}, but got {value!r}")
    try:
        alpha = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{law}, but got {value!r}") from None
    if not 0 <= alpha <= 1:
        raise ValueError(f"{law}, but got {value!r}")
    return alpha


def _spell(value: Fraction) -> float | int | str:
    """The shortest YAML spelling that reads back as the same fraction."""
    if value.denominator == 1:
        return value.numerator
    return float(value) if Fraction(str(float(value))) == value else str(value)


Alpha = Annotated[Fraction, BeforeValidator(_alpha), PlainSerializer(_spell)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )


class Target(_Model):
    """The network whose compute is counted."""

    input_size: Side
    """Side in px of the square input."""
    frames: Frames | None = None
    """Frames of a clip; null: still images. A 2D backbone runs on them one by one."""
    channels: Count = 3
    """Input channels."""
    classes: Count = 1000
    width: Count = 64
    """Channels of a ResNet's first stage, and in proportion everywhere; 64 is the published network."""
    stem: Stem = "imagenet"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (C, T, H, W) where the input is a clip."""
        side = self.input_size
        return (self.channels, *(() if self.frames is None else (self.frames,)), side, side)


class Rungs(_Model):
    """Early stopping: scores are compared after min_epochs, min_epochs * eta, min_epochs * eta^2, ..."""

    eta: Annotated[int, Field(ge=2)] = 3
    """One trial in `eta` goes on from a rung."""
    min_epochs: Count = 1
    """Epochs (or evaluations, where the length is given in steps) before the first rung."""


class Proxy(_Model):
    """The small training that stands for the target's."""

    data: Annotated[str, Field(min_length=1)]
    """Data set; it also gives the classes and input channels of the proxy network."""
    width: Count
    """As the target's, of the proxy."""
    stem: Stem = "small"
    input_size: Side = 32
    """Side in px of the square input."""
    frames: Frames | None = None
    """Frames of a clip, given exactly where the target has them."""
    sampling: Literal["uniform", "dense"] = "uniform"
    """Where the frames of a video are taken: over all of it, or `frame_stride` apart in one place."""
    frame_stride: Count = 2
    """From one taken frame to the next where the sampling is dense."""
    train_images: Count | None = None
    """Training images used; null uses all."""
    val_images: Count | None = None
    """Validation images used for rung scores; the final score uses all."""
    epochs: Count | None = None
    """Length of a training in epochs; give either this or `steps`."""
    steps: Count | None = None
    """Length of a training in steps (batches); give either this or `epochs`."""
    evaluations: Count | None = None
    """Scores per training where the length is given in steps."""
    batch_size: Count = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 0.004
    """Highest learning rate of the schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: bool = False
    """Random shifts, and flips where the data set allows them; of little use in a training of few passes."""
    rank_by: Literal["accuracy", "loss"] = "accuracy"
    """What candidates are ranked by on the validation images; the reported accuracy stays accuracy."""
    rungs: Rungs = Rungs()
    noise_points: Annotated[float, Field(ge=0)] | None = None
    """Measured standard deviation of accuracy from seed to seed, in percentage points; null: unknown."""

    @model_validator(mode="after")
    def _one_length(self) -> Proxy:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"exactly one of `epochs` and `steps` must be given, "
                f"but got epochs={self.epochs}, steps={self.steps}"
            )
        if self.steps is None and self.evaluations is not None:
            raise ValueError("`evaluations` goes with `steps`: an epoch is scored at its end")
        if self.steps is not None and (self.evaluations is None or self.evaluations > self.steps):
            raise ValueError(
                f"`1 <= evaluations <= steps` must hold, but got {self.evaluations} and {self.steps}"
            )
        return self


class Definition(_Model):
    """A search space as written: which backbones and alphas, what compute counts, what training ranks."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str
    granularity: Granularity
    """Who chooses an alpha: a stage, a block, a layer, or a stage with a step of -1, 0, +1 by layer."""
    alphas: Annotated[tuple[Alpha, ...], Field(min_length=1)] = (
        Fraction(0),
        Fraction(1, 4),
        Fraction(1, 2),
        Fraction(3, 4),
    )
    """Allowed shares of low channels, ascending."""
    backbones: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of octnas, and users' networks as "package.module:factory"."""
    downsample: Annotated[tuple[Downsample, ...], Field(min_length=1)] = ("pooled",)
    """What a layer with stride 2 and no low channels may do."""
    budget_gflops: Annotated[float, Field(gt=0)] | None = None
    """Budget of a search that is given none, in 10^9 multiply-adds of the target."""
    target: Target
    proxy: Proxy

    @field_validator("alphas")
    @classmethod
    def _ascending(cls, alphas: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        if any(a >= b for a, b in pairwise(alphas)):
            raise ValueError(f"alphas must ascend, each once, but got {[_spell(alpha) for alpha in alphas]}")
        return alphas

    @field_validator("backbones")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for place, name in enumerate(names):
            if is_users(name):
                try:
                    backbones.family_of(name)
                except OctnasError as fault:
                    raise _fault(str(fault), key=place) from None
            elif name not in backbones.names():
                error = unknown_name("backbone", name, backbones.names())
                raise ValueError(f"{error}, and users' networks as package.module:factory")
        return names

    @field_validator("backbones", "downsample")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError(f"each must stand once, but got {list(names)}")
        return names

    @field_validator("target")
    @classmethod
    def _clips_where_3d(cls, target: Target, info: ValidationInfo) -> Target:
        volumes = [name for name in info.data.get("backbones", ()) if backbones.dims_of(name) == 3]
        if volumes and target.frames is None:
            raise _fault(
                f"{volumes[0]} is a 3D backbone, which takes clips and no still images: give "
                "`target.frames` and `proxy.frames`, or 2D `backbones` only",
                key="frames",
            )
        return target

    @field_validator("proxy")
    @classmethod
    def _clips_on_both_sides(cls, proxy: Proxy, info: ValidationInfo) -> Proxy:
        target = info.data.get("target")
        if target is not None and (target.frames is None) != (proxy.frames is None):
            raise _fault(
                f"`target.frames` and `proxy.frames` must both be given or neither, "
                f"but got {target.frames} and {proxy.frames}",
                key="frames",
            )
        return proxy

    def target_of(self, backbone: str) -> Target:
        """The target of a backbone: a user's network has its own stem, and is whole at its own width."""
        if not is_users(backbone):
            return self.target
        return self.target.model_copy(update={"width": USERS_WIDTH, "stem": "imagenet"})

    def proxy_of(self, backbone: str) -> Proxy:
        """The proxy of a backbone: a user's network is as much narrower as the others, if its factory takes a
        width, and keeps its own width and stem otherwise.

        Raises:
            SpaceError: there would be no whole width.
        """
        if not is_users(backbone):
            return self.proxy
        width = USERS_WIDTH
        if backbones.family_of(backbone).takes_width:
            share = Fraction(USERS_WIDTH * self.proxy.width, self.target.width)
            if share.denominator != 1:
                raise SpaceError(
                    f"{USERS_WIDTH} x proxy.width / target.width must be whole for {backbone}, but got "
                    f"{USERS_WIDTH} x {self.proxy.width} / {self.target.width}: choose another `proxy.width`"
                )
            width = int(share)
        return self.proxy.model_copy(update={"width": width, "stem": "imagenet"})

    def to_yaml(self) -> str:
        """YAML that `parse_definition` reads back as an equal definition; every key is spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=2**20)


def parse_definition(text: str, *, source: str) -> Definition:
    """The search space that a YAML text spells, checked against the schema.

    Raises:
        SpaceError: one line with the file, the line and the key of the first fault.
    """
    document = parse_document(text, source=source)
    try:
        # Through JSON, where pydantic's strict mode takes a list for a tuple but no string for a number.
        return Definition.model_validate_json(json.dumps(document.value, default=str))
    except ValidationError as error:
        raise SpaceError(_first_fault(document, error.errors(include_url=False))) from None


def _fault(message: str, *, key: str | int) -> PydanticCustomError:
    """A fault of a key inside the value that is checked."""
    return PydanticCustomError("fault_inside", "{message}", {"message": message, "key": key})


def _first_fault(document: Document, faults: list[ErrorDetails]) -> str:
    # An unknown key first: a misspelled key is also reported as a missing one.
    fault = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    path: KeyPath = (*fault["loc"], *([fault["ctx"]["key"]] if fault["type"] == "fault_inside" else []))
    place, message = document.place(path), fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            message = str(unknown_name("key", str(path[-1]), _known_keys(path[:-1])))
        case "missing":
            message = "this key is missing"
        case "literal_error":
            message = _unknown_choice(message, fault["input"])
        case "value_error" | "fault_inside":
            pass
        case _:
            message = f"{message[:1].lower()}{message[1:]}, but got {fault['input']!r}"
    return f"{place}: {message}"


def _unknown_choice(message: str, value: Any) -> str:
    near = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", message), n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"{message[:1].lower()}{message[1:]}, but got {value!r}{hint}"


def _known_keys(path: KeyPath) -> list[str]:
    model: type[BaseModel] = Definition
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)
