"use strict";
const $ = (id) => document.getElementById(id);
const EXPLAINED = 20, MAX_WORDS = 400;
/* where objects have their text, for the server too */
const TEXT_KEYS = ["text", "content", "page_content", "contents"];
const EXAMPLE = {
  query: "how do I renew my passport",
  candidates: [
    "Opening hours of the public library: Monday to Friday, 9 to 18.",
    "To renew a passport, book an appointment and bring the old document and a photo.",
    "A visa is a mark in a passport that allows its holder to enter a country.",
    "The renewal of an identity card takes about two weeks.",
    "Penguins lay their eggs on the ice and take turns in keeping them warm.",
  ],
};

let asked = 0;

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) made[key] = value;
  made.append(...children);
  return made;
}

function readCandidates() {
  const text = $("candidates").value;
  const whole = text.trim();
  if (whole.startsWith("[")) {
    try { return JSON.parse(whole).map(asDocument); } catch { /* lines, then */ }
  }
  return text.split(/\r?\n/).filter((line) => line.trim()).map((line) => {
    if (line.trim().startsWith("{")) {
      try { return asDocument(JSON.parse(line)); } catch { /* a text that begins with a brace */ }
    }
    return { text: line.trim() };
  });
}

function asDocument(value) {
  if (typeof value === "string") return { text: value };
  const key = TEXT_KEYS.find((name) => typeof value?.[name] === "string");
  if (key === undefined) return { text: JSON.stringify(value) };
  const title = typeof value.title === "string" && value.title ? value.title + " " : "";
  const id = value.id ?? value._id;
  return { text: title + value[key], ...(id === undefined ? {} : { id: String(id) }) };
}

function isLate() { return $("model").selectedOptions[0]?.dataset.kind === "late interaction"; }

function headers() {
  const key = $("key").value.trim();
  return { "content-type": "application/json", ...(key ? { authorization: "Bearer " + key } : {}) };
}

async function ask(route, body) {
  const response = await fetch(route, { method: "POST", headers: headers(), body: JSON.stringify(body) });
  const value = await response.json().catch(() => ({ message: "the server's answer cannot be read" }));
  if (!response.ok) throw new Error(value.message || `status ${response.status}`);
  return value;
}

async function rank() {
  const documents = readCandidates();
  const query = $("query").value;
  $("message").hidden = true;
  $("rank").setAttribute("aria-busy", "true");
  const number = ++asked, begun = performance.now();
  try {
    const late = isLate();
    const answer = await ask("v1/rerank", {
      model: $("model").value, query, documents, extended: true,
      ...(late ? { spans: EXPLAINED, long_documents: $("long").value } : {}),
    });
    if (number !== asked) return; // a later request is on its way
    show(answer, documents, query, performance.now() - begun, late);
    showSame(query, documents);
  } catch (error) {
    $("message").textContent = error.message;
    $("message").hidden = false;
  } finally {
    $("rank").removeAttribute("aria-busy");
    refreshState();
  }
}

function show(answer, documents, query, ms, late) {
  $("summary").textContent = `${answer.results.length} documents, ${answer.usage.total_tokens} tokens, ` +
    `${Math.round(ms)} ms${answer.query_truncated ? "; the query is longer than the model reads" : ""}`;
  $("hits").replaceChildren(...answer.results.map((hit, rank) => showHit(hit, rank, documents[hit.index], query, late)));
}

function showHit(hit, rank, doc, query, late) {
  const moved = hit.index - rank;
  const arrow = moved > 0 ? `↑${moved}` : moved < 0 ? `↓${-moved}` : "=";
  const meter = element("meter", { min: 0, max: 1, value: hit.relevance_score });
  meter.setAttribute("aria-label", "relevance");
  const head = element("div", { className: "head" },
    element("span", { className: "rank", textContent: rank + 1 }),
    element("span", { className: "moved", textContent: `was ${hit.index + 1} ${arrow}` }),
    ...(hit.id === undefined ? [] : [element("span", { className: "id", textContent: hit.id, dir: "auto" })]),
    element("span", { className: "relevance" }, meter, hit.relevance_score.toFixed(3)));
  const text = element("p", { className: "text", dir: "auto" }, ...marked(doc.text, hit));
  const item = element("li", {}, head, text);
  if (hit.truncated) item.append(element("p", { className: "note", textContent: "Longer than the model reads: its end was not read." }));
  if (late) item.append(heatMap(query, doc));
  return item;
}

/* Offsets count code points, and a string of JavaScript counts halves of some of them. */
function marked(text, hit) {
  const points = Array.from(text), parts = [];
  const slice = (start, end) => points.slice(start, end).join("");
  const words = (start, end) => {
    const made = [];
    for (const match of hit.word_matches ?? []) {
      if (match.start < start || match.end > end) continue;
      made.push(slice(start, match.start));
      const strength = Math.min(9, Math.max(0, Math.floor(match.similarity * 10)));
      made.push(element("mark", { className: `s${strength}`, title: match.similarity.toFixed(2), textContent: slice(match.start, match.end) }));
      start = match.end;
    }
    return [...made, slice(start, end)];
  };
  const spans = hit.relevant_spans ?? [];
  const best = Math.max(...spans.map((span) => span.score));
  let position = 0;
  for (const span of spans) {
    parts.push(...words(position, span.start));
    parts.push(element("span", {
      className: span.score === best ? "passage best" : "passage", title: `passage, score ${span.score.toFixed(2)}`,
    }, ...words(span.start, span.end)));
    position = span.end;
  }
  return [...parts, ...words(position, points.length)];
}

function heatMap(query, doc) {
  const body = element("div", { className: "map", tabIndex: 0 });
  const details = element("details", {}, element("summary", { textContent: "Heat map" }), body);
  details.addEventListener("toggle", async () => {
    if (!details.open || body.hasChildNodes()) return;
    try {
      const answer = await ask("explain", { model: $("model").value, query, documents: [doc.text], heat_map: true });
      body.replaceChildren(table(answer.data[0].heat_map, query, doc.text));
    } catch (error) {
      body.textContent = error.message;
    }
  });
  return details;
}

function table(map, query, text) {
  const words = Array.from(query), read = Array.from(text);
  const columns = map.document_words.slice(0, MAX_WORDS);
  const head = element("tr", {}, element("td"), ...columns.map(([start, end]) =>
    element("th", { scope: "col" }, element("span", { dir: "auto", textContent: read.slice(start, end).join("") }))));
  const rows = map.query_words.map(([start, end], row) => element("tr", {},
    element("th", { scope: "row", dir: "auto", textContent: words.slice(start, end).join("") }),
    ...columns.map((_, column) => {
      const value = map.similarities[row][column];
      return element("td", { className: `s${Math.min(9, Math.max(0, Math.floor(value * 10)))}`, title: value.toFixed(2) });
    })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

function showSame(query, documents) {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const model = $("model").value, texts = documents.map((doc) => doc.text);
  const body = JSON.stringify({ model, query, documents: texts }, null, 2);
  const key = $("key").value.trim() ? "YOUR_KEY" : "none";
  $("curl").textContent = `curl ${base}/v1/rerank \\\n  -H 'content-type: application/json' \\\n` +
    (key === "none" ? "" : `  -H 'authorization: Bearer ${key}' \\\n`) + `  -d '${body.replaceAll("'", "'\\''")}'`;
  $("python").textContent = `import cohere\n\nclient = cohere.ClientV2(api_key="${key}", base_url="${base}")\n` +
    `answer = client.rerank(\n    model=${JSON.stringify(model)},\n    query=${JSON.stringify(query)},\n` +
    `    documents=${JSON.stringify(texts, null, 4).replaceAll("\n", "\n    ")},\n)\n` +
    "for result in answer.results:\n    print(result.index, result.relevance_score)";
  $("javascript").textContent = `const response = await fetch("${base}/v1/rerank", {\n  method: "POST",\n` +
    `  headers: { "content-type": "application/json"${key === "none" ? "" : `, authorization: "Bearer ${key}"`} },\n` +
    `  body: JSON.stringify(${body.replaceAll("\n", "\n  ")}),\n});\nconst { results } = await response.json();`;
  $("same").hidden = false;
}

async function refreshState() {
  try {
    const state = await (await fetch("health/ready")).json();
    const speeds = Object.entries(state.tokens_per_s).map(([name, speed]) => `${name}: ${speed.toLocaleString("en")} tokens/s`);
    $("state").textContent = `${state.status} · ${state.queued_requests} waiting (${state.wait_s.toFixed(1)} s) · ${speeds.join(", ")}`;
  } catch {
    $("state").textContent = "the server does not answer";
  }
}

function changed() {
  const count = readCandidates().length;
  $("count").textContent = `${count} candidate${count === 1 ? "" : "s"}`;
  $("long-label").hidden = !isLate();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); rank(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
$("example").addEventListener("click", () => {
  $("query").value = EXAMPLE.query;
  $("candidates").value = EXAMPLE.candidates.join("\n");
  changed();
  $("rank").focus();
});
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (file) $("candidates").value = await file.text();
  changed();
});
$("candidates").addEventListener("input", changed);
$("model").addEventListener("change", changed);
/* A link may carry what to rank behind its "#", which no server sees: #query=…&candidates=… */
const given = new URLSearchParams(location.hash.slice(1));
if (given.has("query")) {
  $("query").value = given.get("query");
  $("candidates").value = given.get("candidates") ?? "";
  rank();
}
changed();
refreshState();
setInterval(() => { if (!document.hidden) refreshState(); }, 5000);
