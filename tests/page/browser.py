#!/usr/bin/env python3
"""Tries the page of `pgenrm serve` in Debian's chromium: every view is used by mouse and keyboard, hostile texts are
put into every field and into all that the server says (ids, names of runs, chains), and pictures, times and bytes
are taken. By hand (docs/page.md):

    apt-get install chromium chromium-driver python3-selenium
    /usr/bin/python3 tests/page/browser.py --program build/pgenrm --runs FOLDER --pictures docs/page [--axe axe.min.js]
"""
import argparse
import base64
import http.client
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EVIL = ["<script>window.ran=1</script>", "\"><img src=x onerror=\"window.ran=2\">", "javascript:window.ran=3",
        "'><svg/onload=window.ran=4>", "</script><script>window.ran=5</script>",
        "{{constructor.constructor('ran=6')()}}",
        "</textarea><iframe srcdoc='<script>parent.ran=7</script>'>"]
ALL_EVIL = " ".join(EVIL)
WAIT = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, program, *options):
        self.port = free_port()
        self.process = subprocess.Popen([program, "serve", "--listen", f"127.0.0.1:{self.port}", "-q", *options])
        self.address = f"http://127.0.0.1:{self.port}"
        until = time.time() + WAIT
        while time.time() < until:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise SystemExit("the server does not come")

    def ask(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        c.request(method, path, json.dumps(body) if body is not None else None, headers or {})
        r = c.getresponse()
        return r.status, r.read()

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Browser:
    def __init__(self, width=1280, height=900, dark=False):
        o = Options()
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--force-device-scale-factor=1", f"--window-size={width},{height}"):
            o.add_argument(flag)
        o.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.d = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=o)
        self.screen(width, height, dark)

    def screen(self, width, height, dark):
        self.d.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.d.execute_cdp_cmd("Emulation.setEmulatedMedia",
                               {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def go(self, address):
        self.d.get("about:blank")
        self.d.get(address)

    def find(self, css):
        return self.d.find_element(By.CSS_SELECTOR, css)

    def label(self, text):
        """The field that a label names."""
        for label in self.d.find_elements(By.TAG_NAME, "label"):
            if label.text.strip() == text:
                return self.d.find_element(By.ID, label.get_attribute("for"))
        raise AssertionError(f"no field {text!r}")

    def button(self, text):
        for b in self.d.find_elements(By.TAG_NAME, "button"):
            if b.text.strip() == text:
                return b
        raise AssertionError(f"no button {text!r}")

    def until(self, what, condition):
        until = time.time() + WAIT
        while time.time() < until:
            try:
                if condition():
                    return
            except Exception:  # the page is being drawn anew
                pass
            time.sleep(0.1)
        raise AssertionError(f"{what}: not seen; the page says: {self.find('body').text[:1500]}")

    def says(self, text):
        self.until(text, lambda: text in self.find("body").text)

    def picture(self, path, height, top):
        """At most `height` of the page from the element `top` on; with few colours where Pillow is there."""
        self.d.execute_script("page.tell(''); scrollTo(0, 0)")
        width, most, y = self.d.execute_script(
            "const e = document.querySelector(arguments[0]);"
            "return [innerWidth, document.documentElement.scrollHeight, e ? e.getBoundingClientRect().top : 0]", top)
        clip = {"x": 0, "y": max(0, y), "width": width, "height": min(most - y, height), "scale": 1}
        shot = self.d.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))
        try:
            from PIL import Image
            Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        except ImportError:
            pass
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")

    def ran(self):
        return self.d.execute_script("return window.ran")

    def complaints(self):
        """What the browser said of violated policies and errors of scripts."""
        return [e["message"] for e in self.d.get_log("browser")
                if ("Content Security Policy" in e["message"] or "Uncaught" in e["message"]
                    or "TypeError" in e["message"] or "expected" in e["message"] and "attribute" in e["message"])]

    def bytes_sent(self):
        n = 0
        for entry in self.d.get_log("performance"):
            m = json.loads(entry["message"])["message"]
            if m["method"] == "Network.loadingFinished":
                n += m["params"]["encodedDataLength"]
        return int(n)

    def hosts(self):
        """Whom the page asked, by the browser's own log."""
        out = set()
        for entry in self.d.get_log("performance"):
            m = json.loads(entry["message"])["message"]
            if m["method"] == "Network.requestWillBeSent":
                out.add(urllib.parse.urlsplit(m["params"]["request"]["url"]).netloc)
        return out

    def paint(self):
        return self.d.execute_script("const p = performance.getEntriesByName('first-contentful-paint')[0];"
                                     "return p ? p.startTime : null")

    def axe(self, script, name):
        """Serious and critical findings of axe-core, which is put into the page past its policy."""
        self.d.execute_script(script)
        found = self.d.execute_async_script(
            "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)")
        serious = [(v["id"], v["impact"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
        print(f"axe {name}: {len(found['passes'])} rules pass, findings: {serious or 'none'}")
        return [v for v in serious if v[1] in ("serious", "critical")]


# ---- what is looked at -------------------------------------------------------------------------------------------

def judge(b, user, example=True, then=None):
    b.until("the form", lambda: b.label("Question"))
    if example:
        b.button("An example").click()
    b.until("the form", lambda: b.label("User (nobody where empty)"))
    field = b.label("User (nobody where empty)")
    field.clear()
    field.send_keys(user)
    b.button("Judge").click()
    if then:
        then()
    b.says("The rubric, merged")
    b.says("Judged in")


def hostile_store(program, folder):
    """Users whose every text is hostile, beside those of the examples."""
    store = folder / "users.db"
    subprocess.run([program, "user", "import", ROOT / "examples/users.jsonl", "--store", store, "-q"], check=True)
    request = json.load(open(ROOT / "examples/request.json"))
    marta = folder / "marta.jsonl"
    rows = [{"user_id": "marta", "context": [{"role": "user", "content": p["query"]}], "chosen": p["chosen"],
             "rejected": p["rejected"]} for p in request["user"]["history"]]
    evil = [{"user_id": EVIL[1], "context": [{"role": "user", "content": f"{e} {ALL_EVIL}"}],
             "chosen": f"Short. {e}", "rejected": f"A long answer, on the other hand, {ALL_EVIL}"} for e in EVIL]
    marta.write_text("\n".join([*(json.dumps(r) for r in rows), *(json.dumps(r) for r in evil)]) + "\n")
    return store, marta


def hostile_runs(folder, given):
    """Those that are given, and some whose names and texts are hostile."""
    runs = folder / "runs"
    if given:
        shutil.copytree(given, runs)
    runs.mkdir(exist_ok=True)
    for kind in ("bench", "train"):
        at = runs / f"{kind} \"><img src=x onerror=window.ran=8>"
        at.mkdir()
        if kind == "bench":
            row = {"data": ALL_EVIL, "split": ALL_EVIL, "method": ALL_EVIL, "ind": 2, "pro": 0, "pairs": 3, "users": 2,
                   "questions": 3, "accuracy": 0.5, "accuracy_se": 0.1, "model": ALL_EVIL, "seed": ALL_EVIL,
                   "failures": ALL_EVIL, "calibration": [{"n": 2, "confidence": .6, "right": .5},
                                                         {"n": 1, "confidence": .9, "right": 1}],
                   "by_chains": [], "robust": [{"kind": ALL_EVIL, "wins": .5}]}
            (at / "rows.jsonl").write_text(json.dumps(row) + "\n")
            (at / "verdicts.jsonl").write_text(json.dumps({"data": ALL_EVIL, "method": ALL_EVIL, "user": ALL_EVIL,
                                                           "right": 1, "ind": 2}) + "\n")
        else:
            lines = [{"step": s, "loss": 1 / s, ALL_EVIL: s, "kind": ALL_EVIL} for s in (1, 2, 3)]
            lines += [{"step": 3, "evaluation": True, f"{ALL_EVIL}/own": .5, f"{ALL_EVIL}/stranger": .4},
                      {"step": 3, "sample": ALL_EVIL},
                      {"step": 3, "samples": [{"user": ALL_EVIL, "prompt": ALL_EVIL, "completion": ALL_EVIL,
                                               "reward": 1, "advantage": -1},
                                              {"user": "u", "prompt": "p", "completion": "plain", "reward": 2,
                                               "advantage": 1}]}]
            (at / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
            (at / "samples.jsonl").write_text(json.dumps({"step": 3, "history": ALL_EVIL, "parsed": True, "margin": 1,
                                                          "text": ALL_EVIL}) + "\n")
    return runs


def check_samples(b):
    """The table of samples by their text and by the sign of their advantage; hostile texts are found as texts."""
    b.says("2 of 2 samples")
    field = b.label("Samples with the text")
    field.send_keys("onerror")
    b.says("1 of 2 samples")
    field.clear()
    field.send_keys(EVIL[0])
    b.says("1 of 2 samples")
    field.clear()
    field.send_keys(Keys.SPACE, Keys.BACKSPACE)
    b.says("2 of 2 samples")
    Select(b.label("Samples that are")).select_by_visible_text("better than their group")
    b.says("1 of 2 samples")
    Select(b.label("Samples that are")).select_by_visible_text("all")


WATCH = """
window.heads = [];
new MutationObserver(() => {
  const s = document.querySelector("main section[aria-label='The verdict']"), h = s && s.querySelector("h2");
  if (h) window.heads.push([h.textContent, s.querySelectorAll(".card.provisional").length,
                            s.querySelectorAll(".big, .card.best").length]);
}).observe(document.querySelector("main"), {childList: true, subtree: true, characterData: true});
"""


def check_stream(b, server):
    """Before the verdict there are provisional cards, more and more of them, and no score; with it they are gone.
    Stopped in the middle, the server has nothing left to do."""
    b.go(server.address + "/#verdict")
    b.until("the form", lambda: b.label("Question"))
    b.d.execute_script(WATCH)
    judge(b, "marta")
    heads = b.d.execute_script("return window.heads")
    before = [h for h in heads if h[0].startswith("Judging")]
    assert max(h[1] for h in before) >= 2, heads
    assert all(h[2] == 0 for h in before), "a score stood beside provisional readings"
    after = heads[len(before):]
    assert after and all(h[1] == 0 and not h[0].startswith("Judging") for h in after), after
    b.button("Judge").click()
    b.until("a reading", lambda: b.d.find_elements(By.CSS_SELECTOR, ".card.provisional"))
    b.button("Stop").click()
    b.says("stopped")
    b.until("an idle server", lambda: "pgenrm_queue_length 0" in server.ask("GET", "/metrics")[1].decode())


def check_example(b, server):
    """The example comes with a person whom no store knows: a persona from his choices, criteria with evidence, and
    another verdict for somebody who chose the other way; a user who is named takes his place."""
    b.go(server.address + "/#verdict")
    b.until("the form", lambda: b.label("Question"))
    b.button("An example").click()
    b.says("For the example's person, who made 4 choices")
    b.button("Judge").click()
    b.says("The rubric, merged")
    b.says("Judged in")
    table = next(t for t in b.d.find_elements(By.CSS_SELECTOR, "main table") if "Who is asked for" in t.text)
    rows = [[c.text for c in row.find_elements(By.CSS_SELECTOR, "th, td")]
            for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    asked = [row[0] for row in rows]
    assert asked == ["As this user (of the example)", "As a stranger (who chose the other way)", "As nobody"], rows
    assert rows[0][1].startswith("Answer A") and rows[1][1].startswith("Answer B"), rows
    assert len(rows[0][-1]) > 20 and rows[0][-1] != rows[1][-1] and rows[0][-1] != rows[2][-1], rows
    assert b.d.find_elements(By.CSS_SELECTOR, "main table details blockquote"), "no evidence from the choices"
    b.label("User (nobody where empty)").send_keys("marta")
    b.until("the user alone", lambda: "For the example's person" not in b.find("main").text)


def check_map(b):
    """The table of similar users has the numbers of the map."""
    for summary in b.d.find_elements(By.CSS_SELECTOR, "main summary"):
        if "Prototypes" in summary.text:
            summary.click()
    b.until("the map", lambda: b.find("img.map").get_property("naturalWidth") > 0)
    assert "similar users are marked" in b.find("img.map").get_attribute("alt")


def check_injection(b, server):
    """Hostile texts in every field of every view, and in what the server says."""
    b.go(server.address + "/#verdict")
    b.until("the form", lambda: b.label("Question"))
    for area in b.d.find_elements(By.CSS_SELECTOR, "main textarea"):
        area.send_keys(ALL_EVIL)
    b.label("Answer B").send_keys(" and more")
    b.label("User (nobody where empty)").send_keys(EVIL[1])
    b.button("Judge").click()
    b.says("The rubric, merged")
    b.says("Judged in")  # by all three: nothing is drawn anew from here on
    for summary in b.d.find_elements(By.TAG_NAME, "summary"):
        summary.click()
    for view in ("chains", "feedback", "runs"):
        b.d.execute_script(f"location.hash = '{view}'")
        time.sleep(0.5)
    b.d.execute_script("location.hash = 'feedback'")
    b.until("the user", lambda: b.label("User"))
    b.label("User").send_keys(EVIL[1], Keys.TAB)
    b.says("Choice 7")
    b.label("Pairs to ask about, a JSON object per line").send_keys(
        json.dumps({"query": ALL_EVIL, "responses": [ALL_EVIL, EVIL[0]]}), Keys.ENTER, ALL_EVIL)
    b.button("Find the least certain").click()
    b.says("1 left")
    b.find("summary").click()
    b.button("Skip").click()
    for name in [r["name"] for r in json.loads(server.ask("GET", "/v1/runs")[1])["runs"] if "onerror" in r["name"]]:
        b.d.execute_script("location.hash = arguments[0]", "runs/" + urllib.parse.quote(name, safe=""))
        b.says("As a table" if "train" in name else "Calibration and agreement")
        if "train" in name:
            check_samples(b)
        for summary in b.d.find_elements(By.TAG_NAME, "summary"):
            b.d.execute_script("arguments[0].click()", summary)
    for address in ("/#runs/" + urllib.parse.quote(ALL_EVIL, safe=""), "/#" + urllib.parse.quote(EVIL[0]),
                    "/?" + urllib.parse.quote(ALL_EVIL) + "#verdict", "/page/" + urllib.parse.quote(EVIL[0], safe="")):
        b.go(server.address + address)
        time.sleep(0.3)
        assert b.ran() is None, address
    assert b.ran() is None, f"ran: {b.ran()}"
    frames = b.d.find_elements(By.CSS_SELECTOR, "main iframe, main script, [onerror], [onload]")
    assert not frames, "an element of the hostile texts is there"


def check_keyboard(b, server):
    """From the first key on, without a mouse: a verdict, the views by their numbers, the queue by its letters."""
    b.go(server.address + "/#verdict")
    b.until("the form", lambda: b.label("Question"))
    body = b.find("body")
    body.send_keys(Keys.TAB)
    assert b.d.switch_to.active_element.text == "Skip to the content"
    b.d.switch_to.active_element.send_keys("3")
    b.says("What the judge is least sure of")
    user = b.label("User")
    user.send_keys("by-keys", Keys.TAB)
    b.says("does not know this user")
    pairs = "\n".join(json.dumps({"query": f"Question {i}?", "responses": [f"Yes, {i}.", f"No, not {i}, never."]})
                      for i in range(3))
    area = b.label("Pairs to ask about, a JSON object per line")
    for line in pairs.split("\n"):
        area.send_keys(line, Keys.ENTER)
    b.button("Find the least certain").send_keys(Keys.ENTER)
    b.says("3 left")
    for key, left in (("a", "2 left"), ("s", "1 left"), ("b", "Nothing is left; 2 answers are kept")):
        b.d.switch_to.active_element.send_keys(key)
        b.says(left)
    status, text = server.ask("GET", "/v1/personal/users/by-keys")
    assert status == 200 and len(json.loads(text)["history"]) == 2, text


def check_history(b, server):
    """A pair is changed, one removed, the user forgotten."""
    b.go(server.address + "/#feedback")
    b.until("the user", lambda: b.label("User"))
    b.label("User").send_keys("by-keys", Keys.TAB)
    b.says("Choice 2")
    b.button("Edit").click()
    b.label("Chosen").send_keys(" Changed.")
    b.button("Save").click()
    b.says("Changed.")
    b.button("Remove").click()
    b.find("dialog button.danger").click()
    b.until("one pair", lambda: "1 pairs" in b.find("main").text)
    b.button("Forget by-keys").click()
    b.find("dialog").send_keys(Keys.ESCAPE)
    assert server.ask("GET", "/v1/personal/users/by-keys")[0] == 200, "forgotten without a confirmation"
    b.button("Forget by-keys").click()
    b.find("dialog button.danger").click()
    b.says("does not know this user")
    assert server.ask("GET", "/v1/personal/users/by-keys")[0] == 404


def check_token(program, store, runs):
    with tempfile.NamedTemporaryFile("w", suffix=".tokens") as f:
        f.write("secret-token\n")
        f.flush()
        server = Server(program, "--store", str(store), "--token-file", f.name, "--runs", str(runs))
        b = Browser()
        try:
            b.go(server.address + "/#runs")
            b.says("This server asks for a token.")
            b.find("dialog input").send_keys("wrong", Keys.ENTER)
            b.says("This server does not know that token.")
            b.find("dialog input").send_keys("secret-token", Keys.ENTER)
            b.says("What bench and train wrote")
            kept = b.d.execute_script("return [JSON.stringify(localStorage), document.cookie, "
                                      "Object.keys(sessionStorage)]")
            assert kept == ["{}", "", ["pgenrm.token"]], kept
            assert "secret" not in b.d.current_url
        finally:
            b.d.quit()
            server.stop()


def check_report(program, runs, folder):
    """One file without a server, opened as a file: the hostile runs and the others."""
    subprocess.run([program, "report", runs, "--out", folder / "site"], check=True, stdout=subprocess.DEVNULL)
    b = Browser()
    try:
        b.go((folder / "site/index.html").as_uri())
        b.says("What bench and train wrote")
        for link in [a.get_attribute("href") for a in b.d.find_elements(By.CSS_SELECTOR, "tbody a")]:
            b.go(link)
            b.until(link, lambda: "Reading" not in b.find("main").text and len(b.find("main").text) > 200)
        assert b.ran() is None
        assert not b.complaints()
        asked = b.hosts() - {""}
        assert not asked, f"the file asked {asked}"
    finally:
        b.d.quit()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=str(ROOT / "build/pgenrm"))
    p.add_argument("--runs", help="a folder of runs that are shown beside the hostile ones")
    p.add_argument("--pictures", type=pathlib.Path, help="where pictures go")
    p.add_argument("--axe", type=pathlib.Path, help="axe-core's axe.min.js")
    a = p.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgenrm-page-"))
    serious = []
    store, more = hostile_store(a.program, folder)
    subprocess.run([a.program, "user", "import", more, "--store", store, "-q"], check=True)
    subprocess.run([a.program, "proto", "build", "--by", "votes", "-k", "2", "--store", store, "-q"], check=True,
                   stdout=subprocess.DEVNULL)
    runs = hostile_runs(folder, a.runs)
    server = Server(a.program, "--store", str(store), "--runs", str(runs))
    b = Browser()
    axe = a.axe.read_text() if a.axe else None

    def look(name, dark=False, width=1280, height=1100, top="body"):
        b.screen(width, 900, dark)
        b.d.execute_script("scrollTo(0, 0)")
        time.sleep(0.5)
        wide = b.d.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name}: {wide} pixels wider than the screen"
        if a.pictures:
            a.pictures.mkdir(parents=True, exist_ok=True)
            b.picture(a.pictures / f"{name}.png", height, top)
        if axe:
            serious.extend(b.axe(axe, name))
        b.screen(1280, 900, False)

    def provisional():
        """A picture of what comes before the verdict, where it is slow enough for that."""
        b.until("readings", lambda: len(b.d.find_elements(By.CSS_SELECTOR, ".card.provisional")) >= 2)
        if a.pictures and "No verdict yet" in b.find("main").text:
            b.picture(a.pictures / "provisional.png", 700, "main section h2")
        if axe and "No verdict yet" in b.find("main").text:
            serious.extend(b.axe(axe, "before the verdict"))

    try:
        b.go(server.address + "/")
        b.says("Which answer would this user prefer")
        time.sleep(1)
        print(f"first contentful paint {b.paint():.0f} ms, {b.bytes_sent()} bytes sent for the first view")
        b.go(server.address + "/")
        b.says("Which answer would this user prefer")
        time.sleep(1)
        print(f"again, with what the browser kept: {b.paint():.0f} ms, {b.bytes_sent()} bytes")

        check_stream(b, server)
        check_example(b, server)
        b.go(server.address + "/#verdict")
        b.until("the form", lambda: b.label("Question"))
        b.find("main form details summary").click()
        b.label("of similar users (pro)").send_keys("3")
        b.label("Seconds").clear()
        b.label("Seconds").send_keys("300")
        judge(b, "marta", then=provisional)
        check_map(b)
        look("verdict", top="main section h2", height=1250)
        look("verdict-dark", dark=True, top="main section h2", height=700)
        look("verdict-phone", width=390, height=1700)
        b.find("main").send_keys(Keys.NULL)
        b.d.execute_script("location.hash = 'chains'")
        b.says("chains")
        look("chains")
        b.d.execute_script("location.hash = 'runs'")
        b.says("What bench and train wrote")
        look("runs")
        listed = [r for r in json.loads(server.ask("GET", "/v1/runs")[1])["runs"] if "onerror" not in r["name"]]
        for kind, name, dark in (("bench", "calibration", False), ("train", "training", True)):
            of = [r["name"] for r in listed if r["kind"] == kind]
            if not of:
                continue
            b.d.execute_script("location.hash = arguments[0]", "runs/" + urllib.parse.quote(of[0], safe=""))
            b.says("As a table")
            look(name, dark=dark)
            if kind == "train" and "samples" in b.find("main").text:
                look("samples", top="main .row", height=600)
            if len(of) > 1:
                b.d.execute_script("location.hash = arguments[0]",
                                   "runs/" + "&".join(urllib.parse.quote(n, safe="") for n in of[:2]))
                b.until("both", lambda: of[1] in b.find("main").text and "Reading" not in b.find("main").text)
        b.d.execute_script("location.hash = 'feedback'")
        b.until("the user", lambda: b.label("User"))
        b.label("User").send_keys("marta", Keys.TAB)
        b.says("Choice 1")
        look("feedback-phone", width=390, height=1400)
        check_keyboard(b, server)
        check_history(b, server)
        check_injection(b, server)
        hosts = b.hosts() - {"", f"127.0.0.1:{server.port}"}
        assert not hosts, f"the page asked others: {hosts}"
        said = b.complaints()
        assert not said, said
        check_token(a.program, store, runs)
        check_report(a.program, runs, folder)
    finally:
        b.d.quit()
        server.stop()
        shutil.rmtree(folder)
    if serious:
        sys.exit(f"axe: {serious}")
    print("the page: all views, keyboard, history, tokens, the report; no hostile text ran")


if __name__ == "__main__":
    main()
