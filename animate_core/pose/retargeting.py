"""A driver's motion on the body of a reference: limbs in the reference's proportions, feet on its ground, at its place.

Every length ratio is taken over the whole clip. A child joint lies where its parent is now, plus the driver's way from parent to child
times the limb's ratio: turns, foreshortening and a walk towards the camera stay in the motion. The legs hang between the hips and feet
that keep the ground.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from .filters import fill, running_median
from .keypoints import (
    BODY,
    FACE,
    FEET,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LARGEST,
    LEFT_HAND,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    RIGHT_HAND,
    SCORE_THRESHOLD,
    Array,
    PoseClip,
    PoseError,
)
from .pose_align import pose_align

log = logging.getLogger(__name__)

MODES = ("full", "scale only", "offset only", "none", "pose_align")

ROOT = 18  # the middle of the hips, behind the body's points
SIDES = ((R_SHOULDER, R_ELBOW, R_WRIST, R_HIP, R_KNEE, R_ANKLE), (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE))

# A limb is one length, measured wherever it shows; left and right are the same one.
LIMBS = {
    "neck": ((NECK, NOSE),), "shoulders": ((NECK, R_SHOULDER), (NECK, L_SHOULDER)), "torso": ((NECK, ROOT),),
    "hips": ((ROOT, R_HIP), (ROOT, L_HIP)),
    "upper arms": ((R_SHOULDER, R_ELBOW), (L_SHOULDER, L_ELBOW)), "forearms": ((R_ELBOW, R_WRIST), (L_ELBOW, L_WRIST)),
    "thighs": ((R_HIP, R_KNEE), (L_HIP, L_KNEE)), "shins": ((R_KNEE, R_ANKLE), (L_KNEE, L_ANKLE)),
    "eyes": ((R_EYE, L_EYE),), "ears": ((R_EAR, L_EAR),), "nose to eyes": ((NOSE, R_EYE), (NOSE, L_EYE)),
    "eyes to ears": ((R_EYE, R_EAR), (L_EYE, L_EAR)),
}
FACE_LENGTHS = ("eyes", "ears", "nose to eyes", "eyes to ears")
LEGS = ("thighs", "shins")
ANCHORS = {"hips": ROOT, "neck": NECK, "head": NOSE}  # what holds the body in its place where there are no feet: the first that both have
# What measures the whole body: the first of these of which anything is known on both sides, with the neck if it is known too
SIZES = (("torso", *LEGS), ("shoulders", "upper arms", "forearms"), (), FACE_LENGTHS)
# Where a ratio cannot be told, those that may stand for it; then the whole body's
STANDS_FOR = {"upper arms": "forearms", "forearms": "upper arms", "thighs": "shins", "shins": "thighs", "hips": "shoulders",
              "shoulders": "hips", "neck": "face", "face": "neck"}
BODY_LIMBS = tuple(name for name in LIMBS if name not in FACE_LENGTHS)

# Adults' limbs in body heights (Drillis and Contini; widths between the joints' centres), and the part of that below which a limb of the
# reference is taken to point at the camera. Legs are let be shorter: small figures have them, and they must reach the ground.
ADULT = {"neck": 0.115, "shoulders": 0.115, "torso": 0.288, "hips": 0.075, "upper arms": 0.172, "forearms": 0.146, "thighs": 0.245,
         "shins": 0.246}
PLAUSIBLE = {"upper arms": 0.75, "forearms": 0.75, "torso": 0.6, "shoulders": 0.6, "hips": 0.6, "neck": 0.5, "thighs": 0.5, "shins": 0.5}

LIMIT = 2.0  # a limb's ratio is at most so many times the whole body's, and at least one part in so many
LONG = 0.75  # quantile of a limb's length over the clip: near its longest, where it does not point at the camera
CALM = 2  # frames to either side in the running median of lengths
SHORTEST = 0.5  # pixels: less is no length
LEFT_PLACE = 0.25  # body heights from where the clip began: from here on the driver walks about
CONTACT = 0.03  # body heights from the lowest ankles: these feet stand
GROWN = 0.2  # part of the size by which it changes when the driver comes nearer; less is chance
START = 5  # frames that tell where the clip begins
EYES_68, EARS_68, NOSE_TIP_68 = ((36, 42), (42, 48)), (0, 16), 30  # in the 68 face points: right, left


@dataclass(frozen=True)
class RetargetSettings:
    """strength: 0..1, from the whole body's scale for every limb to each limb's own. keep_feet: legs between hips and feet that keep the
    ground; else they hang from the hips. align_frame: for mode `pose_align`."""

    strength: float = 1.0
    keep_feet: bool = True
    align_frame: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise PoseError(f"strength is {self.strength}; it must be from 0 to 1")
        if self.align_frame < 0:
            raise PoseError(f"align_frame is {self.align_frame}; it must be 0 or more")


@dataclass(frozen=True)
class Fit:
    """How a driver goes over to a reference: size (the whole body's ratio), ratios by limb, `face` and `legs` (thigh and shin together),
    the places that fall on each other (pixels of the own canvas), by which point, and what there is to say."""

    size: float
    ratios: dict[str, float]
    anchor: str
    place: Array
    target: Array
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        parts = ", ".join(f"{name} {ratio / self.size:.2f}" for name, ratio in self.ratios.items() if name != "legs")
        return "\n".join([f"size: {self.size:.3f} of the driver's, placed by the {self.anchor}", f"limbs against the whole: {parts}",
                          *self.notes])


# ------------------------------------------------------------------------------------------------------------------ reading a body


def joints_of(points: Array) -> Array:
    """Body points and the hips' middle of frames `[F, 134, 3]` -> `[F, 19, 3]` float64, with stand-ins for joints that no frame has: the
    face's and hands' points, the shoulders' middle for the neck, the eyes' or ears' for the nose. (Where some frames have the joint, a
    stand-in in the others would make it jump.)"""
    out = np.zeros((len(points), ROOT + 1, 3))
    out[:, BODY] = points[:, BODY]
    face = points[:, FACE].astype(float)

    def stand_in(joint: int, others: Array) -> None:
        """others `[F, n, 3]`: their middle, where all are seen."""
        use = (others[..., 2] > 0).all(-1) & ~out[:, joint, 2].any()
        out[use, joint] = np.concatenate([others[use, :, :2].mean(1), others[use, :, 2:].min(1)], axis=-1)

    stand_in(NOSE, face[:, NOSE_TIP_68:NOSE_TIP_68 + 1])
    for joint, (start, stop) in zip((R_EYE, L_EYE), EYES_68, strict=True):
        stand_in(joint, face[:, start:stop])
    for joint, point in zip((R_EAR, L_EAR), EARS_68, strict=True):
        stand_in(joint, face[:, point:point + 1])
    for joint, hand in ((R_WRIST, RIGHT_HAND), (L_WRIST, LEFT_HAND)):
        stand_in(joint, points[:, hand][:, :1].astype(float))
    stand_in(NECK, out[:, [R_SHOULDER, L_SHOULDER]])
    stand_in(NOSE, out[:, [R_EYE, L_EYE]])
    stand_in(NOSE, out[:, [R_EAR, L_EAR]])
    stand_in(ROOT, out[:, [R_HIP, L_HIP]])
    return out


def well_seen(joints: Array) -> Array:
    return joints[..., 2] > SCORE_THRESHOLD


def lengths_of(joints: Array, limb: str) -> Array:
    """`[F, pairs]` in pixels; NaN where an end is not well seen."""
    a, b = np.array(LIMBS[limb]).T
    seen = well_seen(joints)
    length = np.linalg.norm(joints[:, a, :2] - joints[:, b, :2], axis=-1)
    return np.where(seen[:, a] & seen[:, b] & (length >= SHORTEST), length, np.nan)


def measure(joints: Array) -> dict[str, float]:
    """Lengths in pixels of the limbs that are well seen anywhere; of one frame the longer of left and right."""
    out = {}
    for limb in LIMBS:
        lengths = lengths_of(joints, limb)
        known = np.isfinite(lengths)
        if known.any():
            # jitter lengthens the longest: a running median takes most of it away
            steady = running_median(np.nan_to_num(lengths), known, CALM)
            out[limb] = float(lengths[known].max() if len(joints) == 1 else np.quantile(steady[known], LONG))
    return out


def completed(joints: Array) -> Array:
    """`[F, 19, 2]`: places for every joint in every frame, to compute with: missing ones on the straight line in time between those that
    were seen; never seen ones where their parent is."""
    seen = joints[..., 2] > 0
    ever = np.asarray(seen.any(axis=0))
    out = fill(joints[..., :2], seen)

    def lean_on(joint: int, *parents: int) -> None:
        parent = next((p for p in parents if ever[p]), None)
        if not ever[joint] and parent is not None:
            out[:, joint], ever[joint] = out[:, parent], True

    lean_on(ROOT, R_HIP, L_HIP)
    lean_on(NECK, R_SHOULDER, L_SHOULDER, NOSE, ROOT)
    lean_on(ROOT, NECK)
    for child, parent in ((NOSE, NECK), (R_EYE, NOSE), (L_EYE, NOSE), (R_EAR, NOSE), (L_EAR, NOSE)):
        lean_on(child, parent)
    for shoulder, elbow, wrist, hip, knee, ankle in SIDES:
        for child, parent in ((shoulder, NECK), (elbow, shoulder), (wrist, elbow), (hip, ROOT), (knee, hip), (ankle, knee)):
            lean_on(child, parent)
    return out


# ------------------------------------------------------------------------------------------------------------------ limb ratios


def undo_foreshortening(lengths: dict[str, float], notes: list[str]) -> dict[str, float]:
    """One frame cannot tell a short limb from one that points at the camera: none counts as shorter than the rest of the body allows."""
    known = [limb for limb in ADULT if limb in lengths]
    if len(known) < 3:
        return lengths
    height = float(np.quantile([lengths[limb] / ADULT[limb] for limb in known], 0.6))
    out = dict(lengths)
    for limb in known:
        least = PLAUSIBLE[limb] * ADULT[limb] * height
        if lengths[limb] < least:
            notes.append(f"the reference's {limb} look foreshortened: taken as {least / lengths[limb]:.2f} times as long as they look")
            out[limb] = least
    return out


def ratio_of(driver: dict[str, float], reference: dict[str, float], limbs: tuple[str, ...]) -> float | None:
    """The reference's lengths over the driver's, as far as both are known."""
    shared = [limb for limb in limbs if limb in driver and limb in reference]
    return sum(reference[limb] for limb in shared) / sum(driver[limb] for limb in shared) if shared else None


def limb_ratios(driver: dict[str, float], reference: dict[str, float], strength: float, contained: float,
                notes: list[str]) -> tuple[float, dict[str, float]]:
    """The whole body's ratio, and each limb's: own, or a neighbour's, or the whole's. contained: the canvases' ratio, the last resort."""
    size = next((ratio_of(driver, reference, ("neck", *limbs)) for limbs in SIZES if ratio_of(driver, reference, limbs or ("neck",))), None)
    if not size:
        notes.append("the driver and the reference show no limb in common: the canvas's size stands for the body's")
        size = contained
    own = {limb: ratio_of(driver, reference, (limb,)) for limb in BODY_LIMBS}
    own["face"] = ratio_of(driver, reference, FACE_LENGTHS)
    own["legs"] = ratio_of(driver, reference, LEGS)
    ratios, missing = {}, []
    for limb, ratio in own.items():
        if ratio is None:
            ratio = own.get(STANDS_FOR.get(limb, "")) or size
            missing.append(limb)
        limited = float(np.clip(ratio, size / LIMIT, size * LIMIT))
        if limited != ratio:
            notes.append(f"{limb}: {ratio / size:.2f} of the whole body's ratio is beyond belief; limited to {limited / size:.2f}")
        ratios[limb] = size * (limited / size) ** strength
    ratios["legs"] = ratios["legs"] if own["thighs"] and own["shins"] else size
    missing = [limb for limb in missing if limb != "legs"]
    if missing:
        notes.append(f"not comparable, so scaled like their neighbours or the whole body: {', '.join(missing)}")
    return size, ratios


# ------------------------------------------------------------------------------------------------------------------ places


def lowest_ankle(places: Array) -> Array:
    """`[F, 19, 2]` -> `[F]`: y of the lower ankle."""
    return places[:, [R_ANKLE, L_ANKLE], 1].max(-1)


def sizes_over_time(joints: Array, lengths: dict[str, float]) -> Array:
    """`[F]`: how large the driver is in a frame, 1 where its limbs have the clip's lengths; limbs that point at the camera count little."""
    if not lengths:
        return np.ones(len(joints))
    relative = np.concatenate([lengths_of(joints, limb) / length for limb, length in lengths.items()], axis=1)
    known = np.isfinite(relative).any(-1)
    sizes = np.zeros(len(joints))
    sizes[known] = np.nanquantile(relative[known], LONG, axis=-1)
    return fill(sizes[:, None, None], known[:, None])[:, 0, 0]


def frames_at_start(path: Array, sizes: Array, height: float) -> slice:
    """The frames before the driver leaves the place where the clip began, or that size. path `[F, 2]` and height of the body in pixels."""
    away = np.linalg.norm(path - np.median(path[:START], axis=0), axis=-1) > LEFT_PLACE * height
    away |= np.abs(np.log(sizes / np.median(sizes[:START]))) > GROWN
    gone = away[:-2] & away[1:-1] & away[2:]  # a frame or two are a mistake of the detector
    return slice(0, max(1, int(gone.argmax()))) if gone.any() else slice(0, len(path))


def place_of(places: Array, anchor: str, height: float) -> Array:
    """Where somebody stands, from the frames `[F, 19, 2]` of their start: x, y in pixels.

    `feet`: on the ground line, between the hips' middle and the middle of the ankles, of which one sways and the other stands wide.
    """
    if anchor != "feet":
        return np.median(places[:, ANCHORS[anchor]], axis=0)
    low = lowest_ankle(places)
    ground = np.median(low[low >= np.quantile(low, 0.9) - CONTACT * height])
    return np.array([np.median(places[:, [ROOT, ROOT, R_ANKLE, L_ANKLE], 0].mean(-1)), ground])


def whole_hips(joints: Array, driver: dict[str, float]) -> Array:
    """The reference's frame `[1, 19, 3]` with a hip that is missing put beside the other, as far as the driver's shoulders have it."""
    for shoulder, hip, other_shoulder, other_hip in ((R_SHOULDER, R_HIP, L_SHOULDER, L_HIP), (L_SHOULDER, L_HIP, R_SHOULDER, R_HIP)):
        seen = well_seen(joints)[0]
        if seen[[hip, shoulder, other_shoulder]].all() and not seen[other_hip] and driver.keys() >= {"hips", "shoulders"}:
            joints = joints.copy()
            width = joints[0, other_shoulder, :2] - joints[0, shoulder, :2]
            joints[0, other_hip] = joints[0, hip]
            joints[0, other_hip, :2] += width * driver["hips"] / driver["shoulders"]
            joints[0, ROOT] = joints[0, [hip, other_hip]].mean(0)
    return joints


def fit(clip: PoseClip, reference: PoseClip, settings: RetargetSettings) -> Fit:
    """How a driver's clip goes over to a reference; one frame, one person. Raises PoseError if there is nothing to go by."""
    joints = joints_of(clip.person(0))
    driver = measure(joints)
    theirs = whole_hips(joints_of(reference.person(0)), driver)
    notes: list[str] = []
    lengths = undo_foreshortening(measure(theirs), notes)
    for name, limbs in (("legs", LEGS), ("arms", ("upper arms", "forearms")), ("hips", ("hips",)), ("shoulders", ("shoulders",))):
        for who, known in (("reference", lengths), ("driver", driver)):
            if not any(limb in known for limb in limbs):
                notes.append(f"the {who} shows no {name}")
    size, ratios = limb_ratios(driver, lengths, settings.strength, contained(clip, reference), notes)

    mine, other = np.asarray(well_seen(joints).any(axis=0)), well_seen(theirs)[0]
    both_stand = all(seen[ROOT] and seen[[R_ANKLE, L_ANKLE]].any() for seen in (mine, other))
    anchor = "feet" if both_stand and settings.keep_feet else next((a for a, j in ANCHORS.items() if mine[j] and other[j]), None)
    if anchor is None:
        raise PoseError("the driver's clip and the reference have neither hips, neck nor head in common, so the one cannot be put where "
                        "the other stands; a reference that shows more of the body is wanted, or mode 'none'")
    places = completed(joints)
    height = float(np.mean([driver[limb] / ADULT[limb] for limb in ADULT if limb in driver] or [clip.height]))
    middle = places[:, [R_ANKLE, L_ANKLE]].mean(1) if anchor == "feet" else places[:, ANCHORS[anchor]]
    sizes = sizes_over_time(joints, driver)
    start = frames_at_start(middle, sizes, height)
    change = 1.0
    if start.stop < len(places):
        notes.append(f"the driver leaves its place or comes nearer at frame {start.stop}; those before are put where the reference stands")
        change = float(np.median(sizes[start]))
        change = change if abs(np.log(change)) > GROWN else 1.0
    return Fit(size / change, {limb: ratio / change for limb, ratio in ratios.items()}, anchor, place_of(places[start], anchor, height),
               place_of(completed(theirs), anchor, height * size), notes)


# ------------------------------------------------------------------------------------------------------------------ rebuilding


def rebuilt(points: Array, fit: Fit) -> Array:
    """The driver's frames `[F, 134, 3]` on the reference's body: places `[F, 134, 2]` for every point, missing ones too."""
    places = completed(joints_of(points))
    out = np.zeros_like(places)
    ratios = fit.ratios

    def carried(joint: int) -> Array:
        return fit.target + fit.size * (places[:, joint] - fit.place)

    def hang(joint: int, parent: int, limb: str) -> Array:
        return out[:, parent] + ratios[limb] * (places[:, joint] - places[:, parent])

    def place(joint: int, where: Array) -> None:
        out[:, joint] = where

    if fit.anchor == "feet":
        # crouching goes by the legs' length, stepping, walking and jumping by the body's
        place(ROOT, carried(ROOT))
        low = lowest_ankle(places)
        out[:, ROOT, 1] = fit.target[1] + fit.size * (low - fit.place[1]) - ratios["legs"] * (low - places[:, ROOT, 1])
    elif fit.anchor == "hips":
        place(ROOT, carried(ROOT))
    else:
        place(NECK, carried(NECK))
        if fit.anchor == "head":
            place(NECK, carried(NOSE) + ratios["neck"] * (places[:, NECK] - places[:, NOSE]))
        place(ROOT, hang(ROOT, NECK, "torso"))
    if fit.anchor in ("feet", "hips"):
        place(NECK, hang(NECK, ROOT, "torso"))
    place(NOSE, hang(NOSE, NECK, "neck"))
    for joint in (R_EYE, L_EYE, R_EAR, L_EAR):
        place(joint, hang(joint, NOSE, "face"))
    for shoulder, elbow, wrist, hip, knee, ankle in SIDES:
        place(shoulder, hang(shoulder, NECK, "shoulders"))
        place(elbow, hang(elbow, shoulder, "upper arms"))
        place(wrist, hang(wrist, elbow, "forearms"))
        place(hip, hang(hip, ROOT, "hips"))
        place(knee, hang(knee, hip, "thighs"))
        if fit.anchor == "feet":
            # the same shift in every frame: a foot that stands in the driver's clip stands here
            place(ankle, carried(ankle))
            out[:, ankle, 0] += (ratios["hips"] - fit.size) * np.median(places[:, hip, 0] - places[:, ROOT, 0])
            # from the hip and from the foot the knee comes out at two places, near each other
            place(knee, (out[:, knee] + hang(knee, ankle, "shins")) / 2)
        else:
            place(ankle, hang(ankle, knee, "shins"))

    whole = np.zeros((len(points), points.shape[1], 2))
    whole[:, BODY] = out[:, :ROOT]
    for part, joint, limb in ((slice(FEET.start, FEET.start + 3), L_ANKLE, "shins"), (slice(FEET.start + 3, FEET.stop), R_ANKLE, "shins"),
                              (FACE, NOSE, "face"), (LEFT_HAND, L_WRIST, "forearms"), (RIGHT_HAND, R_WRIST, "forearms")):
        whole[:, part] = out[:, None, joint] + ratios[limb] * (points[:, part, :2] - places[:, None, joint])
    return whole


def contained(clip: PoseClip, reference: PoseClip) -> float:
    """The largest scale at which the clip's canvas fits into the reference's."""
    return min(reference.width / clip.width, reference.height / clip.height)


def usable_frame(reference: PoseClip) -> PoseClip:
    """The first frame that shows somebody. Raises PoseError."""
    seen = (reference.scores > SCORE_THRESHOLD).any((-1, -2))
    if not seen.any():
        raise PoseError("the reference's pose shows nobody; a picture on which a pose detector finds the person is wanted, or mode 'none'")
    return reference.of(reference.points[int(seen.argmax()):][:1])


def retarget_with_report(clip: PoseClip, reference: PoseClip, mode: str = "full",
                         settings: RetargetSettings | None = None) -> tuple[PoseClip, str]:
    """`retarget`, and in words what it went by."""
    settings = settings or RetargetSettings()
    if mode not in MODES:
        raise PoseError(f"mode: {mode!r} is unknown; there are: {', '.join(MODES)}")
    for who, one in (("driver's clip", clip), ("reference", reference)):
        if one.points.shape[1] != 1:
            raise PoseError(f"the {who} has {one.points.shape[1]} people; choose one of them first")
    fitting = contained(clip, reference)
    points = clip.person(0).astype(float)
    if mode == "none":
        middle = np.array([clip.width, clip.height]) / 2, np.array([reference.width, reference.height]) / 2
        return moved(clip, reference, middle[1] + fitting * (points[..., :2] - middle[0])), f"scaled by {fitting:.3f} to the canvas"
    if not (clip.scores > SCORE_THRESHOLD).any():
        raise PoseError(f"none of the {len(clip)} frames of the driver's clip shows anybody; a clip in which a pose detector finds the "
                        "person is wanted")
    reference = usable_frame(reference)
    if mode == "pose_align":
        return pose_align(clip, reference, settings.align_frame), f"MusePose's pose_align by frame {settings.align_frame}"
    how = fit(clip, reference, settings)
    if mode == "full":
        return moved(clip, reference, rebuilt(points, how)), how.report()
    size = how.size if mode == "scale only" else fitting
    return moved(clip, reference, how.target + size * (points[..., :2] - how.place)), \
        "\n".join([f"size: {size:.3f} of the driver's, placed by the {how.anchor}", *how.notes])


def moved(clip: PoseClip, reference: PoseClip, places: Array) -> PoseClip:
    """The clip's scores at new places `[F, 134, 2]`, on the reference's canvas."""
    places = places.clip(-LARGEST, LARGEST)
    return reference.of(np.concatenate([places, clip.scores[:, 0, :, None]], axis=-1))


def retarget(clip: PoseClip, reference: PoseClip, mode: str = "full", settings: RetargetSettings | None = None) -> PoseClip:
    """A driver's motion on a reference's body, at its place, on its canvas.

    clip: one person over F frames. reference: one person; of several frames the first that shows somebody. mode: one of MODES: `full`,
    `scale only` (a single scale and shift), `offset only` (a shift, after what fits the canvas into the other), `none` (the canvas alone is
    changed: uniformly, the middle stays), `pose_align` (MusePose's, docs/method.md H.6; drops the frames before `align_frame`).
    Missing points stay missing, scores are kept. Raises PoseError for several people, nobody in the clip or the reference, nothing in
    common between them, an unknown mode.
    """
    return retarget_with_report(clip, reference, mode, settings)[0]
