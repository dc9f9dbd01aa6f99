// Mouse, pen and fingers on the editor's canvas: drags joints, limbs or the figure; pans and zooms.

import { branch, distance } from "./skeleton.js";
import { oppositeCorner } from "./view.js";

const WHEEL = 0.0015;
const CLICK = 3; // a press that moves less, in pixels of the screen, is no drag

export class Pointers {
  /** editor: gives view, mode, poseNow(), and takes select, hover, dragged([[joint, [x, y]], ...]), dropped. */
  constructor(editor) {
    this.editor = editor;
    this.view = editor.view;
    this.down = new Map(); // id -> place
    this.drag = null;
    const canvas = this.view.canvas;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.release(event));
    canvas.addEventListener("pointerleave", () => this.editor.hover(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    // a press would take the focus from the editor's keys
    canvas.addEventListener("mousedown", (event) => event.button === 0 && event.preventDefault());
    for (const kind of ["contextmenu", "dblclick"]) {
      canvas.addEventListener(kind, (event) => {
        event.preventDefault();
        event.stopPropagation();
      });
    }
  }

  press(event) {
    if (event.button !== 0) return; // the middle button moves the graph
    event.stopPropagation();
    this.editor.focus();
    const place = this.view.at(event);
    this.down.set(event.pointerId, place);
    this.view.canvas.setPointerCapture(event.pointerId);
    if (this.down.size === 2) {
      this.cancelDrag(); // a second finger: zoom instead
      return;
    }
    if (this.down.size === 1) this.drag = this.begin(event, place);
  }

  begin(event, place) {
    const finger = event.pointerType === "touch";
    const pan = { kind: "pan", last: place };
    if (this.editor.locked) return pan;
    const corner = this.view.cornerAt(place, finger);
    const pose = this.editor.poseNow();
    const shown = pose.map((p, joint) => [joint, [p.x, p.y]]).filter(([joint]) => pose[joint].state === "shown");
    if (corner !== null) {
      const { box } = this.view.content;
      return { kind: "scale", fixed: oppositeCorner(box, corner), start: this.view.toPose(place), points: shown };
    }
    const joint = this.view.jointAt(place, finger);
    this.editor.select(joint);
    if (joint === null && !this.insideBox(place)) return pan;
    const mode = this.editor.mode === "joint" && event.shiftKey ? "limb" : this.editor.mode;
    if (joint === null && mode !== "figure") return pan;
    const own = mode === "joint" ? [joint] : mode === "limb" ? branch(joint) : pose.map((_, i) => i);
    const places = this.view.places();
    // what is taken hold of comes along even if it is hidden or missing; of the others, what is shown
    const points = own.filter((i) => i === joint || pose[i].state === "shown").map((i) => [i, places[i]]);
    return { kind: "move", start: this.view.toPose(place), pressed: place, points, moved: false };
  }

  insideBox(place) {
    const { box } = this.view.content;
    const [x, y] = this.view.toPose(place);
    return box && x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height;
  }

  move(event) {
    const place = this.view.at(event);
    const last = this.down.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") this.editor.hover(this.editor.locked ? null : this.view.jointAt(place, false));
      return;
    }
    event.stopPropagation();
    this.down.set(event.pointerId, place);
    if (this.down.size === 2) {
      this.pinch(event.pointerId, last, place);
      return;
    }
    const { drag } = this;
    if (!drag) return;
    const here = this.view.toPose(place);
    if (drag.kind === "pan") {
      this.view.panBy(place[0] - drag.last[0], place[1] - drag.last[1]);
      drag.last = place;
    } else if (drag.kind === "scale") {
      const factor = Math.max(0.05, distance(here, drag.fixed) / Math.max(1e-6, distance(drag.start, drag.fixed)));
      this.editor.dragged(drag.points.map(([joint, p]) => [joint, [0, 1].map((k) => drag.fixed[k] + factor * (p[k] - drag.fixed[k]))]));
    } else if (drag.moved || distance(place, drag.pressed) >= CLICK) {
      drag.moved = true;
      this.editor.dragged(drag.points.map(([joint, p]) => [joint, [0, 1].map((k) => p[k] + here[k] - drag.start[k])]));
    }
  }

  /** Two fingers: their middle pans, their distance zooms. */
  pinch(id, last, place) {
    const [, other] = [...this.down].find(([key]) => key !== id);
    const factor = distance(place, other) / Math.max(1, distance(last, other));
    this.view.zoomAt([(place[0] + other[0]) / 2, (place[1] + other[1]) / 2], factor);
    this.view.panBy((place[0] - last[0]) / 2, (place[1] - last[1]) / 2);
    this.editor.refresh();
  }

  release(event) {
    if (!this.down.delete(event.pointerId)) return;
    event.stopPropagation();
    if (event.type === "pointercancel") this.cancelDrag();
    else if (this.drag && this.drag.kind !== "pan") this.editor.dropped();
    this.drag = null;
  }

  cancelDrag() {
    if (this.drag && this.drag.kind !== "pan") this.editor.cancelled();
    this.drag = null;
  }

  wheel(event) {
    // as the page's other widgets: the wheel zooms the graph until the editor was clicked
    if (!this.editor.focused || event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.view.zoomAt(this.view.at(event), Math.exp(-event.deltaY * WHEEL));
    this.editor.refresh();
  }
}
