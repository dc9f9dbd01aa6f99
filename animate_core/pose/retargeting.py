"""A driver's motion on the body of a reference: limbs in the reference's proportions, feet on its ground, at its place.

A child joint lies where its parent is now, plus the driver's way from parent to child
times the limb's ratio: turns, foreshortening and a walk towards the camera stay in the motion. The legs hang between the hips and feet
that keep the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .keypoints import BODY, FACE, FEET, L_WRIST, LARGEST, LEFT_HAND, NECK, NOSE, R_WRIST, RIGHT_HAND, Array, PoseClip, PoseError
from .pose_align import pose_align
from .proportions import ADULT, ANKLES, HEAD, LIMBS, ROOT, SIDES, completed, joints_of, limb_ratios, measure_both, well_seen

MODES = ("full", "scale only", "offset only", "none", "pose_align")

ANCHORS = {"hips": ROOT, "neck": NECK, "head": NOSE}  # what holds the body in its place where there are no feet: the first that both have
MOSTLY = 0.5  # share of the frames in which an anchor must be seen: false points are rarer, and so are feet at a half body's edge
START = 0.1  # seconds that tell where the clip begins: a walker is still there
LEFT_PLACE = 0.3  # body heights from where the clip began: the driver walks about; less is dancing on the spot
GROWN = 0.2  # part of the size by which it changes when the driver comes nearer; less may be limbs that turn away together
STRAIGHT = 0.75  # share of a course's variance by which it is a way, not a sway: of who leaves its place
STRAIGHTER = 0.9  # the same of a whole clip in which nobody leaves: some seconds of a slow sway are straight by 0.8
AWAY = 0.8  # seconds that it is away: longer than a step aside and back
ALIKE, VOTES = 0.05, 50  # of a pose's extent by which it is off the reference's, and still much like it; such a frame's votes on the place
SAME = 0.05  # of a pose's extent, or 1.5 % of a body's height, by which a detector may err in one and the same picture
NEAR = 0.08  # body heights: still where the clip began, as far as anybody who stands sways


@dataclass(frozen=True)
class RetargetSettings:
    """strength: 0..1, from the whole body's scale for every limb to each limb's own. keep_feet: legs between hips and feet that keep the
    ground; else they hang from the hips. align_frame: for mode `pose_align`. fps: frames per second of the driver's clip."""

    strength: float = 1.0
    keep_feet: bool = True
    align_frame: int = 0
    fps: float = 24.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise PoseError(f"strength must be between 0 and 1; got {self.strength}")
        if self.align_frame < 0:
            raise PoseError(f"align_frame must be 0 or more; got {self.align_frame}")
        if not (self.fps > 0 and np.isfinite(self.fps)):
            raise PoseError(f"fps must be above 0, the frame rate of the video; got {self.fps}")


@dataclass(frozen=True)
class Fit:
    """How a driver goes over to a reference: size (the whole body's ratio), ratios by limb, `face` and `legs` (thigh and shin together),
    the places that fall on each other (pixels of the own canvas), by which point, how large the driver is in each frame `[F]` (1 where
    the clip begins), and what there is to say."""

    size: float
    ratios: dict[str, float]
    anchor: str
    place: Array
    target: Array
    sizes: Array
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        parts = ", ".join(f"{name} {ratio / self.size:.2f}" for name, ratio in self.ratios.items() if name != "legs")
        return "\n".join([f"size: {self.size:.3f} of the driving video's, placed by the {self.anchor}",
                          f"limbs relative to the body: {parts}", *self.notes])


# ------------------------------------------------------------------------------------------------------------------ places


def anchor_path(places: Array, anchor: str) -> Array:
    """`[F, 19, 2]` -> `[F, 2]`: where somebody stands in each frame. `feet`: below the hips' middle, at the height of the lower ankle."""
    if anchor != "feet":
        return places[:, ANCHORS[anchor]]
    return np.stack([places[:, ROOT, 0], places[:, ANKLES, 1].max(-1)], axis=-1)


def standing_place(places: Array, anchor: str) -> Array:
    """`[1, 19, 2]` -> `[2]`: where the reference stands. `feet`: between the hips' middle and the middle of the ankles, of which, in a
    single frame, one sways and the other stands wide."""
    place = anchor_path(places, anchor)[0]
    return np.array([places[0, [ROOT, ROOT, *ANKLES], 0].mean(), place[1]]) if anchor == "feet" else place


def unlikeness(joints: Array, reference: Array) -> Array:
    """`[F]`: how far each frame's pose `[F, 18, 3]` is from the reference's `[18, 3]` at the best scale and place, in parts of its extent:
    the root of 1 - r^2, r being the correlation of the joints that both show; 1 where these are less than half of the reference's."""
    both = (well_seen(joints) & well_seen(reference))[..., None]
    count = both.sum(1, keepdims=True)
    mine, theirs = (np.where(both, a - (both * a).sum(1, keepdims=True) / count.clip(1), 0) for a in (joints[..., :2], reference[:, :2]))
    common = (mine * theirs).sum((1, 2)) ** 2 / ((mine**2).sum((1, 2)) * (theirs**2).sum((1, 2))).clip(1e-9)
    return np.where(count[:, 0, 0] >= well_seen(reference).sum() / 2, np.sqrt((1 - common).clip(0)), 1)


def same_frame(joints: Array, reference: Array) -> int | None:
    """The frame `[F, 18, 3]` that has all the reference's `[18, 3]` joints where it has them: the reference was taken from there."""
    seen = well_seen(reference)
    away = np.linalg.norm(joints[:, seen, :2] - reference[seen, :2], axis=-1)
    off = np.where(well_seen(joints)[:, seen], away, np.inf).max(-1, initial=0)
    same = off < SAME * np.sqrt(reference[seen, :2].var(0).sum()) if seen.sum() > 2 else np.zeros(1, bool)
    return int(off.argmin()) if same.any() else None


def as_at_start(path: Array, sizes: Array, middle: float) -> Array:
    """path `[F, 2]` without what a change of size alone (`[F]`, 1 at the start) does to it, be it a zoom or a walk to the camera: sideways
    it goes away from the picture's `middle`; up or down, where the camera may tilt, as a straight line through all frames has it."""
    spread = sizes - sizes.mean()
    slope = (spread * path[:, 1]).sum() / (spread**2).sum()
    return np.stack([middle + (path[:, 0] - middle) / sizes, path[:, 1] - slope * (sizes - 1)], axis=-1)


def frames_at_start(path: Array, height: float, first: int, lasting: int) -> int:
    """How many frames the driver is at the place where the clip began before it leaves; 0 if it stays. path `[F, 2]` and height of the body
    in pixels; first: how many frames tell where the clip begins; lasting: how many it must be away, or to the end."""
    away = np.linalg.norm(path - np.median(path[:first], axis=0), axis=-1) / height
    gone = np.array([(away[frame:frame + lasting] > LEFT_PLACE).all() for frame in range(len(away))])
    return max(first, int(np.flatnonzero(away[:gone.argmax()] < NEAR)[-1:].sum()) + 1) if gone.any() else 0


def at_first(values: Array, straight: float = STRAIGHT, votes: Array | None = None) -> Array:
    """`[n, m]` -> `[m]`: the value at the first of n frames: their median, or the beginning of a straight line where that is their
    course by more than `straight` of its variance. votes `[n]`: how many times a frame counts in that median."""
    time = np.arange(len(values))[:, None] - (len(values) - 1) / 2
    slope = (time * values).sum(0) / max(1e-9, float((time**2).sum()))
    explained = slope**2 * (time**2).mean() / values.var(0).clip(1e-9)
    began = values - np.where(explained > straight, slope, 0) * (time - time[0])
    return np.asarray(np.median(began if votes is None else np.repeat(began, votes, axis=0), axis=0))


def fit(clip: PoseClip, reference: PoseClip, settings: RetargetSettings) -> Fit:
    """How a driver's clip goes over to a reference; one frame, one person. Raises PoseError if there is nothing to go by."""
    joints, theirs = joints_of(clip.person(0)), joints_of(reference.person(0))
    notes: list[str] = []
    driver, lengths, sizes = measure_both(joints, theirs, settings.fps, notes)
    first, second = (max(3, round(seconds * settings.fps)) for seconds in (START, 1))  # of three, one may be wrong
    # the size at the beginning: from its first second, as long as it hardly changes
    still = np.abs(np.log(sizes / np.median(sizes[:first])))[:second] < GROWN / 3
    began = float(np.exp(at_first(np.log(sizes[:second if still.all() else max(first, int(still.argmin())), None]))[0]))
    now, grows = sizes / began, np.ptp(np.log(sizes)) > GROWN
    mine, other = well_seen(joints), well_seen(theirs)[0]
    early = mine[mine.any(-1) & (np.abs(np.log(now)) < GROWN if grows else True)]
    ever = np.asarray(mine.any(axis=0))
    often = np.asarray(early.mean(axis=0) > MOSTLY) if len(early) else ever
    stand = settings.keep_feet and often[ROOT] and other[ROOT] and (often & other)[ANKLES].any()
    anchor = "feet" if stand else next((a for seen in (often, ever) for a, j in ANCHORS.items() if seen[j] and other[j]), None)
    if anchor is None:
        raise PoseError("the driving video and the reference have neither hips, neck nor head in common, so the position cannot be "
                        "matched; use a reference that shows more of the body, or mode 'none'")
    target, shown = standing_place(completed(theirs, np.ones(1)), anchor), now if grows else np.ones(len(now))
    size = contained(clip, reference)
    canvas = joints[:, BODY] * (size, size, 1)
    canvas[..., :2] += middle_of(reference) - size * middle_of(clip)
    if (same := same_frame(canvas, theirs[0, BODY])) is not None:
        notes.append(f"the reference equals frame {same} of the driving video: only the canvas changes")
        place = middle_of(clip) + (target - middle_of(reference)) / size
        return Fit(size, dict.fromkeys((*LIMBS, "face", "legs"), size), anchor, place, target, shown, notes)
    height = float(np.median([driver[limb] / ADULT[limb] for limb in ADULT if limb in driver] or [clip.height]))
    path = anchor_path(completed(joints, sizes), anchor)
    path = as_at_start(path, now, clip.width / 2) if grows else path
    left = frames_at_start(path, height, first, max(1, round(AWAY * settings.fps)))
    if left:
        notes.append(f"the person in the driving video leaves the starting position at frame {left}; the start is placed at the reference")
    if grows:
        notes.append(f"the size in the driving video changes ({now.min():.2f} to {now.max():.2f} of that at the start); the start gets the "
                     "size of the reference")
    votes = None
    if anchor == "feet" and not grows:  # a foot that steps towards the camera is lower in the picture: like poses tell where the ground is
        votes = (1 + VOTES / (1 + (unlikeness(joints[:, BODY], theirs[0, BODY]) / ALIKE) ** 4)).astype(int)
    place = at_first(path[:left]) if left else at_first(path, STRAIGHTER, votes)
    if grows and not left:  # the further from its first size, the less a straight line has the ground
        place[1] = np.median(path[np.abs(np.log(now)) <= max(GROWN / 2, np.abs(np.log(now)).min()), 1])
    travels = left or np.linalg.norm(place - np.median(path, axis=0)) > NEAR * height
    if travels or grows:
        driver = {limb: length * began for limb, length in driver.items()}
    size, ratios = limb_ratios(driver, lengths, settings.strength, contained(clip, reference), notes)
    return Fit(size, ratios, anchor, place, target, shown, notes)


# ------------------------------------------------------------------------------------------------------------------ rebuilding


def rebuilt(points: Array, fit: Fit) -> Array:
    """The driver's frames `[F, 134, 3]` on the reference's body: places `[F, 134, 2]` for every point, missing ones too."""
    places = completed(joints_of(points), fit.sizes)
    out = np.zeros_like(places)
    ratios = fit.ratios

    def carried(joint: int) -> Array:
        return fit.target + fit.size * (places[:, joint] - fit.place)

    def hang(joint: int, parent: int, limb: str) -> Array:
        return out[:, parent] + ratios[limb] * (places[:, joint] - places[:, parent])

    if fit.anchor == "feet":
        # crouching goes by the legs' length, stepping, walking and jumping by the body's
        out[:, ROOT] = carried(ROOT)
        low = places[:, ANKLES, 1].max(-1)
        out[:, ROOT, 1] = fit.target[1] + fit.size * (low - fit.place[1]) - ratios["legs"] * (low - places[:, ROOT, 1])
    elif fit.anchor == "hips":
        out[:, ROOT] = carried(ROOT)
    else:
        out[:, NECK] = carried(NECK)
        if fit.anchor == "head":
            out[:, NECK] = carried(NOSE) + ratios["neck"] * (places[:, NECK] - places[:, NOSE])
        out[:, ROOT] = hang(ROOT, NECK, "torso")
    if fit.anchor in ("feet", "hips"):
        out[:, NECK] = hang(NECK, ROOT, "torso")
    out[:, NOSE] = hang(NOSE, NECK, "neck")
    for joint in HEAD:
        out[:, joint] = hang(joint, NOSE, "face")
    for shoulder, elbow, wrist, hip, knee, ankle in SIDES:
        out[:, shoulder] = hang(shoulder, NECK, "shoulders")
        out[:, elbow] = hang(elbow, shoulder, "upper arms")
        out[:, wrist] = hang(wrist, elbow, "forearms")
        out[:, hip] = hang(hip, ROOT, "hips")
        out[:, knee] = hang(knee, hip, "thighs")
        if fit.anchor == "feet":
            # the same shift in every frame: a foot that stands in the driver's clip stands here
            out[:, ankle] = carried(ankle)
            out[:, ankle, 0] += (ratios["hips"] - fit.size) * fit.sizes * np.median((places[:, hip, 0] - places[:, ROOT, 0]) / fit.sizes)
            # from the hip and from the foot the knee comes out at two places, near each other
            out[:, knee] = (out[:, knee] + hang(knee, ankle, "shins")) / 2
        else:
            out[:, ankle] = hang(ankle, knee, "shins")

    whole = np.zeros((len(points), points.shape[1], 2))
    whole[:, BODY] = out[:, :ROOT]
    middle, (right, left) = FEET.start + 3, ANKLES
    for part, joint, limb in ((slice(FEET.start, middle), left, "shins"), (slice(middle, FEET.stop), right, "shins"),
                              (FACE, NOSE, "face"), (LEFT_HAND, L_WRIST, "forearms"), (RIGHT_HAND, R_WRIST, "forearms")):
        whole[:, part] = out[:, None, joint] + ratios[limb] * (points[:, part, :2] - places[:, None, joint])
    return whole


def contained(clip: PoseClip, reference: PoseClip) -> float:
    """The largest scale at which the clip's canvas fits into the reference's."""
    return min(reference.width / clip.width, reference.height / clip.height)


def middle_of(clip: PoseClip) -> Array:
    return np.array([clip.width, clip.height]) / 2


def usable_frame(reference: PoseClip) -> PoseClip:
    """The first frame that shows somebody. Raises PoseError."""
    seen = well_seen(reference.points).any((-1, -2))
    if not seen.any():
        raise PoseError("no person in the reference pose; use an image in which the pose detector finds the person, or mode 'none'")
    return reference.of(reference.points[int(seen.argmax()):][:1])


def retarget_with_report(clip: PoseClip, reference: PoseClip, mode: str = "full",
                         settings: RetargetSettings | None = None) -> tuple[PoseClip, str]:
    """`retarget`, with a report of what was measured and assumed."""
    settings = settings or RetargetSettings()
    if mode not in MODES:
        raise PoseError(f"mode: {mode!r} is unknown; choose from: {', '.join(MODES)}")
    for who, one in (("driving video", clip), ("reference", reference)):
        if one.points.shape[1] != 1:
            raise PoseError(f"the {who} has {one.points.shape[1]} people; choose one of them first")
    fitting = contained(clip, reference)
    points = clip.person(0).astype(float)
    if mode == "none":
        return (moved(clip, reference, middle_of(reference) + fitting * (points[..., :2] - middle_of(clip))),
                f"scaled by {fitting:.3f} to the canvas")
    if not well_seen(clip.points).any():
        raise PoseError(f"no person in any of the {len(clip)} frames of the driving video; use a video in which the pose detector finds "
                        "the person")
    reference = usable_frame(reference)
    if mode == "pose_align":
        return pose_align(clip, reference, settings.align_frame), f"MusePose's pose_align, frame {settings.align_frame}"
    how = fit(clip, reference, settings)
    if mode == "full":
        return moved(clip, reference, rebuilt(points, how)), how.report()
    size = how.size if mode == "scale only" else fitting
    return moved(clip, reference, how.target + size * (points[..., :2] - how.place)), \
        "\n".join([f"size: {size:.3f} of the driving video's, placed by the {how.anchor}", *how.notes])


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
