"""Animate Anyone (arXiv 2311.17117) as a plain PyTorch library. Imports no ComfyUI."""
