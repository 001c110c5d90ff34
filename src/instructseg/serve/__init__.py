"""`instructseg serve`: an HTTP server for photos and clips, and a page for people.

    request -> http (limits, access, parsing) -> engine (queue, batches) -> worker process (Segmenter) -> answer

`http` knows no model, `worker` knows no HTTP, and `messages` is all that passes between the two processes.
"""
