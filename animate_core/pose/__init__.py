"""Poses: keypoints and their drawing."""
