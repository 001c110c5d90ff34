"""Jobs in forked child processes that write what they raise into a file; for tests that kill or limit them."""

import os
import resource

from instructseg.errors import InstructSegError


def begin(job, output, limit=None):
    """A child that runs the job to its end, with files no longer than `limit` bytes; returns its process id."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(f"{output}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        job(output)
    except InstructSegError as error:
        os.write(2, f"\n{type(error).__name__}: {error}".encode())
        os._exit(3)
    except BaseException as error:
        os.write(2, f"\nunexpected {error!r}".encode())
        os._exit(4)
    os._exit(0)


def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
