"""The host's side: thin V3 nodes over `animate_core`. Sockets, checks, memory, progress; no mathematics."""

from comfy_api.latest import io

from . import demo, loaders, pose, reference, sampling

NODES: list[type[io.ComfyNode]] = [
    loaders.LoadReferenceNet,
    loaders.LoadMotionUNet,
    loaders.LoadPoseGuider,
    loaders.LoadClipVision,
    loaders.LoadAnimateAnyone,
    reference.EncodeReference,
    pose.EncodePose,
    sampling.ContextWindows,
    sampling.MultiFrameSampler,
    sampling.AnimateConditioning,
    sampling.AnimateSigmas,
    demo.LoadDemoModel,
    demo.DemoCharacter,
]
