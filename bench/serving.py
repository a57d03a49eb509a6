"""A server that a measurement starts, and waits for."""
import re
import subprocess
import sys


def started(command, **options):
    """The process of `pgenrm serve` and its address, once it says that it is ready."""
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
    url = None
    for line in server.stderr:
        found = re.search(r"listening on (http://\S+)", line)
        url = found.group(1) if found else url
        if "ready" in line:
            return server, url
    sys.exit(f"{command[0]} serve ended with status {server.wait()} before it was ready")
