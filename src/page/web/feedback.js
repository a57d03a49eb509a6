"use strict";
/* feedback.js - the view Feedback: a queue of the pairs that the judge is least sure of, answered with one key; a
 * user's history; forgetting him. */
(function() {
const state = {
  user: "",
  queue: [],
  answered: 0,
  text: ""
};

/* ---- the queue ---- */

const uncertain = (r) => {
  if (typeof r.confidence === "number") return 1 - Math.abs(2 * r.confidence - 1);
  const [a, b] = r.responses.map((s) => s.score);
  return typeof a === "number" && typeof b === "number" ? 1 / (1 + Math.abs(a - b)) : 1;
};

/* One JSON object per line with query and two responses (or chosen and rejected, whose order is not shown). */
function readPairs(text) {
  return page.lines(text).flatMap((o) => {
    const answers = Array.isArray(o.responses) ? o.responses : [o.chosen, o.rejected];
    const query = page.questionOf(o);
    if (!query || answers.length < 2 || answers.slice(0, 2).some((a) => typeof a !== "string" || !a.trim()))
      return [];
    const turned = answers[0].length % 2 === 1; /* whichever was chosen is not always A */
    return [{query, responses: turned ? [answers[1], answers[0]] : [answers[0], answers[1]]}];
  });
}

async function fillQueue(box) {
  const pairs = readPairs(state.text).slice(0, 200);
  if (!state.user || !pairs.length)
    return page.tell(
        state.user ? "No pair was read: one JSON object per line with query and two responses." :
                     "Whose feedback is it? Choose a user.");
  let done = 0, failed = 0, last = "";
  const rest = pairs.slice();
  const work = async () => {
    for (let p = rest.shift(); p; p = rest.shift()) {
      try {
        p.result = await page.judgeAs(state.user, p.query, p.responses);
        p.doubt = uncertain(p.result);
        state.queue.push(p);
      } catch (e) {
        failed++;
        last = e.message;
      }
      page.tell("Judged " + ++done + " of " + pairs.length);
    }
  };
  state.queue = [];
  await Promise.all([work(), work(), work(), work()]);
  state.queue.sort((a, b) => b.doubt - a.doubt);
  page.tell(failed ? failed + " could not be judged: " + last : "");
  if (box.isConnected) showQueue(box);
}

async function answer(box, chosen) {
  const p = state.queue.shift();
  if (!p) return;
  if (chosen !== null) {
    try {
      await page.json(
          "POST", "v1/personal/feedback",
          {user: state.user, query: p.query, chosen: p.responses[chosen], rejected: p.responses[1 - chosen]});
      state.answered++;
      page.usersChanged();
    } catch (e) {
      state.queue.unshift(p);
      return page.tell("Not kept: " + e.message);
    }
  }
  page.tell(chosen === null ? "Skipped" : "Kept: " + page.letter(chosen));
  showQueue(box);
}

function showQueue(box) {
  const p = state.queue[0];
  if (!p)
    return void page.fill(
        box, state.answered ? page.el("p", {}, "Nothing is left; " + state.answered + " answers are kept.") : "");
  const sure = p.result.best === null ? "" :
                                        "The judge leans to " + page.letter(p.result.best) + " (" +
          (typeof p.result.confidence === "number" ? page.percent(p.result.confidence) : "not calibrated") + ").";
  const lean = page.el("details", {}, page.el("summary", {}, "What the judge thinks"), page.el("p", {}, sure));
  const focus = page.button("A", () => answer(box, 0), "main");
  page.fill(
      box, page.el("h3", {}, state.queue.length + " left, the least certain first"),
      page.el("p", {class: "text"}, p.query),
      page.el(
          "div", {class: "cards"},
          p.responses.map(
              (r, i) => page.el(
                  "section", {class: "card", "aria-label": "Answer " + page.letter(i)},
                  page.el("h3", {}, page.letter(i)), page.el("p", {class: "text"}, r)))),
      page.el(
          "div", {class: "row", role: "group", "aria-label": "Which is better?"}, focus,
          page.button("B", () => answer(box, 1), "main"), page.button("Skip", () => answer(box, null)),
          page.el(
              "span", {class: "note"}, "or the keys ", page.el("kbd", {}, "A"), " ", page.el("kbd", {}, "B"), " ",
              page.el("kbd", {}, "S"))),
      lean);
  focus.focus();
}

page.feedbackKey = (key) => {
  const box = document.getElementById("queue");
  if (!box || !state.queue.length) return false;
  const at = {a: 0, b: 1, s: null}[key];
  if (at === undefined) return false;
  answer(box, at);
  return true;
};

/* ---- history ---- */

async function loadHistory(box) {
  if (!state.user) return page.fill(box);
  try {
    showHistory(box, await page.getUser(state.user));
  } catch (e) {
    page.fill(
        box,
        page.el(
            "p", {class: e.status === 404 ? "note" : "bad"},
            e.status === 404 ? "The store does not know this user yet: the first pair makes him." : e.message),
        newPair(box));
  }
}

async function change(box, what, fn) {
  try {
    const answer = await fn();
    page.usersChanged();
    page.tell(answer && answer.note ? what + " " + answer.note : what);
  } catch (e) {
    page.tell("Nothing was changed: " + e.message);
  }
  await loadHistory(box);
}

function newPair(box) {
  const fields =
      ["Question", "Chosen answer", "Rejected answer"].map((label) => [label, page.el("textarea", {rows: 2})]);
  const form = page.el(
      "form", {}, fields.map(([label, area]) => page.field(label, area)),
      page.el("div", {class: "row"}, page.el("button", {type: "submit", class: "main"}, "Add the pair")));
  page.on(form, "submit", (e) => {
    e.preventDefault();
    const [query, chosen, rejected] = fields.map(([, area]) => area.value);
    change(
        box, "The pair is kept.",
        () => page.json("POST", "v1/personal/feedback", {user: state.user, query, chosen, rejected}));
  });
  return page.el("details", {}, page.el("summary", {}, "Add a pair"), form);
}

/* The new pair is kept first, then the old one goes: whatever fails in between, nothing is lost. */
function editPair(box, pair, card) {
  const fields = ["chosen", "rejected"].map((side) => {
    const area = page.el("textarea", {rows: 3});
    area.value = pair[side];
    return [side, area];
  });
  const form = page.el(
      "form", {}, fields.map(([side, area]) => page.field(side === "chosen" ? "Chosen" : "Rejected", area)),
      page.el(
          "div", {class: "row"}, page.el("button", {type: "submit", class: "main"}, "Save"),
          page.button("Turn round", () => {
            const [a, b] = fields.map(([, area]) => area);
            [a.value, b.value] = [b.value, a.value];
          }), page.button("Leave it", () => loadHistory(box))));
  page.on(form, "submit", (e) => {
    e.preventDefault();
    if (fields.every(([side, area]) => area.value === pair[side])) return void loadHistory(box);
    const changed = Object.assign({}, pair, Object.fromEntries(fields.map(([side, area]) => [side, area.value])));
    change(box, "The pair is changed.", async () => {
      await page.json("POST", "v1/personal/feedback", Object.assign({user: state.user}, changed));
      await page.json("POST", "v1/personal/forget_pair", Object.assign({user: state.user}, pair));
    });
  });
  page.fill(card, form);
  fields[0][1].focus();
}

function showHistory(box, user) {
  const pairs = user.history || [];
  const item = (pair, i) => {
    const tools = page.el("div", {class: "row"});
    const card = page.pairCard(pair, i, tools);
    page.fill(tools, page.button("Edit", () => editPair(box, pair, card)), page.button("Remove", async () => {
      if (await page.confirm("Remove choice " + (i + 1) + " of " + state.user + "?", "Remove"))
        change(
            box, "The pair is gone.",
            () => page.json("POST", "v1/personal/forget_pair", Object.assign({user: state.user}, pair)));
    }, "danger"));
    return card;
  };
  page.fill(
      box, page.el("p", {}, pairs.length + " pairs"), newPair(box),
      page.el("ol", {class: "cards plain"}, pairs.map(item)), page.el("h3", {}, "Forget this user"),
      page.el(
          "p", {class: "note"},
          "His pairs and what was computed of them go, their bytes in the file too. It cannot be taken back."),
      page.button("Forget " + page.clip(state.user, 60), async () => {
        if (await page.confirm(
                "Forget " + state.user + " with " + pairs.length + " pairs? This cannot be taken back.", "Forget"))
          change(
              box, state.user + " is forgotten.",
              () => page.json("DELETE", "v1/personal/users/" + encodeURIComponent(state.user)));
      }, "danger"));
}

page.views.feedback = {
  title: "Feedback",
  show: (main) => {
    const queue = page.el("section", {id: "queue", "aria-label": "The queue"});
    const history = page.el("section", {"aria-label": "History"});
    const user = page.userField("User", state.user);
    page.on(user.input, "change", () => {
      state.user = user.input.value.trim();
      loadHistory(history);
    });
    const text =
        page.el("textarea", {rows: 4, placeholder: "{\"query\": \"...\", \"responses\": [\"...\", \"...\"]}"});
    text.value = state.text;
    page.on(text, "input", () => {
      state.text = text.value;
    });
    const file = page.el("input", {type: "file"});
    page.on(file, "change", async () => {
      if (file.files[0]) text.value = state.text = await file.files[0].text();
    });
    page.fill(
        main, page.el("h1", {}, "Feedback"), user.nodes, page.el("h2", {}, "What the judge is least sure of"),
        page.field("Pairs to ask about, a JSON object per line", text), page.field("or a file of them", file),
        page.el("div", {class: "row"}, page.button("Find the least certain", () => fillQueue(queue))), queue,
        page.el("h2", {}, "History"), history);
    showQueue(queue);
    loadHistory(history);
  }
};
})();
