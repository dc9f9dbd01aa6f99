// Edit Pose in ComfyUI's page: the editor as the node's widget, and what it shows before and after a run.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Incoming } from "./pose_editor/edits.js";
import { PoseEditor } from "./pose_editor/editor.js";

const NODE = "MarionetteEditPose";
const WIDGET = "MARIONETTE_POSE_EDITOR";
const LOADERS = ["LoadImage", "LoadImageOutput"];
const SIZE = [440, 740];
const LEAST_HEIGHT = 440; // that of style.css, and the margins
const LOOK_AGAIN = 400; // ms
const WAITING = "Run the workflow once to see the incoming poses here.";

app.registerExtension({
  name: "Marionette.EditPose",

  init() {
    const href = new URL("./pose_editor/style.css", import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
    // the page zooms the whole graph by two fingers wherever they are, before anything below it hears of them
    const keep = (event) => event.target.closest?.(".mpe-canvas") && event.stopPropagation();
    window.addEventListener("touchmove", keep, { capture: true, passive: true });
  },

  getCustomWidgets() {
    return {
      [WIDGET](node, name) {
        const editor = new PoseEditor(() => {
          widget.callback?.(editor.value);
          node.graph?.setDirtyCanvas(true, true);
          noteChange();
        });
        const widget = node.addDOMWidget(name, WIDGET, editor.element, {
          getValue: () => editor.value,
          setValue: (text) => (editor.value = text),
          getMinHeight: () => LEAST_HEIGHT,
          hideOnZoom: false,
          socketless: true,
        });
        attach(node, editor);
        return { widget, minWidth: SIZE[0], minHeight: SIZE[1] };
      },
    };
  },
});

/** Tells the page's own undo, and its mark of unsaved work, that the graph has changed. */
function noteChange() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.();
}

/** Keeps an editor up to date with what its node is connected to and with its last run. */
function attach(node, editor) {
  const pictures = new Map(); // address -> image
  let seen = "";

  function picture(address) {
    if (!address) return null;
    if (!pictures.has(address)) {
      const image = new Image();
      image.addEventListener("load", () => {
        look();
        editor.refresh();
      });
      image.src = address;
      pictures.set(address, image);
    }
    const image = pictures.get(address);
    return image.complete && image.naturalWidth ? image : null;
  }

  /** Reads the graph, and gives the editor what has changed. */
  function look() {
    if (!node.graph || !editor.element.isConnected) return;
    const run = lastRun(node);
    const source = sourceOf(node, run, picture);
    const now = JSON.stringify([source.key, source.incoming.width, source.incoming.height, source.incoming.frames, source.locked]);
    if (now !== seen) {
      seen = now;
      editor.setSource(source);
    } else editor.check();
  }

  const timer = { id: 0 };
  const start = () => (timer.id ||= setInterval(look, LOOK_AGAIN));
  chain(node, "onAdded", start);
  chain(node, "onRemoved", () => (timer.id = void clearInterval(timer.id)));
  chain(node, "onConnectionsChange", () => setTimeout(look));
  chain(node, "onExecuted", (output) => {
    if (output?.marionette_pose) node.marionettePose = output.marionette_pose[0];
    look();
  });
  start();
}

function chain(object, name, after) {
  const before = object[name];
  object[name] = function (...values) {
    const result = before?.apply(this, values);
    after.apply(this, values);
    return result;
  };
}

/** What the node's last run sent; the page keeps it with the workflow's tab. */
function lastRun(node) {
  return node.marionettePose ?? app.nodeOutputs?.[String(node.id)]?.marionette_pose?.[0] ?? null;
}

/**
 * What the editor shows: poses of the last run, on the picture of a Load Image at once, on other pictures after a run.
 * picture(address): the image there, null while it loads. key: differs where anything but the sizes does.
 */
function sourceOf(node, run, picture) {
  const value = (name) => Number(node.widgets?.find((widget) => widget.name === name)?.value) || 0;
  const [pose, image] = ["pose", "image"].map((name) => node.inputs?.find((input) => input.name === name)?.link ?? null);
  const address = image === null ? null : loadedPicture(node);
  const still = picture(address);
  const poses = (pose !== null && run?.poses) || [];
  const running = image !== null && run ? run.pictures : [];
  let [width, height] = [value("width") || 512, value("height") || 768];
  let count = 1;
  let locked = "";
  if (pose !== null) {
    if (run) [width, height, count] = [run.width, run.height, run.poses.length];
    else locked = WAITING;
    if (!run && still) [width, height] = [still.naturalWidth, still.naturalHeight];
  } else if (address) {
    if (still) [width, height] = [still.naturalWidth, still.naturalHeight];
    else locked = "The image is loading.";
  } else if (image !== null) {
    if (run) [width, height, count] = [run.width, run.height, run.poses.length];
    else locked = "Run the workflow once to see the image here.";
  }
  const place = (name) => api.apiURL(`/view?${new URLSearchParams({ filename: name, subfolder: run.folder, type: "temp" })}`);
  return {
    incoming: new Incoming(width, height, poses, value("frames") || count),
    pictureOf(frame) {
      if (address) return still;
      const entry = running.findLast(([first]) => first <= frame);
      return entry ? picture(place(entry[1])) : null;
    },
    locked,
    key: [pose, image, address, still !== null, run?.pictures, poses.length && hash(poses)],
  };
}

/** Address of the picture that a Load Image before the node's image input shows; null for other nodes. */
function loadedPicture(node) {
  let [at, slot] = [node, node.inputs.findIndex((input) => input.name === "image")];
  for (let step = 0; step < 20; step++) {
    const link = at.getInputLink?.(slot);
    at = link && node.graph.getNodeById(link.origin_id);
    if (!at || at.type !== "Reroute") break;
    slot = 0;
  }
  const file = LOADERS.includes(at?.type) && at.widgets?.find((widget) => widget.name === "image")?.value;
  if (typeof file !== "string" || !file) return null;
  const [, path, type] = file.match(/^(.*?)(?: \[(input|output|temp)\])?$/);
  const folder = path.lastIndexOf("/");
  const where = { filename: path.slice(folder + 1), subfolder: path.slice(0, Math.max(0, folder)), type: type ?? "input" };
  return api.apiURL(`/view?${new URLSearchParams(where)}`);
}

/** A number that tells poses from others. */
function hash(poses) {
  let sum = 0;
  for (const pose of poses) for (const value of pose) sum = (Math.imul(sum, 31) + Math.round(value * 100)) | 0;
  return sum;
}
