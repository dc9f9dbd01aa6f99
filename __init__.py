"""Marionette: Animate Anyone as ComfyUI nodes. The host loads this folder and asks `comfy_entrypoint` for its nodes."""

from comfy_api.latest import ComfyExtension, io

from .nodes import NODES
from .nodes.host import register_model_folder
from .nodes.host_workflows import revive_old_workflows

WEB_DIRECTORY = "./web"  # help pages, in docs/; the page loads every .js


class MarionetteExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_model_folder()
        await revive_old_workflows()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> MarionetteExtension:
    return MarionetteExtension()
