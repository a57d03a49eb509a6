"""Servers that a measurement starts, and waits for."""
import http.client
import re
import subprocess
import sys
import time
import urllib.request


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


def answering(command, url, seconds=60, **options):
    """The process of a server that says nothing, once the page at url is there."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return server
        except (OSError, http.client.HTTPException):  # urllib's errors among them: also 503, as long as it loads
            time.sleep(0.05)
    server.kill()
    sys.exit(f"{' '.join(map(str, command))}\nis not ready after {seconds} s, or ended: status {server.wait()}")


def llama_cpp(python, model, port, threads, *more):
    """llama-cpp-python's server and its address. It wants fastapi, uvicorn, sse-starlette, pydantic-settings and
    starlette-context."""
    url = f"http://127.0.0.1:{port}"
    return answering([python, "-m", "llama_cpp.server", "--model", str(model), "--port", str(port), "--n_ctx", "2048",
                      "--n_threads", str(threads), "--n_threads_batch", str(threads), *more], url + "/v1/models"), url
