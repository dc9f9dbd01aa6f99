"""A character apart from its background: isolate, matte, composite, lock.

Frames are `[F, 3, H, W]` float32 in [0, 1], mattes `[F, 1, H, W]`.
"""
