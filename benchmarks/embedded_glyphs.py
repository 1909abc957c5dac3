"""Makes `octnas/data/embedded/glyphs.npz` and `glyphs.json`: look-alike CJK characters in many fonts.

Run it on Debian with the packages of FONTS installed, and with Pillow and fontTools:

    python benchmarks/embedded_glyphs.py --to octnas/data/embedded

The task needs fine detail (the two characters of a group often differ by one short stroke), and validation
and test are written in fonts that training never saw. The fonts themselves are not shipped, only 32 px
renderings of 160 characters; every font's package, version and licence is written to `glyphs.json`.
Renderings are clean; contrast and noise are drawn by octnas when the set is loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont, features

GROUPS = (
    "未末本木夫天夭大太犬丈失矢朱 己已巳 土士王玉主壬 日曰目白自百 千干于 人入八 刀力刃 "
    "田由甲申 午牛 鳥烏 問間聞 待侍持特 綱網鋼 栽裁 哀衰 拾捨 塊魂 治冶 往住注 "
    "孤弧 候侯 因困囚 西酉 巨臣 今令 石右 貝見具 名各 爪瓜 史吏 斤斥 析折 師帥 "
    "遣遺 暮墓募慕 輪輸 堀掘 幣弊 壁璧 陪倍 刺剌 栗粟 薄簿 操燥 徹撤 揚楊場 方万 "
    "族旅 抵低 祖租 宣宜 享亨 管菅 官宮 老考 小少 水永 氏民 乏之 代伐 車東 丸九"
)
"""Groups of characters that are easily taken for one another; every character is in every font below."""

COUNTS = {"train": 12_000, "val": 8_000, "test": 8_000}
SIZE = 32
OVERSAMPLE = 4
EM = 120
"""Pixels of the em square before the transform: a character fills about 30 of the 32 px at scale 1."""
ROTATION = math.radians(8)
SHEAR = 0.25
SCALE = (0.6, 0.96)
STRETCH = 0.1
SHIFT = 2.0
BOLDER = 3
"""Half the extra stroke width, at most, in oversampled pixels; drawn for half of the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """One face of one file, and the split that it writes. Faces of one design are all in one split."""

    split: str
    design: str
    package: str
    file: str
    index: int = 0


LICENCES = {
    "fonts-arphic-bkai00mp": "Arphic Public License",
    "fonts-arphic-ukai": "Arphic Public License",
    "fonts-arphic-uming": "Arphic Public License",
    "fonts-baekmuk": "Baekmuk license (MIT-like)",
    "fonts-cns11643-kai": "OGDL-TW-1.0 (National Development Council, 2015)",
    "fonts-cns11643-sung": "OGDL-TW-1.0 (National Development Council, 2015)",
    "fonts-dejima-mincho": "MIT",
    "fonts-hanazono": "Hanazono Font License or OFL-1.1",
    "fonts-horai-umefont": "Ume Font license (free, no warranty)",
    "fonts-ipaexfont-gothic": "IPA Font License 1.0",
    "fonts-ipaexfont-mincho": "IPA Font License 1.0",
    "fonts-kiloji": "BSD-3-Clause",
    "fonts-klee": "OFL-1.1",
    "fonts-konatu": "MIT",
    "fonts-kouzan-mouhitsu": "public domain",
    "fonts-lxgw-wenkai": "OFL-1.1",
    "fonts-migmix": "IPA Font License 1.0 and M+ FONTS License",
    "fonts-morisawa-bizud-gothic": "OFL-1.1",
    "fonts-morisawa-bizud-mincho": "OFL-1.1",
    "fonts-motoya-l-cedar": "Apache-2.0",
    "fonts-motoya-l-maruberi": "Apache-2.0",
    "fonts-nanum": "OFL-1.1",
    "fonts-noto-cjk": "OFL-1.1",
    "fonts-noto-cjk-extra": "OFL-1.1",
    "fonts-oradano-mincho-gsrr": "Oradano license (free use, redistribution and derivation)",
    "fonts-reggae": "OFL-1.1",
    "fonts-sawarabi-gothic": "CC-BY-3.0 (mshio, 2008-2016)",
    "fonts-seto": "OFL-1.1",
    "fonts-wqy-microhei": "Apache-2.0 or GPL-3+ with font exception",
    "fonts-wqy-zenhei": "GPL-2 with font embedding exception and M+ FONTS License",
    "fonts-yozvox-yozfont-standard-kana": "OFL-1.1",
    "fonts-yusei-magic": "OFL-1.1",
}
"""Licence of the font files, read in each package's /usr/share/doc/PACKAGE/copyright."""

FONTS = tuple(
    Font(split=split, design=design, package=package, file=file, index=index)
    for split, design, package, file, index in (
        ("train", "Noto Sans CJK", "fonts-noto-cjk", "NotoSansCJK-Regular.ttc", 0),
        ("train", "Noto Sans CJK", "fonts-noto-cjk", "NotoSansCJK-Bold.ttc", 2),
        ("train", "Noto Sans CJK", "fonts-noto-cjk-extra", "NotoSansCJK-Light.ttc", 3),
        ("train", "Noto Sans CJK", "fonts-noto-cjk-extra", "NotoSansCJK-Black.ttc", 0),
        ("train", "Noto Serif CJK", "fonts-noto-cjk", "NotoSerifCJK-Regular.ttc", 0),
        ("train", "Noto Serif CJK", "fonts-noto-cjk", "NotoSerifCJK-Bold.ttc", 3),
        ("train", "Noto Serif CJK", "fonts-noto-cjk-extra", "NotoSerifCJK-Black.ttc", 2),
        ("train", "IPAex", "fonts-ipaexfont-mincho", "ipaexm.ttf", 0),
        ("train", "IPAex", "fonts-ipaexfont-gothic", "ipaexg.ttf", 0),
        ("train", "MigMix", "fonts-migmix", "migmix-1p-regular.ttf", 0),
        ("train", "MigMix", "fonts-migmix", "migmix-1p-bold.ttf", 0),
        ("train", "Arphic Kai", "fonts-arphic-ukai", "ukai.ttc", 2),
        ("train", "Arphic Kai", "fonts-arphic-bkai00mp", "bkai00mp.ttf", 0),
        ("train", "Arphic Ming", "fonts-arphic-uming", "uming.ttc", 0),
        ("train", "TW-Sung", "fonts-cns11643-sung", "TW-Sung-98_1.ttf", 0),
        ("train", "Ume", "fonts-horai-umefont", "ume-tgo5.ttf", 0),
        ("train", "Ume", "fonts-horai-umefont", "ume-tmo3.ttf", 0),
        ("train", "kiloji", "fonts-kiloji", "kiloji.ttf", 0),
        ("train", "kiloji", "fonts-kiloji", "kiloji_b.ttf", 0),
        ("train", "Klee", "fonts-klee", "KleeOne-SemiBold.ttf", 0),
        ("train", "Klee", "fonts-lxgw-wenkai", "LXGWWenKai-Light.ttf", 0),
        ("train", "Klee", "fonts-lxgw-wenkai", "LXGWWenKai-Bold.ttf", 0),
        ("train", "Kouzan Mouhitsu", "fonts-kouzan-mouhitsu", "kouzan-mouhitsu.ttf", 0),
        ("train", "Motoya Maruberi", "fonts-motoya-l-maruberi", "MTLmr3m.ttf", 0),
        ("train", "Hanazono", "fonts-hanazono", "HanaMinA.ttf", 0),
        ("train", "Baekmuk Gulim", "fonts-baekmuk", "gulim.ttf", 0),
        ("train", "Yusei Magic", "fonts-yusei-magic", "YuseiMagic-Regular.ttf", 0),
        ("val", "BIZ UD Gothic", "fonts-morisawa-bizud-gothic", "BIZUDGothic-Regular.ttf", 0),
        ("val", "BIZ UD Mincho", "fonts-morisawa-bizud-mincho", "BIZUDMincho-Regular.ttf", 0),
        ("val", "YOzFont", "fonts-yozvox-yozfont-standard-kana", "YOzRS_.ttf", 0),
        ("val", "WenQuanYi Zen Hei", "fonts-wqy-zenhei", "wqy-zenhei.ttc", 0),
        ("val", "TW-Kai", "fonts-cns11643-kai", "TW-Kai-98_1.ttf", 0),
        ("val", "Konatu", "fonts-konatu", "Konatu.ttf", 0),
        ("val", "Oradano Mincho", "fonts-oradano-mincho-gsrr", "OradanoGSRR.ttf", 0),
        ("val", "Nanum Gothic", "fonts-nanum", "NanumGothicBold.ttf", 0),
        ("test", "Motoya Cedar", "fonts-motoya-l-cedar", "MTLc3m.ttf", 0),
        ("test", "SetoFont", "fonts-seto", "setofont.ttf", 0),
        ("test", "Dejima Mincho", "fonts-dejima-mincho", "dejima-mincho-r227.ttf", 0),
        ("test", "WenQuanYi Micro Hei", "fonts-wqy-microhei", "wqy-microhei.ttc", 0),
        ("test", "Baekmuk Batang", "fonts-baekmuk", "batang.ttf", 0),
        ("test", "Baekmuk Dotum", "fonts-baekmuk", "dotum.ttf", 0),
        ("test", "Sawarabi Gothic", "fonts-sawarabi-gothic", "sawarabi-gothic-medium.ttf", 0),
        ("test", "Reggae One", "fonts-reggae", "ReggaeOne-Regular.ttf", 0),
    )
)


def characters() -> str:
    """The classes, in the order of GROUPS."""
    return "".join(GROUPS.split())


def installed(package: str, file: str) -> Path:
    """Where Debian's `package` put `file`."""
    listed = subprocess.run(["dpkg", "-L", package], check=True, capture_output=True, text=True).stdout
    return next(Path(line) for line in listed.splitlines() if line.endswith("/" + file))


def version(package: str) -> str:
    """Installed version of a Debian package."""
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout


def draw(font: ImageFont.FreeTypeFont, character: str, bolder: int) -> Image.Image:
    """One character, white on black, its ink centred in a square of 2 EM."""
    canvas = Image.new("L", (2 * EM, 2 * EM))
    left, top, right, bottom = font.getbbox(character, stroke_width=bolder)
    corner = (EM - (left + right) / 2, EM - (top + bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, character, fill=255, font=font, stroke_width=bolder)
    return canvas


def check(font: Font, face: ImageFont.FreeTypeFont, path: Path) -> None:
    """Every character is mapped, has ink, and differs from every other in this face."""
    mapped = TTFont(path, fontNumber=font.index, lazy=True).getBestCmap()
    missing = [c for c in characters() if ord(c) not in mapped]
    if missing:
        raise ValueError(f"{font.file} lacks {''.join(missing)}")
    seen: dict[bytes, str] = {}
    for character in characters():
        image = draw(face, character, 0)
        ink = np.asarray(image).mean() / 255 * 4  # share of the em square
        key = image.tobytes()
        if ink < 0.03 or key in seen:
            raise ValueError(f"{font.file}: {character} is empty or the same as {seen.get(key)} ({ink=:.3f})")
        seen[key] = character


def render(face: ImageFont.FreeTypeFont, character: str, rng: np.random.Generator) -> np.ndarray:
    """One image, uint8 (SIZE, SIZE): a random similarity with shear, then a box filter down to SIZE."""
    bolder = int(rng.integers(1, BOLDER + 1)) if rng.random() < 0.5 else 0
    angle, shear = rng.uniform(-ROTATION, ROTATION), rng.uniform(-SHEAR, SHEAR)
    scale, stretch = rng.uniform(*SCALE), rng.uniform(-STRETCH, STRETCH)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * OVERSAMPLE
    rotate = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = (
        rotate @ np.array([[1, shear], [0, 1]]) @ np.diag([scale * (1 + stretch), scale * (1 - stretch)])
    )
    inverse = np.linalg.inv(forward)  # PIL maps output pixels to input pixels
    side = SIZE * OVERSAMPLE
    offset = np.array([EM, EM]) - inverse @ (np.array([side / 2, side / 2]) + shift)
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    large = draw(face, character, bolder).transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(large.reduce(OVERSAMPLE))


def make_split(split: str, seed: int) -> dict[str, np.ndarray]:
    """Images (N, SIZE, SIZE) in 16 levels, labels and fonts (N,), shuffled; classes in equal shares."""
    rng = np.random.default_rng([seed, list(COUNTS).index(split)])
    faces = []
    for position, font in enumerate(FONTS):
        if font.split == split:
            path = installed(font.package, font.file)
            face = ImageFont.truetype(str(path), EM, index=font.index, layout_engine=ImageFont.Layout.BASIC)
            check(font, face, path)
            faces.append((position, face))
    count, classes = COUNTS[split], len(characters())
    labels = np.repeat(np.arange(classes), count // classes)
    # within a class every font comes equally often, give or take one
    turns = np.concatenate(
        [rng.permutation(count // classes) + rng.integers(len(faces)) for _ in range(classes)]
    )
    images = np.empty((count, SIZE, SIZE), np.uint8)
    fonts = np.empty(count, np.uint8)
    for i, (label, turn) in enumerate(zip(labels, turns, strict=True)):
        fonts[i], face = faces[turn % len(faces)]
        images[i] = render(face, characters()[label], rng)
    order = rng.permutation(count)
    levels = (images[order].astype(np.uint16) * 15 + 127) // 255
    return {
        "images": levels.astype(np.uint8),
        "labels": labels[order].astype(np.uint8),
        "fonts": fonts[order],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=Path("octnas/data/embedded"))
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    if len(set(characters())) != len(characters()) or COUNTS["val"] % len(characters()):
        raise ValueError("characters must be distinct and divide the counts")
    arrays: dict[str, np.ndarray] = {}
    for split in COUNTS:
        made = make_split(split, options.seed)
        arrays[f"{split}_images"] = made["images"][:, :, 0::2] << 4 | made["images"][:, :, 1::2]
        arrays[f"{split}_labels"] = made["labels"]
        arrays[f"{split}_fonts"] = made["fonts"]
    np.savez_compressed(options.to / "glyphs.npz", **arrays)
    record = {
        "name": "glyphs",
        "seed": options.seed,
        "size": SIZE,
        "characters": characters(),
        "groups": GROUPS.split(),
        "counts": COUNTS,
        "encoding": "4 bits a pixel, two pixels a byte, the left one in the high half; white ink on black",
        "transform": {
            "rotation_radians": ROTATION,
            "shear": SHEAR,
            "scale": SCALE,
            "stretch": STRETCH,
            "shift_px": SHIFT,
            "bolder_px": BOLDER / OVERSAMPLE,
        },
        "fonts": [
            {
                "file": font.file,
                "face": font.index,
                "design": font.design,
                "split": font.split,
                "package": font.package,
                "version": version(font.package),
                "licence": LICENCES[font.package],
            }
            for font in FONTS
        ],
        "made_with": {"pillow": PIL.__version__, "freetype": features.version_module("freetype2")},
        "sha256": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
        "script": "benchmarks/embedded_glyphs.py",
    }
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (options.to / "glyphs.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
