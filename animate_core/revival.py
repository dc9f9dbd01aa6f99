"""Old nodes, one by one, made into new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from .graph_files import Graph, Source
from .old_nodes import (
    CONTROL,
    EVOLVED_IDS,
    EVOLVED_SIZE,
    LEFT_OUT,
    NEW_NODES,
    OLD_NODES,
    SAMPLER_WIDGETS,
    SCHEDULER_WIDGET,
    SCHEDULERS,
    VAE_FILE,
    FileName,
)

SAMPLERS = tuple(f"{start}Animate Anyone Sampler" for start in EVOLVED_IDS)
MOORE_PIPE, MOORE_SIMPLE = "Moore-AnimateAnyone Pipeline Loader", "Moore-AnimateAnyone Simple"
ALIGN, MUSEPOSE, VIDEO_NAME = "museposealign", "musepose", "filenamestring"
MUSEPOSE_SEED = 99  # the old node's, always
LONGEST_WINDOW = 128
ALIGNED_HEIGHT = 768  # of the skeletons that museposealign drew
PUBLISHED = {"schedule": "published", "weights": "flat"}  # how the old packs cut and joined windows
LEFT_OVER = ("Reroute", "VAEEncode", VIDEO_NAME, MOORE_PIPE)  # are taken out if only old nodes used them

CLOSED_LOOP = ("windows are cut and joined as the old node did, in a closed loop. Windows leaves no seams with shifted, pyramid and "
               "closed_loop off")
WEIGHTS = (".safetensors", ".sft", ".pth", ".pt", ".bin", ".ckpt")

# category -> names of the files that a user has, as the host's loaders list them
Files = Mapping[str, Sequence[str]]


def choose_file(wanted: FileName, files: Files) -> str:
    """The user's file that is the wanted one, by its name without the ending and its folder; if there is none, where it should be."""
    stem = PurePosixPath(wanted.name).stem
    same = [name for name in files.get(wanted.category, ()) if PurePosixPath(name.replace("\\", "/")).stem == stem]
    return min(same, key=lambda name: (folder_rank(name, wanted.family), name),
               default=f"{wanted.family}/{wanted.name}" if wanted.family else wanted.name)


def file_like(path: Any, usual: FileName) -> FileName:
    """The usual file under the name that an old path gives it."""
    name = PurePosixPath(str(path).replace("\\", "/")).name
    return replace(usual, name=name) if name.endswith(WEIGHTS) else usual


def choose_folder(family: str, files: Files) -> str:
    """The folder of the user's model files that seems to be the family's; its usual name if there is none."""
    folders = {str(PurePosixPath(name.replace("\\", "/")).parent) for name in files.get("animate_anyone", ())}
    return min((folder for folder in folders if family.lower() in folder.lower()),
               key=lambda folder: (folder_rank(f"{folder}/", family), folder), default=family)


def folder_rank(name: str, family: str) -> int:
    """How little a file's folder looks like the family's."""
    parent, family = str(PurePosixPath(name.replace("\\", "/") + "x").parent).lower(), family.lower()
    return 0 if parent == family else 1 if family and family in parent else 2 if parent == "." else 3


class Conversion:
    """One graph's. replaced and notes gather what was done."""

    def __init__(self, graph: Graph, files: Files) -> None:
        self.graph, self.files = graph, files
        self.replaced: list[str] = []
        self.notes: list[str] = []
        self.made: set[str] = set()

    def run(self) -> None:
        before = {node for node in self.graph.kinds() if self.graph.used(node)}
        recipes: list[tuple[Callable[[str], None], tuple[str, ...]]] = [
            (self.one_for_one, tuple(old for old, about in OLD_NODES.items() if about.new)),
            (self.evolved_sampler, SAMPLERS), (self.moore_simple, (MOORE_SIMPLE,)),
            (self.musepose_align, (ALIGN,)), (self.musepose, (MUSEPOSE,)),
        ]
        for recipe, old in recipes:
            for node, kind in self.graph.kinds().items():
                if kind in old:
                    self.replaced.append(kind)
                    recipe(node)
        self.tidy(before)
        for node, kind in self.graph.kinds().items():
            if kind in OLD_NODES:
                self.say(node, "is kept, because other nodes use its output; replace them by hand")

    def tidy(self, before: set[str]) -> None:
        """Takes out what only served old nodes."""
        while dead := [node for node, kind in self.graph.kinds().items()
                       if kind in LEFT_OVER and not self.graph.used(node) and (node in before or kind in OLD_NODES)]:
            for node in dead:
                if (kind := self.graph.kinds()[node]) in OLD_NODES:
                    self.replaced.append(kind)
                self.graph.remove(node)

    # ------------------------------------------------------------------------------------------------------ small parts

    def say(self, node: str, text: str) -> None:
        self.notes.append(f"{self.graph.title(node)}: {text}")

    def given(self, node: str, layouts: Iterable[Sequence[str]] | None = None) -> Callable[..., Any]:
        """What the old node was given: `given(name)` is what feeds the input, else the widget's value, else the default."""
        stored = self.graph.stored(node)
        if not isinstance(stored, Mapping):
            names = next((names for names in layouts or [] if fits(names, stored)), OLD_NODES[self.graph.kinds()[node]].widgets)
            stored = dict(zip(names, stored, strict=False))

        def value(name: str, default: Any = None) -> Any:
            found = self.graph.source(node, name)
            return stored.get(name, default) if found is None else found

        return value

    def within(self, node: str, kind: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs, with numbers inside what the new node takes; sizes in steps of 8."""
        kept = dict(inputs)
        for widget in NEW_NODES[kind].widgets:
            value = inputs.get(widget.name)
            if widget.low is None or widget.high is None or value is None or isinstance(value, Source):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                self.say(node, f"{widget.name} was {value!r}, which is no number; it is {widget.default} now")
                kept[widget.name] = widget.default
                continue
            held = min(max(value, type(value)(widget.low)), type(value)(widget.high))
            if widget.name in ("width", "height") and kind.startswith("MarionetteEncode"):
                held = max(64, round(held / 8) * 8)
            if held != value:
                self.say(node, f"{widget.name} was {value}; {kind.removeprefix('Marionette')} takes {held}")
                kept[widget.name] = held
        return kept

    def add(self, old: str, kind: str, **inputs: Any) -> Source:
        """A new node's first output."""
        node = self.graph.add(kind, self.within(old, kind, inputs), like=old)
        self.made.add(node)
        return Source(node, 0)

    def become(self, old: str, kind: str, **inputs: Any) -> None:
        inputs = self.within(old, kind, inputs)
        self.graph.replace(old, kind, inputs)
        self.made.add(old)

    def windows(self, old: str, length: Any, overlap: Any, **inputs: Any) -> Source:
        if isinstance(length, int) and isinstance(overlap, int) and overlap >= (most := min(length, LONGEST_WINDOW)):
            self.say(old, f"windows of {length} frames overlapped by {overlap}; the overlap is {max(0, most - 1)} now")
            overlap = max(0, most - 1)
        return self.add(old, "MarionetteWindows", length=length, overlap=overlap, **PUBLISHED, **inputs)

    # ---------------------------------------------------------------------------------------------------------- recipes

    def one_for_one(self, node: str) -> None:
        about, given = OLD_NODES[self.graph.kinds()[node]], self.given(node)
        inputs = {new: given(old) for new, old in about.inputs}
        files = {new: choose_file(file_like(given(old), usual), self.files) for new, old, usual in about.files}
        if files:
            old_paths = ", ".join(str(given(old)) for _, old, _ in about.files)
            self.say(node, f"read {old_paths}; now {', '.join(files.values())} in ComfyUI's models folder")
        if about.new == "MarionetteEncodePose":
            self.say(node, "pose pictures were always stretched to 512x768; width, height and fit are free now")
        self.become(node, about.new, **inputs, **dict(about.fixed), **files)

    def evolved_sampler(self, node: str) -> None:
        given = self.given(node, SAMPLER_WIDGETS)
        image, vae = self.reference_picture(node)
        width, height = self.pose_size(given("pose_latent"))
        model = given("denoising_unet")
        added = []
        if given("use_lora", False) is True:
            model = self.add(node, "LoraLoaderModelOnly", model=model, lora_name=given("lora_name"), strength_model=1.0)
            added.append(model.node)
        reference = self.add(node, "MarionetteEncodeReference", reference_net=given("reference_unet"), vae=vae, image=image, width=width,
                             height=height, fit="stretch", clip_vision_output=given("clip_image_embeds"))
        windows = self.windows(node, given("context_frames", 24), given("context_overlap", 4), stride=given("context_stride", 1),
                               closed_loop=True)
        self.say(node, CLOSED_LOOP)
        for name, usual in LEFT_OUT.items():
            value = given(name, usual)
            if value != usual and not (isinstance(usual, float) and isinstance(value, float) and abs(value - usual) < 1e-9):
                hint = "; for scaled_linear choose family MusePose in Load Motion UNet" if value == "scaled_linear" else ""
                self.say(node, f"{name} is left out, it was {'fed by a link' if isinstance(value, Source) else value}{hint}")
        scheduler, differs = SCHEDULERS.get(str(given(SCHEDULER_WIDGET, "DDIM")), ("", ""))
        if not scheduler:
            scheduler, differs = SCHEDULERS["DDIM"][0], f"the scheduler {given(SCHEDULER_WIDGET)!r} is not known, it is DDIM now"
        if differs:
            self.say(node, differs)
        self.become(node, "MarionetteMultiFrameSampler", model=model, reference=reference, pose=given("pose_latent"), windows=windows,
                    seed=given("seed", 42), **{CONTROL: given(CONTROL, "fixed")}, steps=given("steps", 20), cfg=given("cfg", 3.5),
                    scheduler=scheduler, frames=0, denoise=1.0, noise="published", rescale=0.0)
        self.graph.arrange(node, [[*added, reference.node, windows.node], [node]])

    def reference_picture(self, node: str) -> tuple[Source | None, Source | None]:
        """(picture, VAE) of which the old sampler's latent was made."""
        latent, kinds = self.graph.source(node, "ref_image_latent"), self.graph.kinds()
        if latent is not None and kinds.get(latent.node) == "VAEEncode":
            return self.graph.source(latent.node, "pixels"), self.graph.source(latent.node, "vae")
        self.say(node, "ref_image_latent does not come from VAE Encode: connect the picture and the VAE to Encode Reference")
        return None, None

    def pose_size(self, pose: Any) -> tuple[Any, Any]:
        """Width and height that the poses are encoded at."""
        if isinstance(pose, Source) and self.graph.kinds().get(pose.node) == "MarionetteEncodePose":
            stored = self.graph.stored(pose.node)
            names = [widget.name for widget in NEW_NODES["MarionetteEncodePose"].widgets]
            values = stored if isinstance(stored, Mapping) else dict(zip(names, stored, strict=False))
            width, height = (self.graph.source(pose.node, name) or values.get(name) for name in ("width", "height"))
            if width and height:
                return width, height
        return EVOLVED_SIZE

    def moore_simple(self, node: str) -> None:
        given, pipe = self.given(node), self.graph.source(node, "pipe")
        parts: dict[str, Source | None] = {}
        if pipe is not None and self.graph.kinds().get(pipe.node) == MOORE_PIPE:
            parts = {name: self.graph.source(pipe.node, name) for name in ("vae", "image_enc", "reference_unet", "denoising_unet",
                                                                           "pose_guider")}
        else:
            self.say(node, "the pipe does not come from Pipeline Loader: connect the loaders by hand")
        if self.graph.used(node, 1):
            self.say(node, "result_compare gives the clip alone now, without picture and poses beside it")
            self.graph.redirect(Source(node, 1), Source(node, 0))
        self.say(node, CLOSED_LOOP)
        settings = {"seed": given("seed", 123), CONTROL: given(CONTROL, "fixed"), "steps": given("steps", 25), "cfg": given("cfg", 3.5)}
        self.sample(node, parts, given("ref_image"), given("pose_images"), given("length", 24), (given("width", 512), given("height", 768)),
                    {"length": 24, "overlap": 4, "closed_loop": True}, settings, [])

    def musepose_align(self, node: str) -> None:
        given = self.given(node)
        images, video = self.video_images(node)
        clip = self.add(node, "ImageFromBatch", image=images, batch_index=0, length=given("max_frame", 300))
        driver = self.add(node, "MarionetteExtractPose", images=clip)
        figure = self.add(node, "MarionetteExtractPose", images=given("image"))
        aligned = self.add(node, "MarionetteRetargetPose", pose=driver, reference_pose=figure, reference_image=given("image"),
                           mode="pose_align", align_frame=given("align_frame", 0))
        self.say(node, "detect_resolution and image_resolution are left out: poses are found at the pictures' own size. Mode full of "
                       "Retarget Pose fits better than pose_align")
        self.become(node, "MarionetteDrawPose", pose=aligned, style="MusePose", height=ALIGNED_HEIGHT)
        self.graph.arrange(node, [*video, [clip.node], [driver.node, figure.node], [aligned.node], [node]])

    def musepose(self, node: str) -> None:
        given = self.given(node)
        images, video = self.video_images(node)
        folder = choose_folder("MusePose", self.files)
        loader = self.add(node, "MarionetteLoadAnimateAnyone", folder=folder).node
        vae = self.add(node, "VAELoader", vae_name=choose_file(VAE_FILE, self.files))
        parts = {"denoising_unet": Source(loader, 0), "reference_unet": Source(loader, 1), "pose_guider": Source(loader, 2),
                 "image_enc": Source(loader, 3), "vae": vae}
        self.say(node, f"reads MusePose's files from models/animate_anyone/{folder}")
        self.say(node, "the old node made every second frame, stretched the frames to the pose video's size, and ignored fps; now each "
                       "pose gives a frame of Width x Height: save them at the pose video's frame rate")
        self.sample(node, parts, given("image"), images, given("frame_length", 300), (given("Width", 512), given("Height", 512)),
                    {"length": given("slice_frame_number", 48), "overlap": given("slice_overlap_frame_number", 4), "pad": True},
                    {"seed": MUSEPOSE_SEED, "steps": given("sampling_steps", 20), "cfg": given("cfg", 3.5)}, [*video, [loader, vae.node]])

    def sample(self, node: str, parts: Mapping[str, Source | None], image: Any, pose_images: Any, length: Any, size: tuple[Any, Any],
               windows: Mapping[str, Any], settings: Mapping[str, Any], first: Sequence[Sequence[str]]) -> None:
        """A node that made frames of a picture and pose pictures becomes VAE Decode. first: columns of new nodes that feed the others."""
        width, height = size
        poses = self.add(node, "ImageFromBatch", image=pose_images, batch_index=0, length=length)
        reference = self.add(node, "MarionetteEncodeReference", reference_net=parts.get("reference_unet"), vae=parts.get("vae"),
                             image=image, width=width, height=height, fit="stretch", clip_vision=parts.get("image_enc"))
        pose = self.add(node, "MarionetteEncodePose", pose_guider=parts.get("pose_guider"), images=poses, width=width, height=height,
                        fit="stretch")
        cut = self.windows(node, **windows)
        latent = self.add(node, "MarionetteMultiFrameSampler", model=parts.get("denoising_unet"), reference=reference, pose=pose,
                          windows=cut, **settings)
        self.become(node, "VAEDecode", samples=latent, vae=parts.get("vae"))
        self.graph.arrange(node, [*first, [poses.node, reference.node], [pose.node, cut.node], [latent.node, node]])

    def video_images(self, node: str) -> tuple[Source | None, list[list[str]]]:
        """Frames of the video that the old node read from a file; and columns of new nodes that read it."""
        source, kinds = self.graph.source(node, "video"), self.graph.kinds()
        if source is None:
            name = PurePosixPath(str(self.given(node)("video") or "").replace("\\", "/")).name
            if not name:
                self.say(node, "no video is given: connect the frames by hand")
                return None, []
            self.say(node, f"reads {name} from ComfyUI's input folder")
            file = self.add(node, "LoadVideo", file=name)
            frames = self.add(node, "GetVideoComponents", video=file)
            return frames, [[file.node], [frames.node]]
        saver = self.graph.source(source.node, "filenames") if kinds.get(source.node) == VIDEO_NAME else None
        images = self.graph.source(saver.node, "images") if saver is not None and saver.node in kinds else None
        if images is None:
            self.say(node, "the video does not come from Video Combine and filenamestring: connect the frames by hand")
        return images, []


def fits(names: Sequence[str], values: Sequence[Any]) -> bool:
    """Whether values were stored in this order, by the scheduler's place."""
    at = names.index(SCHEDULER_WIDGET)
    return len(values) > at and isinstance(values[at], str) and values[at] in SCHEDULERS
