"""The published files: their names, sizes, checksums, addresses, the folders where the host looks for them, and their licences.

The loaders' messages, `python -m animate_core.models`, docs/models.md and the templates say what is kept here; tests hold them to it.
Sizes and SHA-256 are those that the files' hosts publish; what is not known here, the hub tells at download.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from .families import FAMILIES

HUB = "https://huggingface.co"
OWN_FOLDER = "animate_anyone"
# what a file of the table is for
DENOISER, MOTION, REFERENCE_NET, GUIDER = "denoising UNet", "motion module", "ReferenceNet", "pose guider"
CLIP, VAE, DETECTOR, POSE_MODEL, FACE_MODEL = "CLIP image encoder", "VAE", "person detector", "pose model", "face model"


@dataclass(frozen=True)
class ModelFile:
    """One published file.

    Attributes:
        part: what it is, one of the constants above.
        folder: where it goes below the host's models folder; the first word is the host's category.
        path: its path in the repository.
        repository: on Hugging Face; empty where it is not there.
        size: bytes; with three digits where the exact size is not published, 0 where none is.
        exact: whether `size` is exact.
        sha256: of the whole file, in hexadecimal; empty where it is not published.
    """

    part: str
    folder: str
    path: str
    repository: str
    size: int
    exact: bool = False
    sha256: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def category(self) -> str:
        return self.folder.partition("/")[0]

    @property
    def choice(self) -> str:
        """The file as the loaders list it: below its category's folder."""
        return f"{self.folder}/{self.name}".partition("/")[2]

    @property
    def page(self) -> str:
        """The page that lists the file."""
        inside = self.path.rpartition("/")[0]
        return f"{HUB}/{self.repository}/tree/main{'/' if inside else ''}{inside}" if self.repository else ""

    @property
    def url(self) -> str:
        return f"{HUB}/{self.repository}/resolve/main/{self.path}" if self.repository else ""


@dataclass(frozen=True)
class FileSet:
    """Files that belong together: a family's own, or what several families share.

    Attributes:
        name: the family's name in `FAMILIES`, or a name of its own.
        licence: of the weights, by those who published them.
        files: its files.
        needs: names of the sets that it does not run without.
        elsewhere: where the files are where they are not on Hugging Face.
    """

    name: str
    licence: str
    files: tuple[ModelFile, ...]
    needs: tuple[str, ...] = ()
    elsewhere: str = ""


def size_text(size: int) -> str:
    """`3.44 GB`, as Hugging Face shows sizes: powers of ten, three digits. 0 is unknown."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            value = size / factor
            return f"{value:.{max(0, 2 - (value >= 10) - (value >= 100))}f} {unit}"
    return f"{size} bytes" if size else "size unknown"


def _family(name: str, repository: str, folder: str, inside: str, sizes: dict[str, int], exact: tuple[str, ...] = (),
            sha256: dict[str, str] | None = None, needs: tuple[str, ...] = ("image encoder", "VAE"), elsewhere: str = "") -> FileSet:
    """A family's set. inside: the repository's folder. sizes: bytes by file name without `.pth`; exact: those that are exact."""
    parts = {"denoising_unet": DENOISER, "motion_module": MOTION, "reference_unet": REFERENCE_NET}
    files = tuple(ModelFile(parts.get(stem, GUIDER), f"{OWN_FOLDER}/{folder}", f"{inside}{stem}.pth", repository, size, stem in exact,
                            (sha256 or {}).get(stem, "")) for stem, size in sizes.items())
    return FileSet(name, FAMILIES[name].licence, files, needs, elsewhere)


_MOORE = _family(
    "Moore", "patrolli/AnimateAnyone", "Moore", "",
    {"denoising_unet": 3_440_000_000, "motion_module": 1_820_000_000, "reference_unet": 3_440_000_000, "pose_guider": 4_350_000},
    sha256={
        "denoising_unet": "b9e5a2c34fac369e8a922972ca2210916c6af175a0dad907deccf6235816ad52",
        "motion_module": "0d11e01a281b39880da2efeea892215c1313e5713fca3d100a7fbb72ee312ef9",
        "reference_unet": "beddccb08d49a8b29b0f4d6d456c6521d4382a8d8d48884fa60ba8802509c214",
        "pose_guider": "1a8b7c1b4db92980fd977b4fd003c1396bbae9a9cdea00c35d452136d5e4f488",
    })
_MUSEPOSE_SIZES = {"denoising_unet": 3_402_758_813, "motion_module": 916_202_377, "reference_unet": 3_440_402_647,
                   "pose_guider": 3_402_614_286}
_MUSEPOSE = _family("MusePose", "TMElyralab/MusePose", "MusePose", "MusePose/", _MUSEPOSE_SIZES, exact=tuple(_MUSEPOSE_SIZES))
_NOVITA = _family(
    "novita", "novita-ai/AnimateAnyone", "novita", "",
    {"denoising_unet": 3_440_000_000, "motion_module": 1_820_000_000, "reference_unet": 3_440_000_000, "pose_guider": 2_065_454},
    exact=("pose_guider",))
_CHAMP = _family(
    "Champ", "fudan-generative-ai/champ", "Champ", "champ/",
    {"denoising_unet": 3_440_000_000, "motion_module": 1_820_000_000, "reference_unet": 3_440_000_000,
     **dict.fromkeys(FAMILIES["Champ"].guiders, 10_700_000)})
_ANIPORTRAIT = _family(
    "AniPortrait", "ZJYang/AniPortrait", "AniPortrait", "",
    {"denoising_unet": 3_440_000_000, "motion_module": 1_820_000_000, "reference_unet": 3_440_000_000, "pose_guider": 670_000_000},
    needs=("image encoder", "VAE", "MediaPipe face"))
_MOORE_FACE = _family(
    "Moore face", "", "Moore-face", "",
    {"denoising_unet": 5_300_000_000, "reference_unet": 3_440_000_000, "pose_guider1": 0, "pose_guider2": 0},
    needs=("image encoder", "VAE", "DWPose"),
    elsewhere="Moore-AnimateAnyone's authors share them by Baidu alone (face reenactment, in the README of "
              "github.com/MooreThreads/Moore-AnimateAnyone)")

_SHARED = (
    FileSet("image encoder", "CreativeML OpenRAIL-M", (
        ModelFile(CLIP, "clip_vision/sd-image-variations", "image_encoder/pytorch_model.bin", "lambdalabs/sd-image-variations-diffusers",
                  1_215_993_967, True, "89d2aa29b5fdf64f3ad4f45fb4227ea98bc45156bbae673b85be1af7783dbabb"),)),
    FileSet("VAE", "MIT", (
        ModelFile(VAE, "vae", "vae-ft-mse-840000-ema-pruned.safetensors", "stabilityai/sd-vae-ft-mse-original",
                  334_641_190, True, "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75"),)),
    FileSet("DWPose", "Apache-2.0", (
        ModelFile(DETECTOR, OWN_FOLDER, "yolox_l.onnx", "yzd-v/DWPose",
                  216_746_733, True, "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411"),
        ModelFile(POSE_MODEL, OWN_FOLDER, "dw-ll_ucoco_384.onnx", "yzd-v/DWPose",
                  134_399_116, True, "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843"))),
    FileSet("MediaPipe face", "Apache-2.0", (
        ModelFile(FACE_MODEL, "detection", "detection/mediapipe_face_fp32.safetensors", "Comfy-Org/mediapipe",
                  5_423_900, True, "a98c4806081d40eba35102a0f6dc0000c2e1388b72cf24e691703d0605bd888a"),)),
)

CATALOGUE: tuple[FileSet, ...] = (_MOORE, _MUSEPOSE, _NOVITA, _CHAMP, _ANIPORTRAIT, _MOORE_FACE, *_SHARED)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def file_set(name: str, catalogue: tuple[FileSet, ...] = CATALOGUE) -> FileSet:
    """The set of that name; case, spaces and hyphens do not matter.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    for found in catalogue:
        if _plain(found.name) == _plain(name):
            return found
    raise ValueError(f"there are no files called {name!r}: choose from {', '.join(found.name for found in catalogue)}")


def with_needs(name: str, catalogue: tuple[FileSet, ...] = CATALOGUE) -> tuple[FileSet, ...]:
    """The set of that name and those that it needs. Raises ValueError."""
    found = file_set(name, catalogue)
    return (found, *(file_set(need, catalogue) for need in found.needs))


def every_file(catalogue: tuple[FileSet, ...] = CATALOGUE) -> Iterator[tuple[FileSet, ModelFile]]:
    for found in catalogue:
        for file in found.files:
            yield found, file


def where_to_get(choice: str, part: str) -> str:
    """A sentence for who lacks a file: exact name, size, address and folder.

    Args:
        choice: the file as a loader names it, such as `MusePose/denoising_unet.pth`; any other name stands for Moore's file of the part.
        part: what the loader needs, one of the constants above.
    """
    wanted = choice.replace("\\", "/")
    fitting = [(found, file) for found, file in every_file() if file.part == part]
    found, file = next(((s, f) for s, f in fitting if f.choice == wanted), fitting[0])
    if not file.url:
        return f"{file.name} belongs into models/{file.folder}; {found.elsewhere}. Press R when it is there"
    return f"Get {file.name} ({size_text(file.size)}) from {file.url} into models/{file.folder} and press R; {_or_run(found)}"


def family_in(folder: str) -> str:
    """The family whose files belong into a folder, by the folder's name; empty if none."""
    last = PurePosixPath(folder.replace("\\", "/")).name.lower()
    families = (found for found in CATALOGUE if found.name in FAMILIES)
    return next((found.name for found in families if PurePosixPath(found.files[0].folder).name.lower() == last), "")


def what_to_get(family: str, parts: Collection[str] = ()) -> str:
    """A sentence for who lacks several files of a family: names and sizes, the pages where they are, folders. No parts: everything."""
    pages: dict[tuple[str, str], list[str]] = {}
    for found in with_needs(family):
        for file in found.files:
            if not parts or file.part in parts:
                pages.setdefault((file.page or found.elsewhere, file.folder), []).append(f"{file.name} ({size_text(file.size)})")
    files = "; ".join(f"{', '.join(names)} from {page} into models/{folder}" for (page, folder), names in pages.items())
    return f"Get {files}. Then press R; {_or_run(file_set(family))}"


def _or_run(found: FileSet) -> str:
    return f"or run `python -m animate_core.models download {found.name.replace(' ', '-')}` in the pack's folder"
