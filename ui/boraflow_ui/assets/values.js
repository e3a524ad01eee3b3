// Named values: tables, pictures as pictures, text as it is. A long one is brought when its button is pressed.
// Data: {items: [{key?, name, note?, at?, size?, download?, ask?, cut?, picture? | table?: {columns, rows, count} | text?}]}.
import { _, component, h, here, icon, moment, reconcile, turns } from "./base.js";

const size = (n) => (n < 1024 ? _("{n} characters", { n }) : n < 1 << 20 ? _("{n} KiB", { n: (n / 1024).toFixed(n < 10240 ? 1 : 0) }) : _("{n} MiB", { n: (n / (1 << 20)).toFixed(1) }));

function grid({ columns, rows }) {
  const right = columns.map((_c, i) => rows.some((r) => typeof r[i] === "number") && rows.every((r) => typeof r[i] === "number" || r[i] === null));
  const cell = (v, i) => h("td", { class: right[i] ? "right num" : v === null ? "none" : "" }, v === null || v === undefined ? "" : String(v));
  return h("div", { class: "records", tabindex: "0", role: "region", "aria-label": _("Table") }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((c, i) => h("th", { class: right[i] ? "right" : "" }, c)))),
    h("tbody", {}, rows.map((r) => h("tr", {}, r.map(cell))))));
}
function show(i) {
  if (i.ask) return h("p", {}, turns(h("a", { class: "button small" }, icon("down"), _("Show {size}", { size: size(i.size) })), () => ({ show: [...here().getAll("show"), i.key] })));
  if (i.picture) return h("img", { src: i.picture, alt: i.name });
  if (i.table) return grid(i.table);
  return h("pre", {}, i.text);
}
function said(i) {
  const out = [i.note];
  const t = i.table;
  if (t && t.count > t.rows.length) out.push(_("the first {n} of {total} rows", { n: t.rows.length.toLocaleString("en"), total: t.count.toLocaleString("en") }));
  else if (i.cut) out.push(_("only its beginning is shown"));
  return out.filter(Boolean).join(" · ");
}
export default component((root) => {
  const list = h("div", { class: "values" });
  root.append(list);
  return {
    update({ items }) {
      reconcile(list, items, (i) => i.key ?? i.name, () => h("section"), (el, i) => {
        const note = said(i);
        el.replaceChildren(h("div", { class: "valuehead" }, h("code", {}, i.name), note ? h("span", { class: "muted" }, note) : "", h("span", { class: "grow" }),
          i.at ? moment(i.at) : "",
          i.download ? h("a", { class: "iconbutton", href: i.download, download: "", "aria-label": _("Download {name} as JSON", { name: i.name }), title: `JSON, ${size(i.size)}` }, icon("down")) : ""), show(i));
      });
    },
  };
});
