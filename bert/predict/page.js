"use strict";
// Sends the form to /predict and draws the answer by the task's head. Text of a person or of the
// model only ever becomes text nodes. Offsets count code points, not JavaScript's UTF-16 units.

const form = document.getElementById("form");
const boxes = [...form.querySelectorAll("textarea")];
const [result, state, error, head, answer] = ["result", "status", "error", "headline", "answer"].map(
  (id) => document.getElementById(id),
);
const COLOURS = ["blue", "rust", "green", "violet", "ochre", "grey"];
let asked = 0;

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const percent = (share) => (100 * share).toFixed(1) + " %";

function bar(name, share, kind = "div", colour = "blue") {
  const fill = node("span", { class: "fill " + colour });
  fill.style.width = 100 * share + "%";
  const track = node("span", { class: "track", "aria-hidden": "true" }, fill);
  const parts = [node("span", { class: "name" }, name), track, node("span", { class: "share" }, percent(share))];
  return node(kind, kind === "button" ? { class: "bar", type: "button" } : { class: "bar" }, ...parts);
}

const list = (rows) => node("ol", { class: "bars" }, ...rows.map((row) => node("li", {}, row)));
const headline = (words, small) => node("p", { class: "headline" }, words, node("small", {}, small));
const heading = (words) => node("h3", {}, words);

/** The text with parts marked; spans in rising order, without overlap. */
function marked(text, spans, draw) {
  const points = Array.from(text);
  const box = node("p", { class: "text", tabindex: "0", role: "region", "aria-label": "Marked text" });
  let at = 0;
  for (const span of spans) {
    box.append(points.slice(at, span.start).join(""));
    box.append(draw(points.slice(span.start, span.end).join(""), span));
    at = span.end;
  }
  box.append(points.slice(at).join(""));
  return box;
}

function drawSpan(found, sent) {
  const place = node("div");
  const rows = found.n_best.map((one) => bar(one.text || "no answer", one.probability, "button"));
  const show = (index) => {
    const one = found.n_best[index];
    rows.forEach((row, i) => row.setAttribute("aria-pressed", String(i === index)));
    const box = marked(sent.context, one.text ? [one] : [], (words) => node("mark", {}, words));
    place.replaceChildren(box);
    const mark = box.querySelector("mark");
    if (mark) box.scrollTop = mark.offsetTop - box.clientHeight / 2;
  };
  rows.forEach((row, index) => row.addEventListener("click", () => show(index)));
  const chosen = found.n_best.findIndex((one) => one.start === found.start && one.end === found.end);
  const words = found.answer || "No answer stands in the text";
  const parts = [headline(words, percent(found.score)), place];
  if (rows.length) parts.push(heading("Best answers"), list(rows));
  show(Math.max(chosen, 0));
  return parts;
}

function drawSentence(found) {
  const shares = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
  const rows = shares.map(([label, share]) => bar(label, share));
  rows[0].classList.add("best");
  return [headline(found.label, percent(found.probabilities[found.label])), heading("All labels"), list(rows)];
}

const drawValue = (found) => [headline(found.value.toFixed(2), "the model's number for the pair")];

function drawTokens(found) {
  const kinds = JSON.parse(form.dataset.kinds);
  const colour = (label) => COLOURS[kinds.indexOf(label) % COLOURS.length] || "grey";
  const tagged = (words, one) =>
    node("mark", { class: "entity " + colour(one.label) }, words, node("span", { class: "tag" }, one.label));
  const count = found.entities.length;
  const parts = [headline(count === 1 ? "1 entity" : (count || "No") + " entities", ""), marked(found.text, found.entities, tagged)];
  if (count) {
    const rows = found.entities.map((one) => bar(`${one.text} (${one.label})`, one.score, "div", colour(one.label)));
    parts.push(heading("How sure of each"), list(rows));
  }
  return parts;
}

const DRAW = { span: drawSpan, sentence: drawSentence, value: drawValue, token: drawTokens };

function complain(words) {
  state.textContent = "";
  error.textContent = words;
  error.hidden = false;
}

function missing() {
  const empty = boxes.filter((box) => !box.value.trim());
  boxes.forEach((box) => box.setAttribute("aria-invalid", String(empty.includes(box))));
  if (!empty.length) return false;
  empty[0].focus();
  complain(empty.map((box) => box.labels[0].textContent).join(" and ") + ": write something first.");
  return true;
}

async function ask() {
  const mine = ++asked;
  error.hidden = true;
  head.replaceChildren();
  answer.replaceChildren();
  if (missing()) return;
  state.textContent = "The model reads …";
  const sent = Object.fromEntries(boxes.map((box) => [box.name, box.value]));
  const began = performance.now();
  try {
    const headers = { "Content-Type": "application/json" };
    const reply = await fetch("/predict", { method: "POST", headers, body: JSON.stringify(sent) });
    const found = await reply.json();
    if (mine !== asked) return;
    if (!reply.ok) return complain(found.error);
    const [first, ...rest] = DRAW[form.dataset.head](found, sent);
    head.replaceChildren(first);
    answer.replaceChildren(...rest);
    for (const words of found.notes) answer.append(node("p", { class: "note" }, words));
    // On a narrow screen the answer stands below the form, out of sight.
    if (result.getBoundingClientRect().top > 0.7 * innerHeight) result.scrollIntoView();
    state.textContent = `Answered in ${Math.round(performance.now() - began)} ms.`;
  } catch (problem) {
    if (mine === asked) complain(`No answer from the server (${problem.message}). Is it still running?`);
  }
}

function fill(values) {
  for (const box of boxes) if (values[box.name] !== undefined) box.value = values[box.name];
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
for (const example of document.querySelectorAll(".example")) {
  example.addEventListener("click", () => {
    fill(JSON.parse(example.dataset.values));
    ask();
  });
}

// A link may bring the texts along: /?question=...&context=...
const given = Object.fromEntries(new URLSearchParams(location.search));
fill(given);
if (boxes.every((box) => given[box.name])) ask();
