"""Speed and memory of one denoising step, beside the published way of computing it (`python -m benchmarks`)."""
