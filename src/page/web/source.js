"use strict";
/* source.js - where the page's data come from: the server that sent it, asked with a token that lives in this tab
 * alone (sessionStorage), or, in a page written by `pgenrm report`, the data that stand in it. */
(function() {
const KEY = "pgenrm.token";
const kept = document.getElementById("kept");
page.kept = kept ? JSON.parse(kept.textContent) : null; /* {"runs": [...], "files": {path: text}} */

let token = "";
try {
  token = sessionStorage.getItem(KEY) || "";
} catch (e) { /* a browser that keeps nothing: the token lives as long as the page */
}

function keep(text) {
  token = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch (e) { /* as above */
  }
}

let asking = null; /* one question at a time, however many answers wait for it */
function askToken(why) {
  if (asking) return asking;
  asking = new Promise((done) => {
    const input = page.el("input", {type: "password", autocomplete: "off", class: "wide"});
    const form = page.el(
        "form", {}, page.el("h2", {}, "A token"), page.el("p", {}, why), page.field("Token of this server", input),
        page.el("div", {class: "row"}, page.el("button", {type: "submit", class: "main"}, "Go on")));
    const dialog = page.el("dialog", {"aria-label": "A token"}, form);
    page.on(dialog, "cancel", (e) => e.preventDefault());
    page.on(form, "submit", (e) => {
      e.preventDefault();
      keep(input.value.trim());
      dialog.close();
      dialog.remove();
      asking = null;
      done();
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
  return asking;
}

async function send(method, path, body, signal) {
  const headers = {};
  if (token) headers.Authorization = "Bearer " + token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, {
    method,
    headers,
    signal,
    credentials: "omit",
    cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body)
  });
}

async function failure(answer) {
  let text = "status " + answer.status, code = null;
  try {
    const error = (await answer.json()).error;
    text = error.message;
    code = error.code;
  } catch (e) { /* no JSON: the status says it */
  }
  const e = new Error(text);
  e.status = answer.status;
  e.code = code;
  return e;
}

/* The answer, or an error with status and code. Paths are made of constants and encodeURIComponent. */
async function ask(method, path, body, signal) {
  for (let tried = false;; tried = true) {
    const answer = await send(method, path, body, signal);
    if (answer.ok) return answer;
    const e = await failure(answer);
    if (e.status !== 401) throw e;
    await askToken(tried || token ? "This server does not know that token." : "This server asks for a token.");
  }
}

page.json = async (method, path, body, signal) => (await ask(method, path, body, signal)).json();
page.blob = async (method, path, body) => (await ask(method, path, body)).blob();

/* Server-sent events: take(object) for each until [DONE]. An error among them, or a stream that breaks off, throws. */
page.events = async (path, body, signal, take) => {
  const reader = (await ask("POST", path, body, signal)).body.getReader(), decoder = new TextDecoder();
  for (let rest = "", ended = false;;) {
    const {done, value} = await reader.read();
    const parts = (rest + decoder.decode(value, {stream: !done})).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ") || ended) continue;
      ended = part === "data: [DONE]";
      const event = ended ? null : JSON.parse(part.slice(6));
      if (event && event.error) throw new Error(event.error.message);
      if (event) take(event);
    }
    if (done && ended) return;
    if (done) throw new Error("The answer broke off.");
  }
};

/* ---- runs ---- */

const pathOf = (run, file) => (run === "." ? [file] : run.split("/").concat(file));

page.runs = async () => (page.kept ? page.kept.runs : (await page.json("GET", "v1/runs")).runs);

/* A run's file from byte `from` on, as {text, next}: whole lines, all of them up to `most` bytes. */
page.runText = async (run, file, from = 0, most = 64 << 20) => {
  if (page.kept) {
    const text = page.kept.files[pathOf(run, file).join("/")] || "";
    return {text: from ? "" : text, next: text.length};
  }
  const path = "v1/runs/" + pathOf(run, file).map(encodeURIComponent).join("/");
  const parts = [];
  let next = from;
  while (next - from < most) {
    const bytes = new Uint8Array(await (await ask("GET", path + "?from=" + next)).arrayBuffer());
    if (!bytes.length) break;
    parts.push(bytes);
    next += bytes.length;
  }
  const decoder = new TextDecoder();
  return {text: parts.map((p) => decoder.decode(p, {stream: true})).join("") + decoder.decode(), next};
};

/* Objects of JSON lines; a last line that is being written, or is none, is left out. */
page.lines = (text) => {
  const out = [];
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    try {
      out.push(JSON.parse(line));
    } catch (e) { /* left out */
    }
  }
  return out;
};
})();
