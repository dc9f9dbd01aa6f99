"""Finished clips: a character off its background and over another, parts cut out and put back."""
