// Runs (columns, newest at the right) by tasks (rows). A cell is one letter of a row's string; groups fold. Only the rows
// in sight are in the document, so that a thousand tasks cost what forty do.
// Data: {dag_id, layout (URL of the rows: [{id, label, depth, group?, parent, mapped?, tip}]), runs: [{id, href, s, at, d,
// type}], cells: ["ssf.", ...], mapped: {"row:run": {state: n}}}.
import { _, ngettext, bothZones, CODES, component, counts, h, here, icon, kindWord, open, reconcile, replace, span, state, word, worst } from "./base.js";

const PITCH = 18;
const ROW = 20, ABOVE = 4, BELOW = 6; // pixels, as in the style sheet
const SIGHT = 860, SPARE = 12; // the greatest height, and rows drawn beyond it

export default component((root, self) => {
  const bars = h("div", { class: "g-bars" });
  const corner = h("div", { class: "g-corner" });
  // One stop in the page's order of focus; the arrows go from cell to cell, and the one they are at is announced.
  const body = h("div", { class: "g-body", tabindex: "0", role: "grid", "aria-readonly": "true", "aria-label": _("States of tasks by run") });
  const head = h("div", { class: "g-head" }, corner, bars);
  const box = h("div", { class: "g-box" }, head, body);
  const legend = h("div", { class: "g-legend" });
  root.append(h("div", { class: "grid" }, box, legend));

  let d = null, rows = null, url = null, folded = null, focus = null, at = null, held = false; // the place of the keys: {row, col}; whether they are here
  const store = () => `boraflow.grid.${d.dag_id}`;

  // What is folded stands in the address, as in the graph: a link shows the same. Who comes back by another link finds
  // it as they left it.
  let closed = null;
  const ours = () => location.pathname === self.path && here().get("dag_id") === d.dag_id && (here().get("tab") ?? "grid") === "grid";
  function loadFolded() {
    closed = here().get("closed");
    if (closed !== null) return new Set(closed.split(",").filter((id) => id !== "-"));
    try {
      const kept = sessionStorage.getItem(store());
      if (kept) {
        folded = new Set(JSON.parse(kept));
        tellFolded();
        return folded;
      }
    } catch { /* no storage: nothing is kept */ }
    return new Set(rows.length > 150 ? rows.filter((r) => r.group && !r.depth).map((r) => r.id) : []);
  }
  function tellFolded() {
    closed = [...folded].join(",") || "-";
    // On the way to another view its address is not ours to change.
    if (ours()) replace({ closed });
  }
  function keepFolded() {
    tellFolded();
    try {
      sessionStorage.setItem(store(), JSON.stringify([...folded]));
    } catch { /* as above */ }
    draw();
  }
  function fold(id) {
    folded.has(id) ? folded.delete(id) : folded.add(id);
    keepFolded();
  }
  corner.addEventListener("click", (e) => {
    const b = e.target.closest("button");
    if (!b) return;
    folded = new Set(b.name === "fold" ? rows.filter((r) => r.group).map((r) => r.id) : []);
    keepFolded();
  });

  function visible() {
    const hidden = new Set(), out = [];
    for (const [i, r] of rows.entries()) {
      if (r.parent && (hidden.has(r.parent) || folded.has(r.parent))) {
        if (r.group) hidden.add(r.id);
        continue;
      }
      out.push({ ...r, i });
    }
    return out;
  }
  // A group's cell stands for all tasks under it.
  function members() {
    const named = new Map(rows.map((r) => [r.id, r])), out = new Map();
    rows.forEach((r, i) => {
      if (r.group) return;
      for (let p = r.parent; p; p = named.get(p)?.parent) out.get(p)?.push(i) ?? out.set(p, [i]);
    });
    return out;
  }
  const stateOf = (i, j) => CODES[d.cells[i]?.[j]];

  function href(r, j) {
    const run = d.runs[j];
    if (r.group) return `run?${new URLSearchParams({ dag_id: d.dag_id, run_id: run.id })}`;
    const m = d.mapped[`${r.i}:${j}`];
    if (m) return `run?${new URLSearchParams({ dag_id: d.dag_id, run_id: run.id, task_id: r.id })}`;
    return `task?${new URLSearchParams({ dag_id: d.dag_id, run_id: run.id, task_id: r.id })}`;
  }

  let groups = new Map(), shown = [];
  function cellsOf(r) {
    return d.runs.map((run, j) => {
      if (!r.group) return stateOf(r.i, j) ?? "";
      const all = (groups.get(r.id) ?? []).map((i) => stateOf(i, j)).filter(Boolean);
      return all.length ? worst(all) : "";
    });
  }
  function tipOf(r, j) {
    const run = d.runs[j], s = cellsOf(r)[j];
    const lines = [r.tip ?? r.id, `${s ? word(s) : _("not in this run")} · ${run.id}`];
    const m = d.mapped[`${r.i}:${j}`];
    if (m) lines.push(Object.entries(m).map(([k, n]) => `${n} ${word(k)}`).join(", "));
    if (r.group) {
      const n = {};
      for (const i of groups.get(r.id) ?? []) {
        const one = stateOf(i, j);
        if (one) n[one] = (n[one] ?? 0) + 1;
      }
      lines.push(Object.entries(n).map(([k, v]) => `${v} ${word(k)}`).join(", "));
    }
    return lines;
  }

  function draw() {
    groups = members();
    shown = visible();
    const hasGroups = rows.some((r) => r.group);
    const top = Math.max(1, ...d.runs.map((r) => r.d ?? 0));
    box.style.setProperty("--runs", d.runs.length);
    corner.replaceChildren(
      h("span", { class: "muted" }, ngettext("{n} task", "{n} tasks", rows.filter((r) => !r.group).length)),
      hasGroups ? h("button", { class: "link", name: "fold", type: "button" }, _("Fold all")) : "",
      hasGroups ? h("button", { class: "link", name: "open", type: "button" }, _("Open all")) : "",
      h("span", { class: "scale" }, h("i", {}, span(top)), h("i", {}, span(top / 2))),
    );
    reconcile(bars, d.runs, (r) => r.id,
      (r) => {
        const a = h("a", { href: r.href, "data-tip": "" }, h("i"), h("span", { class: "kind" }));
        return a;
      },
      (a, r) => {
        a.setAttribute("data-s", r.s);
        a.setAttribute("aria-label", _("Run {name}: {state}", { name: r.id, state: word(r.s) }));
        a.firstChild.style.height = `${r.d === null ? 4 : Math.max(4, Math.round((52 * r.d) / top))}px`;
        a.lastChild.textContent = { manual: "m", backfill: "b", asset_triggered: "a", operator_triggered: "t", asset_materialization: "a" }[r.type] ?? "";
        a._tip = () => [r.id, `${word(r.s)} · ${kindWord(r.type)}`, bothZones(r.at).split("\n")[0], ...(r.d === null ? [] : [span(r.d)])];
      });
    drawRows();
    const used = [...new Set(d.cells.join(""))].map((letter) => CODES[letter]).filter(Boolean);
    legend.replaceChildren(...used.sort().map((s) => state(s)));
  }
  // The rows in sight, and a few around them; the others are only as high as they would be.
  function drawRows() {
    const top = box.scrollTop / ROW;
    const first = Math.max(0, Math.min(shown.length, Math.floor(top)) - SPARE);
    const last = Math.min(shown.length, Math.ceil(top + SIGHT / ROW) + SPARE);
    body.style.paddingTop = `${ABOVE + ROW * first}px`;
    body.style.paddingBottom = `${BELOW + ROW * (shown.length - last)}px`;
    body.dataset.first = String(first);
    reconcile(body, shown.slice(first, last).map((r) => ({ r, cells: cellsOf(r), folded: folded.has(r.id), m: r.mapped ? d.runs.map((_, j) => d.mapped[`${r.i}:${j}`] ?? 0) : 0 })), (x) => x.r.id,
      () => h("div", { class: "g-row", role: "row" }, h("div", { class: "g-label", role: "rowheader" }), h("div", { class: "g-cells", role: "presentation" })),
      (el, { r, cells, folded: shut, m }) => {
        const [label, line] = el.children;
        el.classList.toggle("group", !!r.group);
        el._row = r;
        label.style.paddingLeft = `${8 + 14 * r.depth}px`;
        label.title = r.tip ?? r.id;
        label.replaceChildren(
          r.group ? h("button", { class: `fold ${shut ? "" : "open"}`, type: "button", "aria-expanded": String(!shut), "aria-label": shut ? _("Open {name}", { name: r.id }) : _("Fold {name}", { name: r.id }), onclick: () => fold(r.id) }, icon("chevron"), h("span", {}, r.label))
            : h("span", {}, r.label),
          r.group ? h("span", { class: "count" }, String(groups.get(r.id)?.length ?? 0)) : "",
          r.mapped ? h("span", { class: "count" }, `[${mappedCount(m)}]`) : "");
        while (line.childElementCount > cells.length) line.lastChild.remove();
        while (line.childElementCount < cells.length) line.append(h("i", { role: "gridcell", "data-tip": "" }));
        cells.forEach((s, j) => {
          const cell = line.children[j];
          if ((cell.getAttribute("data-s") ?? "") !== s) {
            s ? cell.setAttribute("data-s", s) : cell.removeAttribute("data-s");
          }
          const said = [r.label, _("run {name}", { name: d.runs[j].id }), s ? word(s) : _("not in this run")].join(", ");
          if (cell._said !== said) cell.setAttribute("aria-label", (cell._said = said));
          cell._tip ??= () => tipOf(el._row, j);
        });
      });
    [...body.children].forEach((el, i) => el.setAttribute("aria-rowindex", String(first + i + 1)));
    body.setAttribute("aria-rowcount", String(shown.length));
    point();
  }
  let asked = 0;
  box.addEventListener("scroll", () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      if (d && rows) drawRows();
    });
  });
  function mappedCount(list) {
    const last = [...list].reverse().find(Boolean);
    return last ? Object.values(last).reduce((a, b) => a + b, 0) : "?";
  }

  body.addEventListener("click", (event) => {
    const cell = event.target.closest(".g-cells > i");
    if (!cell || !cell.hasAttribute("data-s")) return;
    const r = cell.closest(".g-row")._row;
    open(event, href(r, [...cell.parentElement.children].indexOf(cell)));
  });
  body.addEventListener("auxclick", (event) => {
    const cell = event.target.closest(".g-cells > i");
    if (cell?.hasAttribute("data-s")) open(event, href(cell.closest(".g-row")._row, [...cell.parentElement.children].indexOf(cell)));
  });
  body.addEventListener("pointerover", (event) => {
    const cell = event.target.closest(".g-cells > i");
    const j = cell ? [...cell.parentElement.children].indexOf(cell) : -1;
    box.style.setProperty("--hover", j < 0 ? "-2000px" : `${j * PITCH}px`);
  });
  body.addEventListener("pointerleave", () => box.style.setProperty("--hover", "-2000px"));

  // The cell that the keys are at, where it is in sight.
  function point() {
    const now = (held && at && body.children[at.row - Number(body.dataset.first)]?.querySelector(".g-cells").children[at.col]) || null;
    if (now === focus) return;
    focus?.classList.remove("focus");
    focus?.removeAttribute("id");
    focus = now;
    focus?.classList.add("focus");
    focus?.setAttribute("id", "at");
    focus ? body.setAttribute("aria-activedescendant", "at") : body.removeAttribute("aria-activedescendant");
  }
  function mark() {
    // Its row comes into sight first: only what is in sight is there.
    const y = ABOVE + ROW * at.row, high = box.clientHeight - head.offsetHeight;
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + ROW > box.scrollTop + high) box.scrollTop = y + ROW - high;
    drawRows();
    focus?.scrollIntoView({ block: "nearest", inline: "nearest" });
    root.showTip(focus);
  }
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity], PageUp: [-10, 0], PageDown: [10, 0] };
  body.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (event.target !== body || !shown.length || event.altKey || event.metaKey) return;
    at ??= { row: 0, col: d.runs.length - 1 };
    if (move) {
      event.preventDefault();
      // With Ctrl, Home and End go to the first and the last cell of all.
      const down = event.ctrlKey ? move[1] : move[0];
      at = { row: Math.max(0, Math.min(shown.length - 1, at.row + down)), col: Math.max(0, Math.min(d.runs.length - 1, at.col + move[1])) };
      mark();
    } else if (event.key === "Enter" && shown[at.row] && cellsOf(shown[at.row])[at.col]) open(event, href(shown[at.row], at.col));
  });
  body.addEventListener("focus", () => {
    held = true;
    if (!shown.length || !body.matches(":focus-visible")) return;
    at ??= { row: 0, col: Math.max(0, d.runs.length - 1) };
    mark();
  });
  body.addEventListener("blur", () => {
    root.hideTip();
    held = false;
    point();
  });

  return {
    follows: true,
    async update(data) {
      const other = d?.dag_id !== data.dag_id;
      if (other) at = null;
      // A new run moves the others: the keys stay with theirs.
      const run = at && d.runs[at.col]?.id, row = at && shown[at.row]?.id;
      d = data;
      if (data.layout !== url) {
        const wanted = (url = data.layout);
        rows = null;
        let got;
        try {
          const answer = await fetch(new URL(wanted, document.baseURI));
          if (!answer.ok) throw new Error(await answer.text());
          got = await answer.json();
        } catch (error) {
          if (url !== wanted) return;
          url = null;
          legend.replaceChildren(h("span", { class: "muted" }, _("The grid could not be loaded: {error}", { error: error.message })));
          return;
        }
        if (url !== wanted) return;
        rows = got;
        folded = null;
      }
      // A refresh that came before the rows waits for them.
      if (!rows || d.cells.length !== rows.length) return;
      const fresh = folded === null;
      if (fresh || (ours() && here().get("closed") !== closed)) folded = loadFolded();
      if (at) {
        const rowNow = visible().findIndex((r) => r.id === row), colNow = d.runs.findIndex((r) => r.id === run);
        at = rowNow < 0 || colNow < 0 ? null : { row: rowNow, col: colNow };
      }
      draw();
      if (fresh && other) requestAnimationFrame(() => (box.scrollLeft = box.scrollWidth));
    },
  };
});
