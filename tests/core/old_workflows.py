"""Workflows in the shapes of older packs, made from their nodes' ids, sockets and widgets, with core nodes around them."""

from __future__ import annotations

from typing import Any

Workflow = dict[str, Any]
VAE, CLIP = "vae-ft-mse-840000-ema-pruned.safetensors", "sd-image-variations/pytorch_model.bin"
PICTURE, VIDEO = "character.png", "pose.mp4"
HEIGHTS = {"LoadImage": 314, "LoadVideo": 510, "GetVideoComponents": 106}


class Builder:
    """A workflow as the page saves it. `node` gives the new node's id; a link is (node, slot)."""

    def __init__(self) -> None:
        self.data: Workflow = {"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "config": {}, "extra": {},
                               "version": 0.4}

    def node(self, kind: str, at: tuple[int, int], widgets: Any = None, outputs: tuple[str, ...] = (),
             converted: tuple[str, ...] = (), **inputs: tuple[str, tuple[int, int] | None]) -> int:
        """inputs: name -> (type, link). converted: those of them that were widgets."""
        number = self.data["last_node_id"] = self.data["last_node_id"] + 1
        slots: list[dict[str, Any]] = []
        for name, (of, link) in inputs.items():
            slot: dict[str, Any] = {"name": name.strip("_"), "type": of, "link": None}
            if name in converted:
                slot["widget"] = {"name": name}
            if link is not None:
                slot["link"] = self.data["last_link_id"] = self.data["last_link_id"] + 1
                self.data["links"].append([slot["link"], link[0], link[1], number, len(slots), of])
                source = self.data["nodes"][link[0] - 1]["outputs"][link[1]]
                source["links"] = [*(source["links"] or []), slot["link"]]
            slots.append(slot)
        about = {"id": number, "type": kind, "pos": list(at), "size": {"0": 315, "1": HEIGHTS.get(kind, 80)}, "flags": {},
                 "order": number, "mode": 0,
                 "outputs": [{"name": of, "type": of, "links": None, "shape": 3} for of in outputs],
                 "properties": {"Node name for S&R": kind}}
        if slots:
            about["inputs"] = slots
        if widgets is not None:
            about["widgets_values"] = widgets
        self.data["nodes"].append(about)
        return number


def frames_of(build: Builder, video: str = VIDEO) -> tuple[int, int]:
    file = build.node("LoadVideo", (0, 750), [video, "image"], ("VIDEO",))
    return build.node("GetVideoComponents", (350, 750), None, ("IMAGE", "AUDIO", "FLOAT"), video=("VIDEO", (file, 0))), 0


def save(build: Builder, images: tuple[int, int], at: tuple[int, int], prefix: str) -> int:
    return build.node("SaveImage", at, [prefix], images=("IMAGE", images))


SAMPLER_VALUES = [7, "fixed", 2, 4.5, 1.0, 12, 1, 3, 1, 1, "Euler Ancestral", 0.00085, 0.012, "linear", "v_prediction", "trailing", 1,
                  False, True, False, None]


def evolved(start: str = "[AnimateAnyone] ", values: list[Any] | None = None, reroute: bool = False) -> Workflow:
    """ComfyUI-AnimateAnyone-Evolved's: three loaders, Pose Guider Encode, the sampler, core's VAE and CLIP nodes."""
    build = Builder()
    vae = build.node("VAELoader", (0, 0), [VAE], ("VAE",))
    picture = build.node("LoadImage", (0, 150), [PICTURE, "image"], ("IMAGE", "MASK"))
    scaled = build.node("ImageScale", (400, 200), ["nearest-exact", 512, 768, "disabled"], ("IMAGE",), image=("IMAGE", (picture, 0)))
    encoded = build.node("VAEEncode", (800, 0), None, ("LATENT",), pixels=("IMAGE", (scaled, 0)), vae=("VAE", (vae, 0)))
    latent = (encoded, 0)
    if reroute:
        latent = (build.node("Reroute", (1000, 0), None, ("LATENT",), _=("*", latent)), 0)
    clip = build.node("MarionetteLoadClipVision", (400, 400), [CLIP], ("CLIP_VISION",))
    seen = build.node("CLIPVisionEncode", (800, 400), ["none"], ("CLIP_VISION_OUTPUT",), clip_vision=("CLIP_VISION", (clip, 0)),
                      image=("IMAGE", (scaled, 0)))
    base = "./pretrained_weights/stable-diffusion-v1-5/unet/"
    reference = build.node(f"{start}Load UNet2D ConditionModel", (800, 120), [base, "./pretrained_weights/reference_unet.pth"], ("UNET2D",))
    denoiser = build.node(f"{start}Load UNet3D ConditionModel", (800, 250),
                          [base, "./pretrained_weights/denoising_unet.pth", "./pretrained_weights/motion_module.pth"], ("UNET3D",))
    guider = build.node(f"{start}Load Pose Guider", (400, 920), ["./pretrained_weights/pose_guider.pth"], ("POSE_GUIDER",))
    frames = frames_of(build)
    pose = build.node(f"{start}Pose Guider Encode", (800, 700), None, ("POSE_LATENT",), pose_guider=("POSE_GUIDER", (guider, 0)),
                      pose_images=("IMAGE", frames))
    sampler = build.node(f"{start}Animate Anyone Sampler", (1250, 100), list(SAMPLER_VALUES) if values is None else values, ("LATENT",),
                         reference_unet=("UNET2D", (reference, 0)), denoising_unet=("UNET3D", (denoiser, 0)),
                         ref_image_latent=("LATENT", latent), clip_image_embeds=("CLIP_VISION_OUTPUT", (seen, 0)),
                         pose_latent=("POSE_LATENT", (pose, 0)))
    decoded = build.node("VAEDecode", (1650, 0), None, ("IMAGE",), samples=("LATENT", (sampler, 0)), vae=("VAE", (vae, 0)))
    save(build, (decoded, 0), (2000, 0), "evolved")
    return build.data


def moore(compare: bool = False, length: int = 6, width: int = 64, height: int = 96) -> Workflow:
    """ComfyUI-Moore-AnimateAnyone's: five loaders into a pipe, and one node for the rest."""
    build, name = Builder(), "Moore-AnimateAnyone"
    vae = build.node(f"{name} VAE", (0, 0), ["sd-vae-ft-mse"], ("VAE",))
    clip = build.node(f"{name} Image Encoder", (0, 120), ["image_encoder"], ("CLIPVision",))
    reference = build.node(f"{name} Reference Unet", (0, 220), ["stable-diffusion-v1-5", "reference_unet.pth"], ("UNet2DConditionModel",))
    denoiser = build.node(f"{name} Denoising Unet", (0, 340), ["stable-diffusion-v1-5", "motion_module.pth", "denoising_unet.pth"],
                          ("UNet3DConditionModel",))
    guider = build.node(f"{name} Pose Guider", (0, 480), ["pose_guider.pth"], ("PoseGuider",))
    pipe = build.node(f"{name} Pipeline Loader", (420, 150), None, ("Pose2VideoPipeline",), vae=("VAE", (vae, 0)),
                      image_enc=("CLIPVision", (clip, 0)), reference_unet=("UNet2DConditionModel", (reference, 0)),
                      denoising_unet=("UNet3DConditionModel", (denoiser, 0)), pose_guider=("PoseGuider", (guider, 0)))
    picture = build.node("LoadImage", (420, 350), [PICTURE, "image"], ("IMAGE", "MASK"))
    frames = frames_of(build)
    simple = build.node(f"{name} Simple", (850, 100), [width, height, length, 2, 3.0, 88, "randomize"], ("IMAGE", "IMAGE"),
                        pipe=("Pose2VideoPipeline", (pipe, 0)), ref_image=("IMAGE", (picture, 0)), pose_images=("IMAGE", frames))
    save(build, (simple, 0), (1250, 100), "moore")
    if compare:
        save(build, (simple, 1), (1250, 500), "moore_compare")
    return build.data


def musepose(video: str = "", align: bool = True) -> Workflow:
    """Comfyui-MusePose's, with files between its nodes: VHS's Video Combine writes them, filenamestring names them. video: a path in their
    place, for the sampler alone."""
    build = Builder()
    picture = build.node("LoadImage", (0, 0), [PICTURE, "image"], ("IMAGE", "MASK"))
    values = [video, 64, 96, 6, 4, 2, 3.0, 2, 12]
    if video:
        made = build.node("musepose", (800, 0), values, ("IMAGE",), image=("IMAGE", (picture, 0)))
    else:
        named = _to_file(build, frames_of(build, "driver.mp4"), 700)
        if align:
            aligned = build.node("museposealign", (1200, 100), ["", 512, 700, 8, 1], ("IMAGE",), ("video",), image=("IMAGE", (picture, 0)),
                                 video=("STRING", named))
            named = _to_file(build, (aligned, 0), 1600)
        made = build.node("musepose", (2200, 0), values, ("IMAGE",), ("video",), image=("IMAGE", (picture, 0)), video=("STRING", named))
    save(build, (made, 0), (2600, 0), "musepose")
    return build.data


def aligned(video: str) -> Workflow:
    """museposealign alone, with a video's path."""
    build = Builder()
    picture = build.node("LoadImage", (0, 0), [PICTURE, "image"], ("IMAGE", "MASK"))
    made = build.node("museposealign", (400, 0), [video, 512, 700, 8, 1], ("IMAGE",), image=("IMAGE", (picture, 0)))
    save(build, (made, 0), (800, 0), "museposealign")
    return build.data


def _to_file(build: Builder, frames: tuple[int, int], x: int) -> tuple[int, int]:
    combine = build.node("VHS_VideoCombine", (x, 300), {"frame_rate": 24, "filename_prefix": "poses"}, ("VHS_FILENAMES",),
                         images=("IMAGE", frames))
    return build.node("filenamestring", (x + 300, 500), None, ("STRING",), filenames=("VHS_FILENAMES", (combine, 0))), 0


def api(workflow: Workflow, widgets: dict[str, tuple[str, ...]]) -> Workflow:
    """The same in the API's format. widgets: names by node type, in the page's order."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph: Workflow = {}
    for node in workflow["nodes"]:
        values = node.get("widgets_values") or []
        inputs = dict(values) if isinstance(values, dict) else dict(zip(widgets.get(node["type"], ()), values, strict=False))
        inputs.pop("control_after_generate", None)
        inputs |= {slot["name"]: links[slot["link"]] for slot in node.get("inputs", []) if slot["link"]}
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": node["type"]}}
    return graph
