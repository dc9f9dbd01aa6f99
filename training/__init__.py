"""Training: the two published stages, and the built-in model's autoencoder and image encoder."""
