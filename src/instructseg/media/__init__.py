"""Image and mask files in and out; nothing here knows about the model."""
