"""Speed, memory and quality, measured: `python -m benchmarks`, and `python -m benchmarks.page` for the page in docs/."""
