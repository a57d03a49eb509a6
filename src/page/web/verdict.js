"use strict";
/* verdict.js - the view Verdict: a question and answers are judged for a user, for a stranger and for nobody. */
(function() {
const state = page.state = {
  user: "",
  choices: null, /* of a person who is in no store: the example's */
  query: "",
  responses: ["", ""],
  compare: true,
  ind: "",
  pro: "",
  seconds: 60,
  results: {},
  history: [],
  running: null
};

const EXAMPLE = {
  choices: [
    {
      query: "My sourdough came out flat. What went wrong?",
      chosen: "Most likely the dough was under-proofed. Press it with a wet finger: if the dent springs back at once, " +
          "wait another hour.",
      rejected: "There are many possible reasons for a flat sourdough loaf! Baking is both a science and an art. " +
          "Let's explore the full list together:\n\n1. **Starter activity**: a weak starter may not lift the " +
          "dough.\n2. **Hydration**: wetter doughs spread more.\n3. **Flour**: protein content varies.\n\nI hope " +
          "this helps, and happy baking!"
    },
    {
      query: "How do I tell my landlord that the heating is broken again?",
      chosen: "Write, don't call, so there is a date on it: \"The heating in flat 3 has been off since Monday " +
          "12 January, for the third time this winter. Please have it repaired by Friday.\" Attach one photo of the " +
          "thermostat.",
      rejected: "I'm sorry to hear about your heating trouble! That must be very uncomfortable. It may be worth having " +
          "an open and friendly conversation with your landlord about your needs."
    },
    {
      query: "Explain what a heat pump does.",
      chosen: "It is a fridge run backwards: it collects warmth outside, even from cold air, and moves it indoors. One " +
          "unit of electricity gives about three units of warmth.",
      rejected: "A heat pump operates on the vapour-compression refrigeration cycle, in which a working fluid undergoes " +
          "evaporation, compression, condensation and expansion."
    },
    {
      query: "Give me ideas for a birthday present for my brother, he likes cycling. Budget 30 euros.",
      chosen: "A multitool that fits a saddle bag (about 25 euros). If he has one: a pair of merino socks and a patch " +
          "kit, together 28.",
      rejected: "What a lovely thought! Here are twenty gift ideas for cyclists, sorted by category, so that you can " +
          "pick what suits him best: accessories, clothing, books, experiences, subscriptions..."
    }
  ],
  query: "I have 40 minutes tonight and want to cook something warm for two from chickpeas. What should I make?",
  responses: [
    "Chickpea and spinach stew, 30 minutes. Fry an onion and two cloves of garlic for 5 minutes, add cumin, paprika, " +
        "a tin of tomatoes and a tin of chickpeas. Simmer for 15 minutes, stir in 200 g of spinach, and " +
        "serve with bread.",
    "Chickpeas are an incredibly versatile ingredient with a long history in many cuisines! There are lots of " +
        "directions you " +
        "could take: curries, stews, salads, and of course hummus. Would you like me to suggest some cuisines first?"
  ]
};

/* ---- the form ---- */

function responsesField(box) {
  const areas = state.responses.map((text, i) => {
    const area = page.el("textarea", {rows: 3});
    area.value = text;
    page.on(area, "input", () => {
      state.responses[i] = area.value;
    });
    return page.field("Answer " + page.letter(i), area);
  });
  page.fill(box, areas, page.el("div", {class: "row"}, page.button("One more answer", () => {
    state.responses.push("");
    responsesField(box);
  }), state.responses.length > 2 && page.button("One less", () => {
    state.responses.pop();
    responsesField(box);
  })));
}

/* Choices that go with the question, of a person whom no store knows. */
function choicesField(box) {
  if (!state.choices) return page.fill(box);
  page.fill(
      box,
      page.el(
          "details", {}, page.el("summary", {}, "For the example's person, who made " + state.choices.length + " choices"),
          state.choices.map(
              (p) => page.el(
                  "blockquote", {class: "text"}, page.el("strong", {}, p.query), page.el("br"),
                  page.clip(p.chosen, 160), page.el("br"), page.el("span", {class: "note"}, "rather than: "),
                  page.clip(p.rejected, 160))),
          page.button("For nobody", () => {
            state.choices = null;
            choicesField(box);
          })));
}

function numberField(label, key, min, max, help) {
  const input = page.el("input", {type: "number", class: "short", min, max, value: state[key]});
  page.on(input, "input", () => {
    state[key] = input.value;
  });
  return page.el("div", {}, page.field(label, input), page.el("p", {class: "note"}, help));
}

function form() {
  const user = page.userField("User (nobody where empty)", state.user);
  const choices = page.el("div");
  choicesField(choices);
  page.on(user.input, "input", () => {
    state.user = user.input.value.trim();
    if (!state.user || !state.choices) return;
    state.choices = null;
    choicesField(choices);
  });
  const query = page.el("textarea", {rows: 2});
  query.value = state.query;
  page.on(query, "input", () => {
    state.query = query.value;
  });
  const answers = page.el("div");
  responsesField(answers);
  const compare = page.el("input", {type: "checkbox", checked: state.compare});
  page.on(compare, "change", () => {
    state.compare = compare.checked;
  });
  const all = page.el(
      "form", {}, user.nodes, choices, page.field("Question", query), answers,
      page.field("Ask as a stranger and as nobody, too", compare, true),
      page.el(
          "details", {}, page.el("summary", {}, "Settings"),
          page.el(
              "div", {class: "cards"}, numberField("Chains (ind)", "ind", 0, 1024, "empty: the server's own"),
              numberField("of similar users (pro)", "pro", 0, 1024, "needs prototypes"),
              numberField("Seconds", "seconds", 1, 86400, "what is there by then is the answer"))),
      page.el(
          "div", {class: "row"}, page.el("button", {type: "submit", class: "main"}, "Judge"),
          page.button("An example", () => {
            Object.assign(state, {query: EXAMPLE.query, responses: EXAMPLE.responses.slice()});
            state.choices = state.user ? null : EXAMPLE.choices;
            page.show();
          })));
  page.on(all, "submit", (e) => {
    e.preventDefault();
    judge();
  });
  return all;
}

/* ---- asking ---- */

/* person: {id} of the store, or {name, history} */
function request(person) {
  const body = {
    query: state.query,
    responses: state.responses.slice(),
    chains: true,
    stream: true,
    deadline_s: Number(state.seconds) || 60
  };
  body.user = person.id ? {id: person.id} : {history: person.history || []};
  if (state.ind !== "") body.ind = Number(state.ind);
  if (state.pro !== "" && person.id) body.pro = Number(state.pro);
  return body;
}
page.judgeAs = (user, query, responses, signal) => page.json(
    "POST", "v1/personal/score", {user: user ? {id: user} : {history: []}, query, responses, deadline_s: 60}, signal);

/* Somebody else, always the same for this user and question; to the example's person, who chose the other way. */
async function stranger() {
  if (state.choices)
    return {
      name: "who chose the other way",
      history: state.choices.map((p) => ({query: p.query, chosen: p.rejected, rejected: p.chosen}))
    };
  const others = (await page.users()).filter((u) => u.id !== state.user && u.pairs > 0);
  return others.length ? {id: others[(state.user.length * 7 + state.query.length) % others.length].id} : null;
}

let box = null; /* where the verdict is shown now */

async function askAs(who, person, running) {
  const user = person.id || "", name = person.name || user;
  const from = performance.now(), current = () => state.running === running && box && box.isConnected;
  const live = page.live(() => current() && showBeside());
  state.results[who] = {user, name, live};
  if (current()) showResult();
  if (current() && who === "own") box.scrollIntoView({block: "nearest"});
  try {
    let result = null;
    await page.events("v1/personal/score", request(person), running.signal, (e) => {
      if (e.object === "personal.result")
        result = e.result;
      else
        live.take(e);
    });
    if (!result) throw new Error("The answer has no verdict.");
    state.results[who] = {user, name, result, seconds: (performance.now() - from) / 1000};
  } catch (e) {
    state.results[who] = {user, name, error: e.name === "AbortError" ? "stopped" : e.message};
  }
  if (current() && who === "own") showResult();
  if (current() && who !== "own") showBeside();
}

async function judge() {
  if (state.running) state.running.abort();
  const running = state.running = new AbortController();
  state.results = {};
  state.history = state.choices || [];
  if (!state.query.trim() || state.responses.some((r) => !r.trim())) {
    page.fill(
        box,
        page.el(
            "p", {class: "bad", role: "alert"},
            "A question and at least two answers are needed: one of them is empty."));
    return;
  }
  page.tell("Judging …");
  try {
    if (state.user) state.history = (await page.getUser(state.user)).history || [];
  } catch (e) { /* a user whom the store does not know is judged without a history */
  }
  const other = state.compare ? await stranger().catch(() => null) : null;
  if (state.running !== running) return;
  const own = state.choices ? {name: "of the example", history: state.choices} : {id: state.user};
  const asked = [askAs("own", own, running)];
  if (state.compare && other) asked.push(askAs("stranger", other, running));
  if (state.compare && (state.user || state.choices)) asked.push(askAs("nobody", {}, running));
  await Promise.all(asked);
  if (state.running !== running) return;
  state.running = null;
  const there = state.results.own;
  page.tell(there.error ? "" : "Judged in " + page.number(there.seconds, 1) + " s: " + headline(there.result));
}

/* ---- the verdict ---- */

const NAMES = {
  own: "As this user",
  stranger: "As a stranger",
  nobody: "As nobody"
};

function headline(r) {
  if (r.best === null) return "No verdict: no chain could be read";
  if (r.tie) return "A tie";
  const sure = typeof r.confidence === "number" ? " (" + page.percent(r.confidence) + " sure)" : "";
  return "Answer " + page.letter(r.best) + " is preferred" + sure;
}

function responseCards(r) {
  return page.el("div", {class: "cards"}, r.responses.map((s, i) => {
    const scores = (r.samples || []).map((c) => (c.parsed ? c.scores[i] : null)).filter((v) => typeof v === "number");
    return page.el(
        "section", {class: r.best === i ? "card best" : "card", "aria-label": "Answer " + page.letter(i)},
        page.el(
            "h3", {}, "Answer " + page.letter(i),
            r.best === i && !r.tie && page.el("span", {class: "good"}, " – preferred")),
        page.el(
            "p", {}, page.el("span", {class: "big"}, page.number(s.score)), " of 10, ± ", page.number(s.se),
            typeof s.win === "number" && ["; preferred with ", page.percent(s.win)]),
        page.bar((s.score - 1) / 9), page.strip(scores, s.score), s.reason && page.el("p", {class: "bad"}, s.reason),
        page.el("p", {class: "text note"}, page.clip(state.responses[i] || "", 400)));
  }));
}

function evidence(criterion) {
  const found = page.quotes(criterion.reason, state.history);
  if (!found.length) return page.el("span", {class: "text"}, criterion.reason || "");
  return page.el(
      "details", {}, page.el("summary", {}, page.clip(criterion.reason, 90)),
      found.map(
          (q) => page.el(
              "blockquote", {class: "text"},
              page.el(
                  "strong", {}, "Choice " + q.pair + ", " + (q.side === "query" ? "the question" : q.side) + ": "),
              page.clip(q.text, 600))));
}

function rubric(r) {
  const shown = r.criteria || [];
  if (!shown.length) return null;
  return page.table(
      "The rubric, merged over " + r.rubric_chains + " chains: weights sum to 100",
      [
        {title: "criterion", cell: (c) => [c.name, c.contested && page.el("span", {class: "bad"}, " contested")]},
        {title: "weight", cell: (c) => [page.number(c.weight, 1), page.bar(c.weight / 100)]},
        ...r.responses.map((_, i) => ({
                             title: "answer " + page.letter(i),
                             cell: (c) => [page.number(c.scores[i], 1), page.bar((c.scores[i] - 1) / 9)]
                           })),
        {title: "evidence", cell: evidence}
      ],
      shown);
}

function beside() {
  const all = Object.entries(state.results);
  if (all.length < 2) return null;
  const value = (fn) => ([, a]) =>
      (a.result    ? fn(a.result) :
           a.error ? page.el("span", {class: "bad"}, a.error) :
                     "…");
  const verdict = ([who, a]) => (a.live ? "no verdict yet, " + a.live.counted() : value(headline)([who, a]));
  return [
    page.el("h2", {}, "The same question as somebody else"),
    page.table(
        "Who is asked for changes the verdict where it is personal",
        [
          {title: "asked", cell: ([who, a]) => [NAMES[who], a.name && " (" + a.name + ")"]},
          {title: "verdict", cell: verdict},
          ...state.responses.map((_, i) => ({
                                   title: page.letter(i),
                                   number: true,
                                   cell: value((r) => (r.responses[i] ? page.number(r.responses[i].score) : "–"))
                                 })),
          {title: "persona", cell: value((r) => r.persona || "–")}
        ],
        all)
  ];
}

/* The numbers of the neighbours are those of the table. */
async function map(box, r) {
  const near = (r.neighbours || []).map((n) => n.user), body = {neighbours: near};
  if (state.results.own.user) body.user = state.results.own.user;
  if (typeof r.prototype === "number") body.prototype = r.prototype;
  try {
    const svg = await page.blob("POST", "v1/personal/map", body);
    const image = page.el("img", {class: "map", alt: ""});
    image.alt = "Map of users and their prototypes: the user, his prototype and " + near.length +
        " similar users are marked by the numbers of the table";
    image.src = URL.createObjectURL(svg);
    page.on(image, "load", () => URL.revokeObjectURL(image.src));
    box.append(image);
  } catch (e) {
    box.append(page.el("p", {class: "note"}, "No map: " + e.message));
  }
}

function neighbours(r) {
  const box = page.el("details", {}, page.el("summary", {}, "Prototypes and similar users"));
  if (typeof r.prototype === "number") box.append(page.el("p", {}, "The user's prototype: " + (r.prototype + 1)));
  if ((r.neighbours || []).length)
    box.append(page.table(
        "Who was asked as similar",
        [
          {title: "on the map", number: true, cell: (n) => r.neighbours.indexOf(n) + 1},
          {title: "user", cell: (n) => n.user},
          {title: "similarity", number: true, cell: (n) => page.number(n.similarity)},
          {title: "weight", number: true, cell: (n) => page.number(n.weight)},
          {title: "chains", number: true, cell: (n) => n.n}
        ],
        r.neighbours));
  else
    box.append(page.el("p", {class: "note"}, "Nobody similar was asked: set “of similar users” for that."));
  let drawn = false;
  page.on(box, "toggle", () => {
    if (box.open && !drawn) map(box, r);
    drawn = drawn || box.open;
  });
  return box;
}

function tags(r) {
  const c = r.chains || {}, n = (c.ind ? c.ind.parsed : 0) + (c.pro ? c.pro.parsed : 0);
  return page.el("p", {}, [
    n + " chains read", r.agree + " prefer it", "order turns " + page.percent(c.flip_rate),
    "arithmetic wrong " + page.percent(c.arithmetic_wrong), !r.calibrated && "not calibrated",
    r.cold_start && "no history of this user"
  ].filter(Boolean).map((t) => page.el("span", {class: "tag"}, t)));
}

let others = null; /* the table of `beside` */
function showBeside() {
  if (others) page.fill(others, beside());
}

function showResult() {
  const own = state.results.own;
  if (!own) return;
  others = page.el("div", {}, beside());
  if (own.live)
    return void page.fill(
        box, page.el("h2", {}, "Judging …"),
        page.el("div", {class: "row"}, page.button("Stop", () => state.running && state.running.abort())),
        own.live.node, others);
  if (own.error) return void page.fill(box, page.el("p", {class: "bad", role: "alert"}, own.error), others);
  const r = own.result;
  page.fill(
      box, page.el("h2", {}, headline(r)), tags(r), r.persona && page.el("blockquote", {class: "text"}, r.persona),
      responseCards(r), page.el("h2", {}, "Why"), rubric(r), others, neighbours(r),
      page.el("p", {}, page.el("a", {href: "#chains"}, "The chains"), ", one by one"));
}

page.views.verdict = {
  title: "Verdict",
  show: (main) => {
    box = page.el("section", {"aria-label": "The verdict"});
    page.fill(
        main, page.el("h1", {}, "Verdict"),
        page.el("p", {class: "note"}, "Which answer would this user prefer, and why?"), form(), box);
    showResult();
  }
};
})();
