"""Annotation files of other tools: COCO, LabelMe, YOLO segmentation, CVAT, and mask PNGs of whole folders."""
