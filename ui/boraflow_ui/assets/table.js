// A dense table. Cells that did not change are left alone, so that a refresh does not flicker.
// Columns: {id, label, type, align, width, wide: only where there is room}. Rows: {key, tone?, cells: {column id: value}}. With `bulk`, rows can be
// selected, and what is done to all selected is told as {id, keys}.
import { _, ngettext, component, counts, h, icon, length, moment, once, reconcile, span, state, word, bothZones, withParams } from "./base.js";

function strip(items) {
  const top = Math.max(1, ...items.map((r) => r.d ?? 0));
  return h("span", { class: "strip" }, items.map((r) => {
    const a = h("a", { href: r.href, "data-s": r.s, "data-tip": "", "aria-label": _("Run {name}: {state}", { name: r.id, state: word(r.s) }) });
    a._tip = () => [word(r.s), r.id, bothZones(r.at).split("\n")[0], ...(r.d === null ? [] : [span(r.d)])];
    a.append(h("i", { style: { height: `${r.d === null ? 22 : Math.max(4, Math.round((22 * r.d) / top))}px` } }));
    return a;
  }));
}

const KINDS = {
  text: (v) => (typeof v === "object" ? [h("span", { class: v.mono ? "mono" : "", "data-tip": v.tip }, v.text), v.sub ? h("div", { class: "sub" }, v.sub) : ""] : String(v)),
  number: (v) => h("span", { class: "num" }, typeof v === "number" ? v.toLocaleString("en") : v),
  link: (v) => [h("a", { href: v.href, class: v.mono ? "mono" : "" }, v.text), v.note ? h("span", { class: "note" }, v.note) : "", v.sub ? h("div", { class: "sub" }, v.sub) : ""],
  dag: (v) => [
    h("div", { class: "dagline" }, h("a", { href: v.href, class: "strong" }, v.text),
      v.warn ? h("a", { href: v.warn, class: "badge error", "data-tip": _("Its file cannot be parsed now.\nThe last good version goes on.") }, _("import error")) : "",
      (v.tags ?? []).map((t) => h("a", { class: "tag", href: t.href }, t.text))),
    v.sub ? h("div", { class: "sub" }, v.sub) : "",
  ],
  state: (v) => state(v.state ?? v, v.text),
  moment: (v) => moment(v),
  length: (v) => length(v.from, v.to),
  span: (v) => h("span", { class: "num" }, span(v)),
  strip,
  counts: (v) => counts(v, { numbers: true }),
  tags: (v) => v.map((t) => h("a", { class: "tag", href: t.href }, t.text)),
  share: (v) => h("span", { class: "meter wide" }, h("i", { style: { width: `${Math.round(100 * v)}%` } })),
  meter: (v) => h("span", { class: "meterline" }, h("span", { class: "meter" }, h("i", { style: { width: `${Math.round((100 * v.value) / Math.max(1, v.max))}%` } })), h("span", { class: "num muted" }, `${v.value}/${v.max}`)),
};

export default component((root, self) => {
  const head = h("tr");
  const body = h("tbody");
  const foot = h("div", { class: "foot" });
  const bulk = h("div", { class: "bulk", hidden: true, role: "toolbar", "aria-label": _("With the selected ones") });
  const empty = h("div", { class: "emptyline" });
  root.append(h("div", { class: "tablebox" }, h("table", {}, h("thead", {}, head), body), empty, foot), bulk);
  const selected = new Set();
  let keys = [], acts = null;
  const box = (label, on, change) => h("input", { type: "checkbox", class: "rowpick", "aria-label": label, checked: on, onchange: (e) => change(e.currentTarget.checked) });
  function showSelected() {
    for (const tr of body.children) {
      const on = selected.has(tr._key), input = tr.firstChild?.firstChild;
      if (input?.type === "checkbox") input.checked = on;
      tr.classList.toggle("picked", on);
    }
    const all = head.querySelector("input");
    if (all) {
      all.checked = keys.length > 0 && selected.size === keys.length;
      all.indeterminate = selected.size > 0 && selected.size < keys.length;
    }
    bulk.hidden = !selected.size;
    if (!selected.size) return;
    bulk.replaceChildren(h("b", { class: "num" }, ngettext("{n} selected", "{n} selected", selected.size)),
      ...acts.map((a) => h("button", { class: `button small ${a.kind ?? ""}`, type: "button", onclick: () => {
        self.c.setTriggerValue("action", { id: a.id, keys: keys.filter((k) => selected.has(k)), at: Date.now() });
        selected.clear();
        showSelected();
      } }, a.icon ? icon(a.icon) : null, a.label)),
      h("button", { class: "iconbutton", type: "button", title: _("Select none"), "aria-label": _("Select none"), onclick: () => {
        selected.clear();
        showSelected();
      } }, icon("close")));
  }
  let columns = [], columnsText = "";

  const tell = (id, row) => self.c.setTriggerValue("action", { id, key: row.key, at: Date.now() });

  function cell(column, v, row) {
    if (v === null || v === undefined || v === "") return [h("span", { class: "none" }, "")];
    if (column.type === "toggle") {
      return [h("button", {
        class: `switch ${v.on ? "on" : ""}`, role: "switch", "aria-checked": String(v.on), "aria-label": v.label, title: v.label, type: "button", disabled: v.disabled,
        onclick: once((e) => {
          e.currentTarget.classList.toggle("on");
          tell(v.id, row);
        }),
      }, h("i"))];
    }
    if (column.type === "star") {
      return [h("button", {
        class: `iconbutton star ${v.on ? "on" : ""}`, type: "button", title: v.label, "aria-label": v.label, "aria-pressed": String(v.on),
        onclick: once((e) => {
          e.currentTarget.classList.toggle("on");
          tell(v.id, row);
        }),
      }, icon("star"))];
    }
    if (column.type === "actions") {
      return v.map((a) => h("button", { class: "iconbutton", type: "button", title: a.label, "aria-label": a.label, disabled: a.disabled, onclick: once(() => tell(a.id, row)) }, icon(a.icon)));
    }
    return [KINDS[column.type](v)].flat(2);
  }

  return {
    update(d) {
      acts = d.bulk ?? null;
      keys = d.rows.map((r) => r.key);
      const text = JSON.stringify([d.columns, !!acts]);
      if (text !== columnsText) {
        columnsText = text;
        columns = d.columns;
        head.replaceChildren(...(acts ? [h("th", { class: "t-pick" }, box(_("Select all on this page"), false, (on) => {
          selected.clear();
          if (on) for (const k of keys) selected.add(k);
          showSelected();
        }))] : []), ...columns.map((c) => h("th", { class: `${c.align ?? ""} ${c.wide ? "t-wide" : ""}`, style: c.width ? { width: c.width } : {}, scope: "col" }, c.label)));
        body.replaceChildren();
        body._known?.clear();
      }
      reconcile(body, d.rows, (r) => r.key,
        (row) => h("tr", {}, acts ? h("td", { class: "t-pick" }, box(_("Select {name}", { name: row.key }), false, (on) => {
          on ? selected.add(row.key) : selected.delete(row.key);
          showSelected();
        })) : null, columns.map((c) => h("td", { class: `${c.align ?? ""} t-${c.type} ${c.wide ? "t-wide" : ""}`, "data-label": c.label }))),
        (tr, row) => {
          tr.className = row.tone ?? "";
          tr._key = row.key;
          columns.forEach((c, i) => {
            const td = tr.children[acts ? i + 1 : i], now = JSON.stringify(row.cells[c.id] ?? null);
            if (td._text === now) return;
            td._text = now;
            td.replaceChildren(...cell(c, row.cells[c.id], row));
          });
        });
      for (const k of [...selected]) if (!keys.includes(k)) selected.delete(k);
      if (acts) showSelected();
      root.querySelector("table").hidden = !d.rows.length;
      empty.hidden = d.rows.length > 0;
      if (!d.rows.length) {
        const e = d.empty ?? { title: _("Nothing here") };
        empty.replaceChildren(h("b", {}, e.title), e.text ? h("p", {}, e.text) : "", e.code ? h("code", {}, e.code) : "", e.href ? h("p", {}, h("a", { class: "button", href: e.href }, e.label)) : "");
      }
      const f = d.foot;
      foot.hidden = !f;
      if (f) {
        const page = f.name ?? "after";
        foot.replaceChildren(
          h("span", { class: "muted" }, f.text ?? ""), h("span", { class: "grow" }),
          f.first ? h("a", { class: "button small", href: withParams({ [page]: null }) }, _("First page")) : "",
          f.next ? h("a", { class: "button small", href: withParams({ [page]: f.next }) }, _("Next page")) : "");
      }
    },
  };
});
