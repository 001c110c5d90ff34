"""The worker process: it holds the model and answers batches of requests."""
