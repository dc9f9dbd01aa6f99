"""Queues a workflow with a picture of yours in a running ComfyUI, waits for it, and saves what it made. Needs Python alone.

    python queue_clip.py workflow_api.json picture.png [http://127.0.0.1:8188]

workflow_api.json is what the page's menu writes by File > Export (API). The first Load Image in it gets the picture.
"""

import json
import sys
import time
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

workflow, picture, host = (*map(Path, sys.argv[1:3]), sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:8188")


def ask(path, body=None, kind="application/json"):
    try:
        return urlopen(Request(host + path, body, {"Content-Type": kind})).read()
    except HTTPError as error:
        sys.exit(f"{path}: {error.read().decode()}")


edge = uuid.uuid4().hex
head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{picture.name}"\r\n\r\n'
upload = head.encode() + picture.read_bytes() + f"\r\n--{edge}--\r\n".encode()
graph = json.loads(workflow.read_text(encoding="utf-8"))
loader = next(node for node in graph.values() if node["class_type"] == "LoadImage")
loader["inputs"]["image"] = json.loads(ask("/upload/image", upload, f"multipart/form-data; boundary={edge}"))["name"]
prompt = json.loads(ask("/prompt", json.dumps({"prompt": graph}).encode()))["prompt_id"]
while not (done := json.loads(ask(f"/history/{prompt}"))):
    time.sleep(1)
if done[prompt]["status"]["status_str"] != "success":
    kind, about = done[prompt]["status"]["messages"][-1]
    sys.exit(f"{about.get('node_type', kind)}: {about.get('exception_message', 'did not finish')}")
for output in done[prompt]["outputs"].values():
    for file in output.get("images", []):
        if file["type"] == "output":
            Path(file["filename"]).write_bytes(ask(f"/view?{urlencode(file)}"))
            print(file["filename"])
