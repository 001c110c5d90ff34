"""Reading and writing images, clips and masks, and the names of result files; independent of the model."""
