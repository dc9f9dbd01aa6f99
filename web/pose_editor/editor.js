// The editor in the node: buttons, canvas, frames; ties edits, view and pointers together. Knows nothing of ComfyUI.

import {
  Incoming, editsText, keyAt, noEdits, onCanvas, parseEdits, poseAt, withHidden, withKey, withPoints, withoutJoint, withoutKey,
} from "./edits.js";
import { findFigure } from "./fit.js";
import { History } from "./history.js";
import { Pointers } from "./pointer.js";
import { JOINTS, chainOf, mirrored, standing, swapped } from "./skeleton.js";
import { View } from "./view.js";

const HEIGHT = 0.86; // of the canvas, for a figure that is not fitted to anything
const MODES = { joint: "Joint", limb: "Limb", figure: "Figure" };
const HINT = "Drag a joint. Shift: the whole limb. Wheel after a click: zoom.";
const NOBODY = "No pose yet. Fit figure places a standing body; then drag its joints.";

const TIPS = {
  undo: "Undo (Ctrl+Z)",
  redo: "Redo (Ctrl+Shift+Z)",
  joint: "Dragging moves one joint",
  limb: "Dragging moves the joint and everything attached to it: from the shoulder, the whole arm (same as Shift)",
  figure: "Dragging moves the whole figure; the corners scale it",
  fit: "Place a standing body on the figure in the image, or in the middle. For images that detectors cannot read",
  hide: "Hide the selected joint, or show it again (Delete)",
  mirror: "Copy the selected arm, leg or half of the face to the other side, mirrored",
  swap: "Exchange left and right",
  resetJoint: "Remove the edits of the selected joint",
  resetAll: "Remove all edits in all frames (Undo restores them)",
  zoomOut: "Zoom out",
  zoomIn: "Zoom in (also by wheel after a click on the image, or two fingers)",
  zoomAll: "Show the whole image",
  previous: "Go to the previous key frame",
  next: "Go to the next key frame",
  addKey: "Make this frame a key frame. Every edit does so; between key frames edits are interpolated",
  removeKey: "Remove this frame's key and its edits",
};

function element(tag, name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

export class PoseEditor {
  /** onChange(text): the widget has a new value. */
  constructor(onChange) {
    this.onChange = onChange;
    this.text = "";
    this.problem = "";
    this.note = "";
    this.edits = noEdits(512, 768);
    this.incoming = new Incoming(512, 768, [], 1);
    this.pictureOf = () => null;
    this.locked = "";
    this.frame = 0;
    this.mode = "joint";
    this.selected = this.hovered = null;
    this.history = new History("");
    this.build();
    this.view = new View(this.canvas);
    new Pointers(this);
    this.refresh();
  }

  build() {
    const button = (name, label, act) => {
      const made = element("button", "mpe-button", { type: "button", textContent: label, title: TIPS[name] });
      made.dataset.action = name;
      made.addEventListener("click", () => {
        this.focus();
        act();
      });
      return (this.buttons[name] = made);
    };
    this.buttons = {};
    const modes = Object.entries(MODES).map(([mode, label]) => button(mode, label, () => {
      this.mode = mode;
      this.refresh();
    }));
    this.keys = element("input", "mpe-keys", { readOnly: true, tabIndex: -1, ariaLabel: "Pose editor" });
    this.canvas = element("canvas", "mpe-canvas");
    this.message = element("div", "mpe-message");
    this.status = element("div", "mpe-status");
    this.zoomLabel = button("zoomAll", "100%", () => this.zoom(0));
    this.slider = element("input", "mpe-slider", { type: "range", min: 0, value: 0, step: 1, ariaLabel: "Frame" });
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.ticks = element("div", "mpe-ticks");
    this.frameLabel = element("span", "mpe-frame");
    this.frames = element("div", "mpe-bar mpe-frames", {}, [
      button("previous", "\u25c2", () => this.goToKey(-1)),
      element("div", "mpe-track", {}, [this.slider, this.ticks]),
      button("next", "\u25b8", () => this.goToKey(1)),
      this.frameLabel,
      button("addKey", "Add key", () => this.edit(withKey(this.edits, this.incoming, this.frame))),
      button("removeKey", "Remove key", () => this.edit(withoutKey(this.edits, this.frame))),
    ]);
    this.element = element("div", "mpe", {}, [
      this.keys,
      element("div", "mpe-bar", {}, [
        button("undo", "Undo", () => this.step(-1)),
        button("redo", "Redo", () => this.step(1)),
        element("span", "mpe-group", {}, [element("span", "mpe-label", { textContent: "Move" }), ...modes]),
        button("fit", "Fit figure", () => this.fit()),
      ]),
      element("div", "mpe-bar", {}, [
        button("hide", "Hide joint", () => this.toggle()),
        button("resetJoint", "Reset joint", () => this.edit(withoutJoint(this.edits, this.incoming, this.frame, this.selected))),
        button("mirror", "Mirror limb", () => this.put(mirrored(this.shownPoints(), this.selected))),
        button("swap", "Swap sides", () => this.put(swapped(this.shownPoints()))),
        button("resetAll", "Reset all", () => this.resetAll()),
      ]),
      element("div", "mpe-stage", {}, [
        this.canvas,
        this.message,
        element("div", "mpe-zoom", {}, [
          button("zoomOut", "\u2212", () => this.zoom(1 / 1.5)),
          this.zoomLabel,
          button("zoomIn", "+", () => this.zoom(1.5)),
        ]),
      ]),
      this.status,
      this.frames,
    ]);
    // the page gives the wheel to a focused element with this mark
    this.element.dataset.captureWheel = "true";
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("pointerdown", (event) => event.button === 0 && event.stopPropagation());
  }

  // ------------------------------------------------------------------------------------------------- the widget's value

  get value() {
    return this.text;
  }

  set value(text) {
    text = typeof text === "string" ? text : "";
    if (text === this.text) return;
    this.load(text);
    this.history.reset(text);
    this.refresh();
  }

  load(text) {
    this.text = text;
    this.problem = "";
    try {
      this.edits = parseEdits(text) ?? noEdits(this.incoming.width, this.incoming.height);
    } catch (error) {
      this.problem = `These edits cannot be read: ${error.message}. Reset all removes them.`;
      this.edits = noEdits(this.incoming.width, this.incoming.height);
    }
    this.edits = onCanvas(this.edits, this.incoming.width, this.incoming.height);
  }

  /** incoming: an Incoming. pictureOf(frame): an image or null. locked: why nothing can be edited yet, or empty. */
  setSource({ incoming, pictureOf, locked }) {
    const another = incoming.width !== this.incoming.width || incoming.height !== this.incoming.height;
    Object.assign(this, { incoming, pictureOf, locked });
    if (another) this.load(this.text);
    this.frame = Math.min(this.frame, incoming.frames - 1);
    this.refresh();
  }

  edit(edits) {
    this.edits = edits;
    this.commit();
  }

  commit() {
    this.problem = "";
    this.note = "";
    const text = editsText(this.edits);
    this.history.push(text);
    if (text !== this.text) {
      this.text = text;
      this.onChange(text);
    }
    this.refresh();
  }

  step(by) {
    const text = this.history.step(by);
    this.note = "";
    if (text !== this.text) {
      this.load(text);
      this.onChange(text);
    }
    this.refresh();
  }

  // ------------------------------------------------------------------------------------------------------------ actions

  poseNow() {
    return poseAt(this.edits, this.incoming, this.frame);
  }

  shownPoints() {
    return this.poseNow().map((p) => (p.state === "shown" ? [p.x, p.y] : null));
  }

  put(points) {
    this.edit(withPoints(this.edits, this.incoming, this.frame, points));
  }

  /** While the pointer moves: shown, and kept when it is let go. */
  dragged(points) {
    this.before ??= this.edits;
    this.edits = withPoints(this.before, this.incoming, this.frame, points);
    this.refresh();
  }

  dropped() {
    this.before = undefined;
    this.commit();
  }

  cancelled() {
    this.edits = this.before ?? this.edits;
    this.before = undefined;
    this.refresh();
  }

  toggle() {
    const joint = this.selected;
    if (joint === null) return;
    const now = this.poseNow()[joint];
    if (now.state === "shown") this.edit(withHidden(this.edits, this.incoming, this.frame, joint, true));
    else {
      const place = this.view.places()?.[joint];
      const brought = withHidden(this.edits, this.incoming, this.frame, joint, false);
      const shows = poseAt(brought, this.incoming, this.frame)[joint].state === "shown";
      this.edit(shows ? brought : withPoints(this.edits, this.incoming, this.frame, [[joint, place]]));
    }
  }

  fit() {
    const { width, height } = this.incoming;
    const picture = this.pictureOf(this.frame);
    const found = picture && findFigure(picture, width, height);
    const tall = HEIGHT * height;
    const box = found ?? { x: width * 0.1, y: (height - tall) / 2, width: width * 0.8, height: tall };
    if (!found) {
      // arms half lifted, and the whole figure on the canvas
      const across = Math.min(width * 0.9, 0.6 * tall);
      Object.assign(box, { x: (width - across) / 2, width: across });
    }
    this.put(standing(box).map((point, joint) => [joint, point]));
    this.note = found ? "Fitted. Drag the joints, or the whole body in mode Figure."
      : "No figure found: the body is in the middle. Move it in mode Figure.";
    this.refresh();
  }

  resetAll() {
    if (this.problem) this.text = "unreadable"; // so that the empty text counts as a change
    this.edit(noEdits(this.incoming.width, this.incoming.height));
  }

  select(joint) {
    this.selected = joint;
    this.note = "";
    this.refresh();
  }

  hover(joint) {
    if (joint === this.hovered) return;
    this.hovered = joint;
    this.refresh();
  }

  zoom(factor) {
    if (factor) this.view.zoomAt(this.view.size.map((side) => side / 2), factor);
    else this.view.reset();
    this.refresh();
  }

  goTo(frame) {
    this.frame = Math.min(this.incoming.frames - 1, Math.max(0, frame));
    this.refresh();
  }

  goToKey(way) {
    const frames = this.edits.keys.map((key) => key.frame).filter((frame) => frame < this.incoming.frames);
    const to = way < 0 ? frames.findLast((frame) => frame < this.frame) : frames.find((frame) => frame > this.frame);
    this.goTo(to ?? (way < 0 ? 0 : this.incoming.frames - 1));
  }

  // ----------------------------------------------------------------------------------------------------------- keyboard

  get focused() {
    return this.element.contains(document.activeElement);
  }

  /** Keys come here and not to the page, whose Undo would go back in the whole graph: it leaves inputs alone. */
  focus() {
    this.keys.focus({ preventScroll: true });
  }

  key(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const arrow = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key];
    if (command && key === "z") this.step(event.shiftKey ? 1 : -1);
    else if (command && key === "y") this.step(1);
    else if (command || this.locked) return;
    else if (key === "delete" || key === "backspace") this.toggle();
    else if (key === "escape") this.select(null);
    else if (arrow && event.target !== this.slider) this.nudge(arrow, event.shiftKey ? 10 : 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The selected joint by pixels; without one, left and right change the frame. */
  nudge([dx, dy], by) {
    if (this.selected === null) return this.goTo(this.frame + dx);
    const place = this.view.places()?.[this.selected];
    if (place) this.put([[this.selected, [place[0] + dx * by, place[1] + dy * by]]]);
  }

  // ------------------------------------------------------------------------------------------------------------ showing

  /** Draws again if the element's size has changed. */
  check() {
    if (this.view.stale) this.refresh();
  }

  refresh() {
    if (!this.view) return;
    const { incoming, frame, selected } = this;
    const pose = this.poseNow();
    const shown = pose.filter((p) => p.state === "shown");
    const locked = Boolean(this.locked);
    const box = this.mode === "figure" && shown.length > 1 && !locked ? boxOf(shown) : null;
    this.view.show({
      width: incoming.width, height: incoming.height, picture: this.pictureOf(frame), pose: locked ? [] : pose,
      selected: locked ? null : selected, hovered: this.hovered, box,
    });
    const somebody = !locked && this.view.places() !== null;
    const kept = locked && this.text ? " Your edits are kept." : "";
    this.message.textContent = this.problem || (locked && this.locked + kept) || (somebody ? "" : NOBODY);
    this.message.hidden = !this.message.textContent;
    this.status.title = this.status.textContent = this.describe(pose, locked) || "\u00a0";
    this.canvas.style.cursor = this.hovered !== null ? "grab" : this.view.zoom > 1 ? "move" : "default";
    this.zoomLabel.textContent = `${Math.round(this.view.zoom * 100)}%`;
    this.refreshButtons(pose, locked, somebody);
    this.refreshFrames();
  }

  describe(pose, locked) {
    if (this.note) return this.note;
    if (this.selected !== null && !locked) {
      const { state, edited } = pose[this.selected];
      const what = { missing: "not seen; drag or show it", hidden: "hidden", shown: edited ? "edited" : "not edited" };
      const everywhere = edited && this.incoming.frames > 1 && this.edits.keys.length === 1 ? " in every frame (one key frame)" : "";
      return `${JOINTS[this.selected]}: ${what[state]}${everywhere}`;
    }
    return locked ? "" : HINT;
  }

  refreshButtons(pose, locked, somebody) {
    const { buttons, selected } = this;
    const enable = (name, yes) => (buttons[name].disabled = !yes);
    const joint = selected !== null && somebody && !locked;
    for (const mode of Object.keys(MODES)) buttons[mode].setAttribute("aria-pressed", String(mode === this.mode));
    enable("undo", this.history.canUndo);
    enable("redo", this.history.canRedo);
    enable("fit", !locked);
    enable("hide", joint);
    buttons.hide.textContent = joint && pose[selected].state !== "shown" ? "Show joint" : "Hide joint";
    enable("resetJoint", joint && pose[selected].edited);
    enable("mirror", joint && chainOf(selected) !== null && pose[selected].state === "shown");
    enable("swap", somebody && !locked);
    enable("resetAll", this.text !== "");
    enable("zoomOut", this.view.zoom > 1);
    enable("addKey", !locked && !keyAt(this.edits, this.frame));
    enable("removeKey", !locked && keyAt(this.edits, this.frame));
  }

  refreshFrames() {
    const { frames } = this.incoming;
    const keys = this.edits.keys.map((key) => key.frame).filter((frame) => frame < frames);
    this.frames.hidden = frames === 1 && keys.length < 2;
    this.slider.max = frames - 1;
    this.slider.value = this.frame;
    this.frameLabel.textContent = `${this.frame} / ${frames - 1}`;
    this.frameLabel.title = `Frames are counted from 0. Key frames: ${keys.join(", ") || "none yet"}`;
    this.ticks.replaceChildren(...keys.map((frame) => {
      const tick = element("span", frame === this.frame ? "mpe-tick mpe-here" : "mpe-tick");
      tick.style.left = `${(frame / Math.max(1, frames - 1)) * 100}%`;
      return tick;
    }));
  }
}

function boxOf(points) {
  const [xs, ys] = [points.map((p) => p.x), points.map((p) => p.y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  const margin = 0.04 * Math.max(Math.max(...xs) - x, Math.max(...ys) - y);
  return { x: x - margin, y: y - margin, width: Math.max(...xs) - x + 2 * margin, height: Math.max(...ys) - y + 2 * margin };
}
