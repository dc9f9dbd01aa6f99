"""The host's side: thin V3 nodes over `animate_core`. Sockets, checks, memory, progress; no mathematics."""

from comfy_api.latest import io

from . import (
    accelerate,
    clean_pose,
    demo,
    draw_pose,
    edit_pose,
    extract_pose,
    fit_drawing,
    guidance,
    loaders,
    pose,
    pose_files,
    reference,
    retarget_pose,
    sampling,
)

NODES: list[type[io.ComfyNode]] = [
    loaders.LoadReferenceNet,
    loaders.LoadMotionUNet,
    loaders.LoadPoseGuider,
    loaders.LoadClipVision,
    loaders.LoadAnimateAnyone,
    reference.EncodeReference,
    pose.EncodePose,
    guidance.EncodeGuidance,
    extract_pose.LoadPoseDetector,
    extract_pose.ExtractPose,
    clean_pose.CleanPose,
    retarget_pose.RetargetPose,
    edit_pose.EditPose,
    draw_pose.DrawPose,
    pose.PoseMoves,
    pose_files.LoadPose,
    pose_files.SavePose,
    sampling.ContextWindows,
    sampling.MultiFrameSampler,
    sampling.AnimateConditioning,
    sampling.AnimateSigmas,
    accelerate.Accelerate,
    demo.LoadDemoModel,
    demo.DemoCharacter,
    fit_drawing.FitDrawing,
    fit_drawing.PlaceDrawing,
]
