"""Bulk jobs: segment any number of photos and clips into parquet files, each exactly once."""
