"use strict";
/* chains.js - the view Chains: what the judge wrote for the last verdict, chain by chain. */
(function() {
let filter = "All", who = "own";

const winner = (c) => {
  if (!c.parsed) return null;
  const best = Math.max(...c.scores.map((s) => (typeof s === "number" ? s : -Infinity)));
  const at = c.scores.flatMap((s, i) => (s === best ? [i] : []));
  return at.length === 1 ? at[0] : null; /* null: a tie, or none */
};

/* Own chains 2j and 2j + 1 see the same pairs in opposite orders; of a similar user neighbouring ones do. */
const twins = (samples, i) => {
  const own = samples.filter((c) => c.user === samples[i].user), at = own.indexOf(samples[i]);
  return own[at ^ 1];
};

const FILTERS = {
  "All": () => true,
  "Disagree": (c, i, r) => c.parsed && winner(c) !== r.best,
  "Order-flipped": (c, i, r) => {
    const twin = twins(r.samples, i);
    return !!twin && c.parsed && twin.parsed && String(twin.order) !== String(c.order) && winner(c) !== winner(twin);
  },
  "Failed": (c) => !c.parsed,
  "Arithmetic wrong": (c) => c.arithmetic_wrong === true,
};
page.chainFilters = FILTERS;

function card(c, i) {
  return page.el(
      "li", {class: "card"}, page.el("h2", {}, "Chain " + (i + 1)),
      page.el(
          "p", {}, c.user && page.el("span", {class: "tag"}, "history of " + c.user),
          page.el("span", {class: "tag"}, "saw " + c.order.map(page.letter).join(", ")),
          c.parsed ? c.scores.map((s, k) => page.el("span", {class: "tag"}, page.letter(k) + " " + page.number(s))) :
                     page.el("span", {class: "tag bad"}, "failed: " + c.reason),
          c.cut && page.el("span", {class: "tag bad"}, "cut"),
          c.arithmetic_wrong && page.el("span", {class: "tag bad"}, "arithmetic wrong")),
      page.el("pre", {}, c.text));
}

function list(box, r) {
  const shown = r.samples.map((c, i) => [c, i]).filter(([c, i]) => FILTERS[filter](c, i, r));
  page.fill(
      box, page.el("p", {role: "status"}, shown.length + " of " + r.samples.length + " chains"),
      page.el(
          "p", {class: "note"},
          "Answers stand in a chain in the order that it saw: its A is the first of them. Scores above it are by " +
              "this page's letters."),
      page.el("ol", {class: "cards plain"}, shown.map(([c, i]) => card(c, i))));
}

function choice(legend, names, chosen, take) {
  return page.el("fieldset", {}, page.el("legend", {}, legend), names.map(([value, text]) => {
    const input = page.el("input", {type: "radio", name: legend, value, checked: value === chosen});
    page.on(input, "change", () => take(value));
    return page.field(text, input, true);
  }));
}

page.views.chains = {
  title: "Chains",
  show: (main) => {
    const there = Object.entries(page.state.results).filter(([, a]) => a.result && a.result.samples);
    page.fill(main, page.el("h1", {}, "Chains"));
    if (!there.length)
      return void main.append(
          page.el("p", {}, "There is no verdict yet: ", page.el("a", {href: "#verdict"}, "ask for one"), "."));
    if (!there.some(([name]) => name === who)) who = there[0][0];
    const r = page.state.results[who].result, box = page.el("section", {"aria-label": "Chains"});
    const counted =
        Object.keys(FILTERS).map((f) => [f, f + " (" + r.samples.filter((c, i) => FILTERS[f](c, i, r)).length + ")"]);
    main.append(
        page.el("p", {class: "text note"}, page.state.query),
        there.length > 1 ? choice(
                               "Asked as", there.map(([n, a]) => [n, n === "nobody" ? "nobody" : a.name || n]), who,
                               (v) => {
                                 who = v;
                                 page.show();
                               }) :
                           "",
        choice("Show", counted, filter, (v) => {
          filter = v;
          list(box, r);
        }), box);
    list(box, r);
  }
};
})();
