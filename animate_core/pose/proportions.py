"""A body's proportions as a clip shows them: its limbs' lengths, its size from frame to frame, and the ratios of two bodies.

Limbs are measured over the whole clip, each against its own frame's size, near their longest, where they do not point at the camera.
"""

from __future__ import annotations

import numpy as np

from .filters import fill, running_median
from .keypoints import (
    BODY,
    FACE,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
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
)

ROOT = 18  # the middle of the hips, behind the body's points
SIDES = ((R_SHOULDER, R_ELBOW, R_WRIST, R_HIP, R_KNEE, R_ANKLE), (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE))
HEAD, ANKLES = (R_EYE, L_EYE, R_EAR, L_EAR), [R_ANKLE, L_ANKLE]
PARENTS = {ROOT: (R_HIP, L_HIP), NECK: (R_SHOULDER, L_SHOULDER, NOSE, ROOT), NOSE: (NECK,),
           **dict.fromkeys(HEAD, (NOSE,)),
           **{child: (parent,) for s, e, w, h, k, a in SIDES for child, parent in ((s, NECK), (e, s), (w, e), (h, ROOT), (k, h), (a, k))}}

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
WIDTHS = ("shoulders", "hips")  # seen in full by those alone who face the camera
LEGS = ("thighs", "shins")
# Where a ratio cannot be told, those that may stand for it; then the whole body's
STANDS_FOR = {"upper arms": "forearms", "forearms": "upper arms", "thighs": "shins", "shins": "thighs", "hips": "shoulders",
              "shoulders": "hips", "neck": "face", "face": "neck"}
# Adults' limbs in body heights (Drillis and Contini; widths between the joints' centres), and the part of that below which a limb of the
# reference is taken to point at the camera. Legs are let be shorter: small figures have them, and they must reach the ground.
ADULT = {"shoulders": 0.115, "torso": 0.288, "hips": 0.075, "upper arms": 0.172, "forearms": 0.146, "thighs": 0.245, "shins": 0.246}
PLAUSIBLE = {"upper arms": 0.75, "forearms": 0.75, "torso": 0.6, "shoulders": 0.6, "hips": 0.6, "thighs": 0.5, "shins": 0.5}
JOINTED = ("upper arms", "forearms", "thighs", "shins")
UNEVEN = 0.7  # of the length that its neighbour tells: a limb of the driver that is shorter points at the camera all the time

LIMIT = 2.0  # a limb's ratio is at most so many times the whole body's, and at least one part in so many; heads may be of any size
LONG = 0.75  # quantile of a limb's length over the clip: near its longest, where it does not point at the camera
OFTEN = 0.2  # share of the frames in which a limb must be seen to be measured: less may be a detector's mistake
CALM, SLOW = 0.1, 0.25  # seconds to either side in the running medians of lengths, and of the body's size, which no arm changes
ROUNDS = 10  # of reweighting, by which least squares becomes least absolute differences
SHORTEST = 0.5  # pixels: less is no length
TURNED = 0.35  # of the distance of the ears by which the nose is beside their middle when the head is turned by 25 degrees
EYES_68, EARS_68, NOSE_TIP_68 = ((36, 42), (42, 48)), (0, 16), 30  # in the 68 face points: right, left


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
    for shoulder, hip in ((R_SHOULDER, R_HIP), (L_SHOULDER, L_HIP)):  # one hip alone: its side's shoulder tells how far the middle is
        beside = out[:, hip] + (out[:, NECK] - out[:, shoulder]) * ADULT["hips"] / ADULT["shoulders"] * (1, 0, 0)
        known = np.asarray(well_seen(out)[:, [hip, shoulder, NECK]].all(axis=-1))
        stand_in(ROOT, np.where(known[:, None], beside, 0)[:, None])
    return out


def well_seen(joints: Array) -> Array:
    return np.asarray(joints[..., 2] > SCORE_THRESHOLD)


def lengths_of(joints: Array, limb: str) -> Array:
    """`[F, pairs]` in pixels; NaN where an end is not well seen."""
    a, b = np.array(LIMBS[limb]).T
    seen = well_seen(joints)
    length = np.linalg.norm(joints[:, a, :2] - joints[:, b, :2], axis=-1)
    return np.where(seen[:, a] & seen[:, b] & (length >= SHORTEST), length, np.nan)


def facing(joints: Array) -> Array:
    """`[F]` bool: the head faces the camera: the nose is seen near the middle of the ears. All frames, where no frame tells."""
    seen = well_seen(joints)
    ears, middle = joints[:, R_EAR, :2] - joints[:, L_EAR, :2], joints[:, [R_EAR, L_EAR], :2].mean(1)
    aside = np.abs(((joints[:, NOSE, :2] - middle) * ears).sum(-1))
    found = seen[:, [NOSE, R_EAR, L_EAR]].all(-1) & (aside < TURNED * (ears**2).sum(-1))
    return found if seen[:, HEAD].any() else np.ones(len(joints), bool)


def sizes_over_time(lengths: Array) -> tuple[Array, Array]:
    """`[F]`: how large the body is in each frame, from its limbs' lengths `[F, n]` (NaN: not seen), its usual size being 1; and
    in which of them any limb tells.

    log length = log size of the frame + log length of the limb, fitted to all frames at once, by least absolute differences: a limb that is
    seen in near frames only must not pass for a long one.
    """
    known = np.isfinite(lengths)
    logs = np.log(np.where(known, lengths, 1))
    weight, limbs, sizes = known.astype(float), np.zeros(lengths.shape[1]), np.zeros(len(lengths))
    for _ in range(ROUNDS):
        total = weight.sum(1).clip(1e-9)
        matrix = np.diag(weight.sum(0)) - (weight / total[:, None]).T @ weight
        limbs = np.linalg.lstsq(matrix, (weight * (logs - (weight * logs).sum(1, keepdims=True) / total[:, None])).sum(0), rcond=1e-9)[0]
        sizes = (weight * (logs - limbs)).sum(1) / total
        weight = known / np.abs(logs - limbs - sizes[:, None]).clip(0.02)
    some = known.any(1)
    # of a frame's limbs, most are shorter than they are: the longer ones tell
    sizes[some] = np.nanquantile(np.where(known, logs - limbs, np.nan)[some], LONG, axis=-1)
    return np.exp(sizes - np.median(sizes[some])) if some.any() else np.ones(len(lengths)), some


def measure(joints: Array, fps: float) -> tuple[dict[str, float], Array]:
    """Lengths in pixels of the limbs that are seen often, at the driver's usual size, and its size `[F]` against that; each limb is
    measured against its own frame's size. Of one frame the longer of left and right counts."""
    there, front = np.asarray(well_seen(joints).any(axis=-1)), facing(joints)
    front &= front[there].mean() >= OFTEN if there.any() else False
    raw = {}
    for limb in LIMBS:
        use = front if limb in WIDTHS else np.ones_like(front)
        lengths = np.where(use[:, None], lengths_of(joints, limb), np.nan)
        known = np.isfinite(lengths)
        if known.any() and known.any(-1).sum() >= OFTEN * (there & use).sum():
            # jitter lengthens the longest: a running median takes most of it away
            raw[limb] = np.where(known, running_median(np.nan_to_num(lengths), known, round(CALM * fps)), np.nan)
    if not raw:
        return {}, np.ones(len(joints))
    sizes, known = sizes_over_time(np.concatenate([raw[limb] for limb in raw if limb in ADULT] or list(raw.values()), axis=1))
    always = np.ones((len(sizes), 1), bool)
    sizes = running_median(fill(sizes[:, None, None], known[:, None])[:, 0], always, round(SLOW * fps))[:, 0]
    level = {limb: 0.5 if limb in WIDTHS else LONG for limb in raw} if len(joints) > 1 else dict.fromkeys(raw, 1)
    return {limb: float(np.nanquantile(lengths / sizes[:, None], level[limb])) for limb, lengths in raw.items()}, sizes


def measure_both(joints: Array, reference: Array, fps: float, notes: list[str]) -> tuple[dict[str, float], dict[str, float], Array]:
    """`measure` of the driver's and the reference's joints: their limbs' lengths, those that point at the camera mended, and the driver's
    sizes `[F]`."""
    (driver, sizes), (lengths, _) = measure(joints, fps), measure(reference, fps)
    undo_foreshortening(driver, lengths, notes)
    for name, limbs in (("legs", LEGS), ("arms", ("upper arms", "forearms")), ("hips", ("hips",)), ("shoulders", ("shoulders",))):
        for who, known in (("reference", reference), ("driving video", joints)):
            if not any(np.isfinite(lengths_of(known, limb)).any() for limb in limbs):
                notes.append(f"the {who} shows no {name}")
    return driver, lengths, sizes


def completed(joints: Array, sizes: Array) -> Array:
    """`[F, 19, 2]`: places for every joint in every frame, to compute with: missing ones where they were beside the best-seen joint of the
    trunk, in units of the body's size, on a straight line in time between those seen; never seen ones where their parent is."""
    seen = joints[..., 2] > 0
    ever = np.asarray(seen.any(axis=0))
    base = max((NECK, ROOT, NOSE), key=lambda joint: int(seen[:, joint].sum()))
    origin, scale = fill(joints[:, [base], :2], seen[:, [base]]), sizes[:, None, None]
    out = np.where(seen[..., None], joints[..., :2], origin + scale * fill((joints[..., :2] - origin) / scale, seen))
    for _ in range(2):  # hips and neck may lean on each other's children
        for joint, parents in PARENTS.items():
            parent = next((p for p in parents if ever[p]), None)
            if not ever[joint] and parent is not None:
                out[:, joint], ever[joint] = out[:, parent], True
    return out


# ------------------------------------------------------------------------------------------------------------------ limb ratios


def undo_foreshortening(driver: dict[str, float], reference: dict[str, float], notes: list[str]) -> None:
    """One frame cannot tell a short limb from one that points at the camera: none of the reference's counts as shorter than its
    body allows. A driver's limb that looks much shorter than its neighbour in the whole clip is none to go by. Changes both."""
    known = [limb for limb in ADULT if limb in reference]
    if len(known) >= 3:
        height = float(np.quantile([reference[limb] / ADULT[limb] for limb in known], 0.6))
        for limb in known:
            least = PLAUSIBLE[limb] * ADULT[limb] * height
            if reference[limb] < least:
                notes.append(f"the reference's {limb} look foreshortened: {least / reference[limb]:.2f} times that length is assumed")
                reference[limb] = least
    heights = {limb: driver[limb] / ADULT[limb] for limb in ADULT if limb in driver}
    for limb in JOINTED:
        if heights.get(limb, np.inf) < UNEVEN * heights.get(STANDS_FOR[limb], 0):
            notes.append(f"the {limb} in the driving video always point at the camera and are not measured")
            del driver[limb]


def ratio_of(driver: dict[str, float], reference: dict[str, float], limbs: tuple[str, ...]) -> float | None:
    """The reference's lengths over the driver's, as far as both are known."""
    shared = [limb for limb in limbs if limb in driver and limb in reference]
    return sum(reference[limb] for limb in shared) / sum(driver[limb] for limb in shared) if shared else None


def median_ratio(driver: dict[str, float], reference: dict[str, float]) -> float | None:
    """The whole body's ratio: the median of its limbs', long ones counting more; of the head's where no other limb is known on both
    sides."""
    shared = [limb for limb in ADULT if limb in driver and limb in reference]
    if not shared:
        return ratio_of(driver, reference, ("neck",)) or ratio_of(driver, reference, FACE_LENGTHS)
    ratios, weights = np.array(sorted((reference[limb] / driver[limb], ADULT[limb]) for limb in shared)).T
    return float(np.interp(weights.sum() / 2, np.cumsum(weights) - weights / 2, ratios))


def limb_ratios(driver: dict[str, float], reference: dict[str, float], strength: float, contained: float,
                notes: list[str]) -> tuple[float, dict[str, float]]:
    """The whole body's ratio, and each limb's: own, or a neighbour's, or the whole's. contained: the canvases' ratio, the last resort."""
    size = median_ratio(driver, reference)
    if not size:
        notes.append("the driving video and the reference have no limb in common: the canvas size is used instead of the body size")
        size = contained
    own = {limb: ratio_of(driver, reference, (limb,)) for limb in LIMBS if limb not in FACE_LENGTHS}
    own["face"] = ratio_of(driver, reference, FACE_LENGTHS)
    own["legs"] = ratio_of(driver, reference, LEGS) if own["thighs"] and own["shins"] else None
    ratios, missing = {}, []
    for limb, ratio in own.items():
        if ratio is None:
            ratio = own.get(STANDS_FOR.get(limb, "")) or size
            missing.append(limb)
        limited = ratio if limb in ("neck", "face") else float(np.clip(ratio, size / LIMIT, size * LIMIT))
        if limited != ratio:
            notes.append(f"{limb}: {ratio / size:.2f} times the body's ratio is implausible; limited to {limited / size:.2f}")
        ratios[limb] = size * (limited / size) ** strength
    missing = [limb for limb in missing if limb != "legs"]
    if missing:
        notes.append(f"not comparable, scaled like their neighbours or the whole body: {', '.join(missing)}")
    return size, ratios
