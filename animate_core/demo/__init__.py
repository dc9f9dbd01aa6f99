"""The built-in model's world: procedurally drawn characters and their motions, with exact keypoints and masks."""
