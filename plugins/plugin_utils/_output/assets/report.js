// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: Headcount contributors
"use strict";
(() => {
  const CHUNK = 60;
  const main = document.getElementById("report");
  const SVG = "http://www.w3.org/2000/svg";

  // An element with its attributes and children; text is never read as HTML.
  function el(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function shape(name, attributes = {}, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  }

  const shown = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
    if (Array.isArray(value)) return value.map(shown).join(", ");
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };

  function table(head, rows, right = []) {
    const side = (place) => (right.includes(place) ? "right" : null);
    return el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ...head.map((name, place) => el("th", { scope: "col", class: side(place) }, name)))),
      el("tbody", {}, ...rows.map((row) => el("tr", { class: row.kind || null },
        ...row.cells.map((cell, place) => el("td", { class: side(place) }, ...[].concat(cell)))))),
    ));
  }

  // A part of the data, unpacked once. All but the first may stand further on in a file that is still being read.
  const parts = new Map();
  const whole = new Promise((done) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done, { once: true });
    else done();
  });

  function read(name) {
    if (!parts.has(name)) parts.set(name, unpack(name));
    return parts.get(name);
  }

  async function unpack(name) {
    if (!document.getElementById(name)) await whole;
    const letters = atob(document.getElementById(name).textContent);
    const bytes = new Uint8Array(letters.length);
    for (let place = 0; place < bytes.length; place++) bytes[place] = letters.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // -- what is opened of a row ------------------------------------------------------------------------------------

  function curves(data, row) {
    const found = Object.entries(row.curves).filter(([, values]) => values.length);
    if (!found.length) return null;
    const width = 720, height = 240, left = 52, right = 26, bottom = 26, top = 10;
    const limits = [[0.5, row.p50_limit_ms], [0.95, row.p95_limit_ms], [0.99, row.p99_limit_ms]]
      .filter(([, limit]) => limit !== null && limit !== undefined);
    const most = Math.max(...found.flatMap(([, values]) => values), ...limits.map(([, limit]) => limit)) * 1.05;
    const least = Math.max(0.1, Math.min(...found.flatMap(([, values]) => values)) * 0.9);
    const x = (place) => left + place * (width - left - right) / (data.points.length - 1);
    const scale = Math.log(most / least) || 1;
    const y = (ms) => height - bottom - (height - bottom - top) * Math.log(Math.max(ms, least) / least) / scale;
    const label = "Latency in ms by the share of requests that took no longer";
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, width, height });
    for (let step = 0; step <= 4; step++) {
      const ms = least * Math.exp(scale * step / 4);
      svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: y(ms), y2: y(ms) }));
      svg.append(shape("text", { x: left - 6, y: y(ms) + 4, "text-anchor": "end" }, ms < 10 ? ms.toFixed(1) : ms.toFixed(0)));
    }
    data.points.forEach((point, place) => {
      svg.append(shape("text", { x: x(place), y: height - 8, "text-anchor": "middle" }, `${shown(point * 100)} %`));
    });
    for (const [name, values] of found) {
      const line = values.map((ms, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(ms).toFixed(1)}`).join("");
      svg.append(shape("path", { class: `curve ${name}`, d: line }));
    }
    for (const [point, limit] of limits) {
      const place = x(data.points.indexOf(point));
      const mark = shape("path", { class: "limit", d: `M${place - 16} ${y(limit)}h32` });
      mark.append(shape("title", {}, `limit of p${point * 100}: ${limit} ms`));
      svg.append(mark);
    }
    const keys = found.flatMap(([name]) => [el("span", { class: `key ${name}` }), name]);
    if (limits.length) keys.push(el("span", { class: "key limit" }), "limit");
    const columns = ["", ...data.points.map((point) => `${shown(point * 100)} %`)];
    return [el("h3", {}, "Latency, ms"), el("p", { class: "aside" }, ...keys),
      el("div", { class: "scroll" }, svg),
      table(columns, found.map(([name, values]) => ({ cells: [name, ...values.map(shown)] })),
        data.points.map((_, place) => place + 1))];
  }

  function checks(row) {
    if (!row.checks) return null;
    const interval = (bounds) => (bounds || []).some((bound) => bound !== null)
      ? bounds.map((bound) => (bound === null ? "∞" : shown(bound))).join(" … ") : "";
    return [el("h3", {}, "Checks of the verdict"), table(
      ["check", "outcome", "value", "limit", "interval", "in words"],
      row.checks.map((check) => ({ cells: [check.name, el("span", { class: `outcome-${check.outcome}` }, check.outcome || ""),
        shown(check.value), shown(check.limit), interval(check.bounds), check.sentence || ""] })), [2, 3, 4])];
  }

  function failed(row) {
    if (!row.failed_requests) return null;
    const rows = row.failed_requests.map((one) => ({ cells: [one.request, one.answered, one.cause,
      el("pre", {}, (one.log || []).join("\n"))] }));
    return [el("h3", {}, "Paths that failed, asked again"), table(["path", "answer", "cause", "logged meanwhile"], rows, [])];
  }

  function plan(row) {
    if (!row.plan.length) return null;
    const before = row.before || {}, recommended = row.recommended || {};
    const anew = Object.keys(recommended).length > 0;
    const rows = row.plan.map((setting) => {
      const old = setting.name in before ? shown(before[setting.name]) : "";
      const changed = setting.name in before && old !== shown(setting.value);
      const limits = (setting.limits || []).map((limit) =>
        el("li", {}, `${limit.name}: ${shown(limit.value)}${limit.name === setting.winner ? " (decides)" : ""} `,
          el("span", { class: "reason" }, limit.reason)));
      const why = limits.length
        ? el("details", {}, el("summary", {}, setting.reason), el("ul", {}, ...limits)) : setting.reason;
      const better = setting.name in recommended ? shown(recommended[setting.name]) : "";
      return { kind: changed || setting.name in recommended ? "changed" : null,
        cells: [setting.name, anew ? better : old, shown(setting.value), setting.unit || "", setting.origin, why] };
    });
    const inputs = row.inputs.map((input) => ({ cells: [input.name, shown(input.value), input.origin || "", input.source || ""] }));
    return [el("h3", {}, "Plan"),
      table(["setting", anew ? "recommended" : row.before ? "before" : "", "value", "unit", "origin", "why"], rows, [1, 2]),
      ...(row.warnings.length ? [el("ul", {}, ...row.warnings.map((words) => el("li", {}, words)))] : []),
      el("h3", {}, "What it started from"), table(["input", "value", "origin", "source"], inputs, [1])];
  }

  function memory(row) {
    const arms = [["candidate", row.memory], ["live", row.live_memory]].filter(([, found]) => found);
    if (!arms.length) return null;
    const names = [["peak_mib", "peak MiB"], ["limit_mib", "MemoryMax MiB"], ["after_warmup_mib", "after warm-up MiB"],
      ["pss_mib", "PSS MiB"], ["uss_mib", "USS MiB"], ["oom_kills", "OOM kills"], ["restarts", "workers lost"],
      ["recycled", "recycled"], ["cpu_seconds", "CPU s"]];
    const rows = names.map(([key, words]) => ({ cells: [words, ...arms.map(([, found]) => shown(found[key]))] }));
    return [el("h3", {}, "Memory under load"), table(["", ...arms.map(([name]) => name)], rows, [1, 2]),
      el("p", { class: "aside" }, row.memory_source || "")];
  }

  function paths(row) {
    if (!row.paths) return null;
    const rows = row.paths.map((path) => ({ cells: [path.name, shown(path.requests), shown(path.failures),
      shown(path.p50_ms), shown(path.p95_ms)] }));
    return [el("h3", {}, "Paths"), table(["path", "requests", "failed", "p50 ms", "p95 ms"], rows, [1, 2, 3, 4])];
  }

  function drift(row) {
    if (!row.drift) return null;
    return [el("h3", {}, "Before this run not as it was tuned for, or declared"), el("ul", {}, ...row.drift.map((text) => el("li", {}, text)))];
  }

  function history(row) {
    if (!row.history) return null;
    const rows = [...row.history].reverse().map((event) => {
      const to = event.to === undefined ? event.generation : event.to;
      const about = event.from !== undefined && event.from !== null ? `${shown(event.from)} → ${shown(to)}` : shown(to);
      const bad = ["failed", "rollback_failed", "reverted"].includes(event.event);
      return { cells: [event.time.slice(0, 19).replace("T", " "), el("span", { class: bad ? "outcome-fail" : null }, event.event),
        about, event.verdict || "", [event.user, event.controller].filter(Boolean).join("@"), event.cause || event.evidence || ""] };
    });
    return [el("h3", {}, "History before this run"), table(["time", "event", "generation", "verdict", "by", "why"], rows)];
  }

  function loadTests(row) {
    if (!row.load_tests) return null;
    const rows = row.load_tests.map((test) => ({ cells: [test.time.slice(0, 16).replace("T", " "), test.generation,
      shown(test.rate), test.outcome, shown(test.p50_ms), shown(test.p95_ms), shown(test.p99_ms),
      test.requests === null ? "" : `${test.failures} of ${test.requests}`, shown(test.memory_mib), test.why] }));
    return [el("h3", {}, "Load tests"), table(["began", "generation", "requests/s", "came to", "p50 ms", "p95 ms", "p99 ms",
      "failed", "MiB after it", "why"], rows, [1, 2, 4, 5, 6, 7, 8])];
  }

  function steps(row) {
    if (!row.steps) return null;
    if (!row.steps.length) return null;
    return [el("h3", {}, "Steps"), table(["step", "seconds", "came to"], row.steps.map((step) => ({
      cells: [step.phase, shown(step.seconds), step.ok ? "well" : el("span", { class: "outcome-fail" }, step.cause || "failed")],
    })), [1])];
  }

  function words(row) {
    const told = [row.cause, row.revert_cause, row.mismatch, row.verdict_cause, ...(row.reasons || []), ...(row.notes || [])];
    return el("ul", {}, ...told.filter(Boolean).map((text) => el("li", {}, text)));
  }

  // The row in full: what is shown of it in the table, and what its part of the data has beside that.
  async function full(data, row) {
    const [part, steps] = await Promise.all([read(`rows-${Math.floor(row.place / data.part)}`), read("steps")]);
    const told = part.rows[row.place % data.part];
    return { ...told, ...part.plans[told.plan], steps: steps[row.place] };
  }

  function detail(data, row) {
    const shown = [words(row), curves(data, row), checks(row), failed(row), memory(row), paths(row), drift(row), loadTests(row), plan(row), steps(row),
      history(row)];
    return shown.flat().filter(Boolean);
  }

  // -- the fleet's table: rows are made when they come into sight ---------------------------------------------------

  function fleet(data) {
    const state = { column: null, down: false, text: "", status: "", made: 0, wanted: data.rows };
    const open = new Set();
    const body = el("tbody");
    const end = el("div");
    const count = el("span", { class: "aside", role: "status" });

    const words = new Intl.Collator("en", { numeric: true });
    const compare = (one, other) => {
      const pair = [one, other].map((row) => row.cells[state.column]);
      const numbers = pair.map(parseFloat);
      const order = data.right.includes(state.column) && numbers.every((value) => !Number.isNaN(value))
        ? numbers[0] - numbers[1] : words.compare(...pair);
      return state.down ? -order : order;
    };

    function line(row) {
      const key = `${row.host}/${row.app || ""}`;
      const button = el("button", { type: "button", "aria-expanded": String(open.has(key)) }, row.cells[0]);
      const made = el("tr", { class: row.tone, id: key }, ...row.cells.map((cell, place) => {
        const head = data.header[place];
        const link = head === "URL" && /^https?:/.test(cell) ? el("a", { href: cell, rel: "noreferrer" }, cell) : cell;
        return el("td", { class: head === "verdict" ? "verdict" : data.right.includes(place) ? "right" : null },
          place ? link : button);
      }));
      let below = null;
      const toggle = async (wanted) => {
        button.setAttribute("aria-expanded", wanted);
        below?.remove();
        below = null;
        if (!wanted) {
          open.delete(key);
          return;
        }
        open.add(key);
        const inside = el("div");
        const own = below = el("tr", { class: "detail" }, el("td", { colspan: data.header.length }, inside));
        try {
          inside.append(...detail(data, await full(data, row)));
        } catch (error) {
          inside.append("This part of the file cannot be read: it was cut or damaged.");
          console.error(error);
        }
        if (below === own) made.after(own);
      };
      button.addEventListener("click", () => toggle(!below));
      return { made, opened: () => open.has(key) && toggle(true) };
    }

    function more(rows) {
      const next = state.wanted.slice(state.made, state.made + rows).map(line);
      body.append(...next.map(({ made }) => made));
      next.forEach(({ opened }) => opened());
      state.made += next.length;
    }

    const sight = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting) && state.made < state.wanted.length) {
        more(CHUNK);
        sight.unobserve(end);
        sight.observe(end);
      }
    }, { rootMargin: "100000000px 0px 600px 0px" });  // also when somebody has jumped past it

    function anew() {
      const asked = state.text.toLowerCase().split(/\s+/).filter(Boolean);
      state.wanted = data.rows.filter((row) => (!state.status || row.status === state.status)
        && asked.every((part) => row.search.includes(part)));
      if (state.column !== null) state.wanted = [...state.wanted].sort(compare);
      body.replaceChildren();
      state.made = 0;
      more(CHUNK);
      sight.unobserve(end);
      sight.observe(end);
      count.textContent = state.wanted.length === data.rows.length
        ? `${data.rows.length} rows` : `${state.wanted.length} of ${data.rows.length} rows`;
    }

    data.rows.forEach((row, place) => { row.place = place; });
    for (const row of data.rows) row.search = [...row.cells, row.status, row.cause || ""].join("\n").toLowerCase();
    const heads = data.header.map((name, place) => {
      const head = el("th", { scope: "col", class: data.right.includes(place) ? "right" : null });
      head.append(el("button", { type: "button", onclick: () => {
        state.down = state.column === place && !state.down;
        state.column = place;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        anew();
      } }, name));
      return head;
    });
    const filter = el("input", { type: "search", placeholder: "host, app, verdict, cause ...", "aria-label": "Filter",
      oninput: (event) => { state.text = event.target.value; anew(); } });
    const statuses = [...new Set(data.rows.map((row) => row.status))].sort();
    const choice = el("select", { "aria-label": "Status", onchange: (event) => { state.status = event.target.value; anew(); } },
      el("option", { value: "" }, "every status"), ...statuses.map((name) => el("option", { value: name }, name)));
    document.addEventListener("keydown", (event) => {
      if (/INPUT|SELECT/.test(document.activeElement.tagName)) return;
      if (event.key === "End") {  // that of the fleet, not of the rows that are made
        more(Infinity);
        end.scrollIntoView({ block: "end" });
      } else if (event.key === "/") {
        filter.focus();
      } else {
        return;
      }
      event.preventDefault();
    });
    window.addEventListener("beforeprint", () => more(Infinity));
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (wanted) open.add(wanted);
    anew();
    const found = state.wanted.findIndex((row) => `${row.host}/${row.app || ""}` === wanted);
    if (found >= state.made) more(found - state.made + 1);
    return [el("div", { class: "controls" }, filter, choice, count),
      el("div", { class: "scroll" }, el("table", { id: "fleet" }, el("thead", {}, el("tr", {}, ...heads)), body)), end];
  }

  // -- the run over time, made when it is opened ------------------------------------------------------------------------------------------

  function timeline(data, steps) {
    const bars = new Map();
    for (const row of data.rows) {
      for (const step of steps[row.place]) {
        if (!step.at) continue;
        if (!bars.has(row.host)) bars.set(row.host, []);
        bars.get(row.host).push({ ...step, app: row.app, begin: step.at - step.seconds });
      }
    }
    const all = [...bars.values()].flat();
    const begin = Math.min(...all.map((step) => step.begin));
    const span = Math.max(...all.map((step) => step.at)) - begin || 1;
    const tall = bars.size > 60 ? 5 : 16, left = 190, width = 1100;
    const batches = data.batches.length ? data.batches : [[...bars.keys()]];
    const placed = new Set(batches.flat());
    const groups = [...batches, [...bars.keys()].filter((host) => !placed.has(host))];
    const lines = [];
    let y = 8;
    groups.forEach((hosts, batch) => {
      const there = hosts.filter((host) => bars.has(host));
      if (!there.length) return;
      const head = batch < batches.length ? `batch ${batch + 1}, ${hosts.length} host${hosts.length > 1 ? "s" : ""}` : "other hosts";
      lines.push(shape("text", { x: 0, y: y + 11 }, head));
      y += 18;
      for (const host of there) {
        if (tall > 10) lines.push(shape("text", { x: 12, y: y + tall - 5 }, host));
        for (const step of bars.get(host)) {
          const bar = shape("rect", { class: step.ok ? "step" : "step failed", y, height: tall - 2,
            x: left + (width - left) * (step.begin - begin) / span, rx: 1,
            width: Math.max(1, (width - left) * step.seconds / span - 0.5) });
          bar.append(shape("title", {}, `${host}: ${step.app || ""} ${step.phase}, ${step.seconds} s${step.ok ? "" : `: ${step.cause}`}`));
          lines.push(bar);
        }
        y += tall;
      }
      y += 6;
    });
    const svg = shape("svg", { viewBox: `0 0 ${width} ${y + 20}`, width, height: y + 20, role: "img",
      "aria-label": "Steps of each host by batch over time" });
    for (let part = 0; part <= 4; part++) {
      const at = left + (width - left) * part / 4;
      svg.append(shape("line", { class: "axis", x1: at, x2: at, y1: 0, y2: y }));
      svg.append(shape("text", { x: at, y: y + 14, "text-anchor": part === 4 ? "end" : part ? "middle" : "start" },
        `${(span * part / 4).toFixed(0)} s`));
    }
    svg.append(...lines);
    return el("div", { class: "scroll" }, svg);
  }

  function course(data) {
    if (!data.timed) return [];
    const box = el("details", { id: "course" }, el("summary", {}, "The run over time"));
    let steps = null;
    const draw = () => steps && (box.children.length > 1 || box.append(timeline(data, steps)));
    const ready = async () => {
      steps = await read("steps");
      if (box.open) draw();
    };
    box.addEventListener("toggle", draw);
    window.addEventListener("beforeprint", () => {
      draw();
      box.open = true;
    });
    whole.then(ready).catch(console.error);  // a printer does not wait for it
    return [box];
  }

  async function begin() {
    const plain = main.querySelector("noscript").textContent;
    try {
      const data = await read("data");
      main.replaceChildren(...course(data), ...fleet(data));
      if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
    } catch (error) {
      // A browser that is too old for this, or a file that was cut: the plain table is in it all the same.
      main.innerHTML = plain;
      console.error(error);
    }
  }

  begin();
})();
