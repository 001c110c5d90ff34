"""The photos and clips of a bulk job: folders, patterns, lists, parquet files and WebDataset tars."""
