"""The server side of the worker process: the bounded queue, batches, restarts, and the jobs of clips."""
