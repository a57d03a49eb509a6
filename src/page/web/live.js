"use strict";
/* live.js - what is known of a verdict before it is there: the readings of slots one after another, chains as they are
 * written. None of it is a verdict, and all of it says so. */
(function() {
const seen = (order) => (order ? "saw " + order.map(page.letter).join(", ") : "");
const provisional = () => page.el("span", {class: "tag provisional"}, "provisional");
const byLetter = (list, what) =>
    list.map((v, i) => typeof v === "number" && page.el("span", {class: "tag"}, page.letter(i), " ", what(v)));

function reading(e) {
  const history = e.of === "history";
  return page.el(
      "li", {class: "card provisional"},
      page.el("h3", {}, history ? "Read of the history" : "Read of the answers"),
      page.el(
          "p", {}, provisional(), e.user && page.el("span", {class: "tag"}, "history of " + e.user),
          !history && page.el("span", {class: "tag"}, seen(e.order))),
      page.el(
          "p", {}, history ?
              e.words.map((w) => page.el("span", {class: "tag"}, w.word, " ", page.percent(w.p))) :
              byLetter(e.digits, (v) => page.number(v, 1) + " of 9")));
}

/* A chain that grows: {node, add: (text), end: (event)} */
function chain(e) {
  const text = page.el("pre", {tabindex: "0", "aria-label": "Text of the chain so far"}), tags = page.el("p");
  const head = () => [provisional(), e.user && page.el("span", {class: "tag"}, "history of " + e.user),
                      page.el("span", {class: "tag"}, seen(e.order))];
  page.fill(tags, head(), page.el("span", {class: "tag"}, "is being written"));
  return {
    node: page.el("li", {class: "card provisional"}, page.el("h3", {}, "Chain " + (e.seed + 1)), tags, text),
    add: (more) => {
      text.append(document.createTextNode(more));
      text.scrollTop = text.scrollHeight;
    },
    end: (last) => page.fill(
        tags, head(),
        last.parsed ? ["this chain alone: ", byLetter(last.scores, (v) => page.number(v))] :
                      page.el("span", {class: "tag bad"}, "failed: " + last.reason))
  };
}

/* {node, take: (event), counted: () => text}; changed() is called when the counts have changed. */
page.live = (changed) => {
  let asked = 0, done = 0;
  const chains = new Map(), list = page.el("ol", {class: "cards plain"});
  const count = page.el("p", {}, "Waiting for the judge …");
  const counted = () => (asked ? done + " of " + asked + " have come" : "waiting");
  const chainOf = (e) => {
    const key = JSON.stringify([e.user, e.seed]);
    if (!chains.has(key)) {
      const made = chain(e);
      chains.set(key, made);
      list.append(made.node);
    }
    return chains.get(key);
  };
  const take = (e) => {
    if (e.object === "personal.piece") return chainOf(e).add(e.text);
    if (e.object === "personal.asked") asked += e.asked;
    if (e.object === "personal.chain") chainOf(e).end(e);
    if (e.object === "personal.reading") list.append(reading(e));
    if (e.object === "personal.chain" || e.object === "personal.reading") done++;
    count.textContent = "No verdict yet: " + counted() + ". What stands here is provisional.";
    changed();
  };
  return {node: page.el("div", {"aria-label": "Provisional", role: "group"}, count, list), take, counted};
};
})();
