"""Inference: the Segmenter, its sessions and its predictions."""
