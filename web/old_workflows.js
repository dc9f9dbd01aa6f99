// Workflows of older Animate Anyone packs: the page offers to replace their nodes when one is opened, and by a command.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const COMMAND = "Marionette.ConvertOldWorkflow";
const declined = new Set(); // ids of graphs, which the page configures again whenever their tab is chosen
const TITLE = "Convert old Animate Anyone workflow";

app.registerExtension({
  name: "Marionette.OldWorkflows",
  commands: [{ id: COMMAND, label: TITLE, icon: "pi pi-refresh", function: () => run(true) }],
  menuCommands: [{ path: ["Edit"], commands: [COMMAND] }],

  afterConfigureGraph(missing) {
    // not awaited: the page shows the workflow first
    if (missing?.length && !declined.has(app.graph.id)) void run(false);
  },
});

/** Converts the open workflow, if it holds old nodes and the user agrees. asked: by the command, which always answers. */
async function run(asked) {
  const response = await api.fetchApi("/marionette/convert_workflow", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(app.graph.serialize()),
  });
  const answer = await response.json();
  if (!response.ok || !answer.replaced.length) {
    if (asked) say(response.ok ? "info" : "error", answer.error ?? "This workflow has no nodes of older Animate Anyone packs.");
    return;
  }
  const agreed =
    asked ||
    (await app.extensionManager.dialog.confirm({
      title: TITLE,
      message:
        `This workflow uses ${count(answer)} of an older Animate Anyone pack. Replace with Marionette's? ` +
        "The old workflow stays open in its tab, and a note in the new one says what changes.",
    }));
  if (!agreed) {
    declined.add(app.graph.id);
    return;
  }
  await app.loadGraphData(answer.workflow);
  say("success", `${count(answer)} replaced. The note in the graph says what changed.`);
}

function count(answer) {
  return answer.replaced.length === 1 ? "1 node" : `${answer.replaced.length} nodes`;
}

function say(severity, detail) {
  app.extensionManager.toast.add({ severity, summary: TITLE, detail, life: 8000 });
}
