"""What people call: the Segmenter, its sessions and its predictions."""
